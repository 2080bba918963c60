"""Ai detection."""

COMPONENTS = ("ai_image",)
