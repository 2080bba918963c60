"""Measure how sure classifiers are of pictures of nothing."""

COMPONENTS = ("fooling_claims",)
