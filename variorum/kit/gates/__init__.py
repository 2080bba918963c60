"""Gate edits: areas, borders, holes and parts of masks."""
