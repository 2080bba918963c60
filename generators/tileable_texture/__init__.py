"""Tileable texture."""

COMPONENTS = ("tileable_texture",)
