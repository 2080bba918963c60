"""Prompts and the tables that they are made from."""
