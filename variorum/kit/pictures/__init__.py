"""Cut, move, fill and compose pictures: masks, plates, geometry, scenes."""
