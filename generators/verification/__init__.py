"""Look at every picture in a small region around a photograph."""

COMPONENTS = ("safety_verification",)
