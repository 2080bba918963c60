"""Measure models on an edition, or the edition itself. Each folder is a thing."""
