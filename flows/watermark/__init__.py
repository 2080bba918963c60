"""Watermark."""
