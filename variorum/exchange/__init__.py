"""Formats of other tools: what they write can be read, and editions are written as they read them."""
