"""Measure how classifiers answer when a photograph moves by a pixel."""

COMPONENTS = ("translation_consistency",)
