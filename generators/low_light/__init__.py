"""Darken photographs, and enhance them again."""

COMPONENTS = ("low_light",)
