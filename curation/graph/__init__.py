"""Nearest neighbours and what their labels say."""
