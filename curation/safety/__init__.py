"""Safety."""

COMPONENTS = ("safety",)
