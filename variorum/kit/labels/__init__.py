"""Label noise: classes, folds, pruning, scores for pictures with several labels."""
