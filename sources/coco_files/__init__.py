"""Read annotation files in COCO's format: their index, and the pictures and objects that they name."""
