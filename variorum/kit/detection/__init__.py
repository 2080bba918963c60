"""Compute average precision of detectors, by pycocotools and its resamples."""
