"""Attack watermarks: the components that `watermark_attack` takes as its `attacks`, one a file."""
