"""Compare pictures at scale by hashes and embeddings."""
