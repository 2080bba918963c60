"""Make textures that can be tiled."""

COMPONENTS = ("tileable_texture",)
