"""Gaussian class models and conformal p-values."""
