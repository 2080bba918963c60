"""Retrieval of pictures by embeddings: ranks of what is relevant, and figures of many queries."""

COMPONENTS = ("retrieval_robustness",)
