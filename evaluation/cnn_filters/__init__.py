"""Cnn filters."""

COMPONENTS = ("filter_statistics",)
