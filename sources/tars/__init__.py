"""Tars of others: their index, their members, and what a sample of them says."""
