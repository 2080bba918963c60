"""Look for views of 3-D objects that a classifier takes for something else."""

COMPONENTS = ("adversarial_viewpoint",)
