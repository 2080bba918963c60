"""Measure retrieval under diluted captions."""

COMPONENTS = ("retrieval_robustness",)
