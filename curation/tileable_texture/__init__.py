"""Tileable texture."""

COMPONENTS = ("tileability",)
