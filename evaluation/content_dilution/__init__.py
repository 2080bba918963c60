"""Measure retrieval under diluted captions."""

COMPONENTS = ("caption_retrieval", "retrieval_robustness")
