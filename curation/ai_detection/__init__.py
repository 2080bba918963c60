"""Find pictures that a model generated."""

COMPONENTS = ("ai_image",)
