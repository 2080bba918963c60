"""Change photographs a little, so that a network is wrong about them."""

COMPONENTS = ("adversarial_example", "feature_distillation")
