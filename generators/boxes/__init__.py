"""Boxes of objects with noise whose law is known."""
