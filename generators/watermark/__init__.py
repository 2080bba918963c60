"""Mark pictures, and attack the marks."""

from variorum.schemas.lookup import Kind
from variorum.schemas.watermark import Attack, Mark

COMPONENTS = (
    "watermark",
    "watermark_attack",
    "watermarked_generation",
)
KINDS = {
    "marks": Kind("variorum.generators.watermark.marks", (Mark,), "mark", ("embed",)),
    "attacks": Kind("variorum.generators.watermark.attacks", (Attack,), "attack", ("apply",)),
}
