"""Add noise to bounding boxes."""

COMPONENTS = ("box_noise",)
