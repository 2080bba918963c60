"""Readers of folders, `datasets` and IDX files for the sources."""
