"""Ai detection."""

COMPONENTS = ("ai_image_detection",)
