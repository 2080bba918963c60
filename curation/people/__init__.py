"""Ask people about pictures, and weigh their answers."""

COMPONENTS = (
    "audit",
    "consensus",
    "major_errors",
    "multi_label",
    "review",
    "reviewed",
)
