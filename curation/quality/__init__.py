"""Find poor and foreign pictures, and traces of a file format that give a set's arms away."""

COMPONENTS = (
    "features",
    "format_trap",
    "out_of_distribution",
    "quality",
)
