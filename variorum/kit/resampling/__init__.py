"""What the evaluation of watermarks computes: thresholds, errors, identification, a bound, loss of quality."""
