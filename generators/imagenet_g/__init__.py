"""Imagenet g."""

COMPONENTS = (
    "class_conditional",
    "image_to_image",
    "image_variation",
    "text_to_image",
)
