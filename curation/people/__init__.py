"""People."""

COMPONENTS = (
    "audit",
    "consensus",
    "major_errors",
    "multi_label",
    "review",
    "reviewed",
)
