"""Measure how classifiers fare on photographs that were made to fool one of them."""

COMPONENTS = ("adversarial_transfer", "patch_robustness")
