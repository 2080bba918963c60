"""Watermark."""

COMPONENTS = ("watermark_detection",)
