"""Measure classifiers against the several labels that people gave."""

COMPONENTS = ("multi_label_accuracy",)
