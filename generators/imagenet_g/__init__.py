"""Generate pictures with diffusion models, from classes, texts or photographs."""

COMPONENTS = (
    "class_conditional",
    "image_to_image",
    "image_variation",
    "text_to_image",
)
