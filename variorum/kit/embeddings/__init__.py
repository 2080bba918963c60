"""Arithmetic on embeddings."""
