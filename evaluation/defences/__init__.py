"""Measure what defences hold: certificates under noise, and accuracy under attacks on models as they are defended."""

COMPONENTS = ("adaptive_accuracy", "certified_accuracy")
