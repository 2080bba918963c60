"""Predictions of classifiers on an edition: calibration, differences between models."""

COMPONENTS = ("shape_bias",)
