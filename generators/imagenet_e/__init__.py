"""Imagenet e."""

COMPONENTS = ("attribute_edit",)
