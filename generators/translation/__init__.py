"""Move photographs by a pixel."""

COMPONENTS = ("translation",)
