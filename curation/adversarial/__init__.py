"""Tell attacked pictures from noisy ones."""

COMPONENTS = ("adversarial_detection",)
