"""Decide by rules on columns: drop, withhold, relabel, or ask people."""

COMPONENTS = (
    "bottom_ranked",
    "policy",
    "sql",
)
