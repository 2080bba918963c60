"""Measure classifiers on any edition: accuracy drops, gaps between groups, rankings."""

COMPONENTS = (
    "accuracy_drop",
    "group_disparity",
)
