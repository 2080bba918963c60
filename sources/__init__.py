"""Read pictures: one source a file; the folders are their readers."""
