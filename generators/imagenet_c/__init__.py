"""Corrupt photographs in the ways of ImageNet-C and ImageNet-C-bar, at five severities."""

COMPONENTS = ("corruption",)
