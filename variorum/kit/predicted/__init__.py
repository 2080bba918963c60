"""Ask classifiers about an edition, and resample their answers."""
