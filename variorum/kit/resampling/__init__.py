"""Compute thresholds and separation of scores, with bootstrap intervals."""
