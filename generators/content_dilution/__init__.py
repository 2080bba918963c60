"""Content dilution."""

COMPONENTS = ("content_dilution",)
