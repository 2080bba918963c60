"""Push photographs along the gradient of one model, as far as another still recognises them."""

COMPONENTS = ("oracle_perturbation",)
