"""Read WebDataset tars: their index, their members, and their samples."""
