"""Read folders of pictures: listing, metadata files, pins."""
