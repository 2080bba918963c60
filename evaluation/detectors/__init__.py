"""Detectors."""

COMPONENTS = ("detection_ap",)
