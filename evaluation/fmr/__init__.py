"""Measure what classifiers keep on photographs that were pushed as far as an oracle allows."""

COMPONENTS = ("oracle_robustness",)
