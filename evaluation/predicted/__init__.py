"""Predictions of classifiers on an edition: classes of outputs, calibration, differences between models."""
