"""Imagenet e."""

COMPONENTS = ("background_complexity",)
