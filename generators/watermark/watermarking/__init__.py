"""Share keys, frames and measures of quality between marks, attacks and their evaluation."""
