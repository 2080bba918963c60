"""Measure whether classifiers follow shape or texture."""

COMPONENTS = ("shape_bias",)
