"""Measure the filters of convolutional networks."""

COMPONENTS = ("filter_statistics",)
