"""Measure average precision by the size of objects, under noisy boxes."""

COMPONENTS = ("size_binned_ap",)
