"""Imagenet c."""

COMPONENTS = ("corruption",)
