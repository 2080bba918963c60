"""Measure few-shot accuracy on episodes."""

COMPONENTS = ("few_shot_accuracy",)
