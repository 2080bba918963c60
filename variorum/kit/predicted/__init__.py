"""Predictions of classifiers on an edition: calibration, differences between models."""
