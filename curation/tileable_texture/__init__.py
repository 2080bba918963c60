"""Measure whether a texture can be tiled."""

COMPONENTS = ("tileability",)
