"""Measure what defences hold: certificates of smoothed classifiers."""

COMPONENTS = ("certified_accuracy",)
