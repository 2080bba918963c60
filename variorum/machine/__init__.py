"""Helpers that know nothing of datasets: caches, hashes, threads, progress."""
