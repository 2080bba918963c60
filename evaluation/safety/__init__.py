"""Attacks on a score of a picture that has gradients, and the figures of what withstands them."""

COMPONENTS = (
    "safety",
    "safety_robustness",
)
