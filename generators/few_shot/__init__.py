"""Make few-shot episodes with easy supports and hard queries."""

COMPONENTS = ("few_shot_episodes",)
