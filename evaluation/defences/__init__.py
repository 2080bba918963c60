"""Measure what defences hold: accuracy under attacks on models as they are defended."""

COMPONENTS = ("adaptive_accuracy",)
