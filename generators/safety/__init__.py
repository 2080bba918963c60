"""Safety."""

COMPONENTS = (
    "face_blur",
    "safety_gate",
)
