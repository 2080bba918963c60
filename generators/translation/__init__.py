"""Cutting objects out of pictures, moving them, and making backgrounds: functions that `attribute_edit` is made of."""

COMPONENTS = ("translation",)
