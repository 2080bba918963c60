"""Perceptual hashes and embeddings compared at scale: copies and leakage."""
