"""Techniques that make pictures, one file each. The folders hold the functions that they are made of."""
