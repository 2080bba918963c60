"""Edit one attribute of an object: its background, size, place or direction."""

COMPONENTS = ("attribute_edit",)
