"""Helpers that know nothing of datasets: caches, file hashes, threads, progress, strict YAML."""
