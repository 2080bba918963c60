"""Ai detection."""

COMPONENTS = ("detection_arms",)
