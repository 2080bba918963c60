"""Read meshes of 3-D objects."""
