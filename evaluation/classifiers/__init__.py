"""Measure classifiers on any edition: accuracy drops, calibration, gaps between groups, rankings."""

COMPONENTS = (
    "accuracy_drop",
    "calibration",
    "group_disparity",
)
