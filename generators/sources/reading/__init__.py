"""Readers of folders, `datasets` and IDX files that several sources share."""
