"""Find wrong labels, and propose the right ones."""

COMPONENTS = (
    "candidates",
    "class_agreement",
    "confident_learning",
    "early_learning",
    "linear_separation",
    "mentions",
    "neighbours",
    "new_label",
    "probabilities",
    "representation_calibration",
    "small_loss",
    "suspicion",
    "training_dynamics",
)
