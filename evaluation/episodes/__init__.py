"""Few-shot episodes: reading them, and scoring them all at once."""
