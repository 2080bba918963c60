"""Low light."""

COMPONENTS = ("low_light",)
