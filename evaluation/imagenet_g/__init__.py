"""Imagenet g."""

COMPONENTS = ("generated_set",)
