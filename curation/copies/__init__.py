"""Perceptual hashes and embeddings compared at scale: copies and leakage."""

COMPONENTS = (
    "duplicates",
    "leakage",
    "opt_out",
)
