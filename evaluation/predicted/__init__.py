"""What classifiers predict on an edition: which output is which class, calibration, differences between models."""
