"""Withhold unsafe pictures, and blur faces."""

COMPONENTS = (
    "face_blur",
    "safety_gate",
)
