"""Ask people about pictures, and weigh their answers."""

COMPONENTS = (
    "audit",
    "consensus",
    "major_errors",
    "marks",
    "multi_label",
    "review",
    "reviewed",
)
