"""Correction of noisy segmentation masks."""
