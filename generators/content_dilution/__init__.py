"""Dilute captions with true but irrelevant words."""

COMPONENTS = ("content_dilution",)
