"""Measure a set's intrinsic dimension and label sharpness."""

COMPONENTS = ("intrinsic_properties",)
