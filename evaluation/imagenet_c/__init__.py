"""Measure errors under common corruptions."""

COMPONENTS = ("corruption_error",)
