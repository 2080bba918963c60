"""Editions in COCO's format: a folder of pictures and an annotation file for each variant."""
