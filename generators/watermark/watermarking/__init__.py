"""What the generators and the evaluation of watermarks share: keys, frames, measures of quality."""
