"""Handle labels: classes, folds, ImageNet's names, a classifier's outputs."""
