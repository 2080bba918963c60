"""Few-shot episodes: reading them, and scoring them all at once."""

COMPONENTS = ("few_shot_accuracy",)
