"""The rules that a policy applies to columns, and the picture that stays when a copy's original is dropped."""

COMPONENTS = (
    "bottom_ranked",
    "policy",
    "sql",
)
