"""Box noise."""

COMPONENTS = ("box_noise",)
