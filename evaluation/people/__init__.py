"""People."""

COMPONENTS = ("multi_label_accuracy",)
