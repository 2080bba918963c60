"""Measure what the pictures have in common on which models are wrong."""

COMPONENTS = ("slice_description",)
