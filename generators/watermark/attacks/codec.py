"""Storage in a newer format than JPEG: WebP or AVIF, at a quality that falls with the strength."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from PIL import Image

from variorum.generators.watermark.watermarking.kinds import Kind, OfAKind
from variorum.schemas.watermark import Attacked

if TYPE_CHECKING:
    from variorum.arrays import Pixels


def webp(image: Pixels, quality: float, rng: np.random.Generator) -> Attacked:
    """Stored as lossy WebP, which has chroma at half the resolution, and read again."""
    _, data = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, int(quality)])
    return Attacked(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def avif(image: Pixels, quality: float, rng: np.random.Generator) -> Attacked:
    """Stored as AVIF with chroma at half the resolution, at the encoder's fastest setting, and read again.

    One thread, because the bytes of several may differ.
    """
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "AVIF", quality=int(quality), speed=10, max_threads=1)
    return Attacked(np.asarray(Image.open(stored).convert("RGB")))


class Codec(OfAKind):
    """Removes a mark by lossy storage; the attacker needs nothing but the picture. `kind` is webp or avif.

    Qualities are those of each encoder's own scale. JPEG is among the distortions.
    """

    family: ClassVar[str] = "codec"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "webp": Kind("quality", 90, 10, webp, (1, 100), whole=True),
        "avif": Kind("quality", 90, 10, avif, (1, 100), whole=True),
    }

    kind: str = "webp"
    """Which format; it is also its name in variants."""
