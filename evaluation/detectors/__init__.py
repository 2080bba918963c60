"""Measure object detectors on any edition: average precision and its drops."""

COMPONENTS = ("detection_ap",)
