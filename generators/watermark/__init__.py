"""Watermark."""

COMPONENTS = (
    "watermark",
    "watermark_attack",
    "watermarked_generation",
)
