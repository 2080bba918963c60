"""Thumbnails for detectors that look at pixels."""
