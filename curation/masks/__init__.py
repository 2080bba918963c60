"""Correction of noisy segmentation masks."""

COMPONENTS = ("mask_noise",)
