"""Measure generated sets against real pictures."""

COMPONENTS = ("generated_set",)
