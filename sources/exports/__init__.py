"""Read other tools' exports: objects, masks and texts about the pictures of a folder."""
