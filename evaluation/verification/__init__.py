"""Count what was proved of the regions around pictures."""

COMPONENTS = ("certified",)
