"""Prompts and the tables they are made from."""
