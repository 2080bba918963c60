"""Quality."""

COMPONENTS = (
    "features",
    "format_trap",
    "out_of_distribution",
    "quality",
)
