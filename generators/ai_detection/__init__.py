"""Make sets of photographs and generated pictures for detectors of the latter."""

COMPONENTS = ("detection_arms",)
