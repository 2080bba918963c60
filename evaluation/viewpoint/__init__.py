"""Measure how classifiers fare on views of 3-D objects."""

COMPONENTS = ("viewpoint_accuracy",)
