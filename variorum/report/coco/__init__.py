"""Editions in COCO's format: what counts as an object, the categories' ids, and the export."""
