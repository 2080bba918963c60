"""Score by category how certain it is that a picture is unsafe: one labeler a file."""
