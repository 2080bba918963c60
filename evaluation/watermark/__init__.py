"""Measure watermarks under attack: detection, identification, quality."""

COMPONENTS = ("watermark_detection",)
