"""Make pictures of nothing that a classifier is sure about."""

COMPONENTS = ("fooling_image",)
