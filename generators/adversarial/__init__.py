"""Change photographs a little, or in one place, so that a network is wrong about them."""

COMPONENTS = ("adversarial_example", "patch_perturbation")
