"""Measure what can be learnt from frozen embeddings."""

COMPONENTS = ("transfer_probe",)
