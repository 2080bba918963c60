"""Classifiers."""

COMPONENTS = (
    "accuracy_drop",
    "group_disparity",
)
