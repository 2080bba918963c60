"""Find copies: within an edition, against a test set, on lists of known or opted-out pictures."""

COMPONENTS = (
    "duplicates",
    "leakage",
    "opt_out",
)
