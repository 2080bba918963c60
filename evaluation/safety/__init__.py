"""Measure labelers of unsafe pictures: how often they are right, and what attacks they withstand."""

COMPONENTS = (
    "safety",
    "safety_robustness",
)
