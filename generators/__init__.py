"""Techniques that make pictures: one file each; the folders below hold the functions they are made of."""
