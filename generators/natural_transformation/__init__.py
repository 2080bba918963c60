"""Change a photograph's light and colours as nature does."""

COMPONENTS = ("natural_transformation",)
