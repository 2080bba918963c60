"""Find and correct wrong segmentation masks."""

COMPONENTS = ("mask_noise",)
