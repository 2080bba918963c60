"""Train surrogate detectors and average residuals, for attackers with photographs of their own."""
