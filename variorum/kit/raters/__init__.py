"""Measure raters: agreement, accuracy, Dawid–Skene."""
