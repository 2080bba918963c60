"""Intrinsic dimension and label sharpness of a set of pictures, as functions of vectors and labels."""

COMPONENTS = ("intrinsic_properties",)
