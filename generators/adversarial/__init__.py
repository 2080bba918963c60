"""Change photographs a little, or in one place, so that a network is wrong about them."""

COMPONENTS = ("adversarial_example", "feature_distillation", "patch_perturbation")
