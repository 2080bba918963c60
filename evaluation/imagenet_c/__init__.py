"""Imagenet c."""

COMPONENTS = ("corruption_error",)
