"""Prepare embeddings, and fit classes to them."""
