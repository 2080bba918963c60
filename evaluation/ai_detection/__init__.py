"""Measure detectors of generated pictures."""

COMPONENTS = ("ai_image_detection",)
