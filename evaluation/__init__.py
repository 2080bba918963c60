"""Measures of models on an edition, or of the edition itself: one file each."""
