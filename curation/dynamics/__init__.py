"""Training dynamics of a small network on embeddings."""
