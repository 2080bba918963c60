"""One distortion of a kind that any picture may meet: a turn, a crop, light, blur, noise, JPEG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from variorum.generators.watermark.watermarking.distortions import KINDS
from variorum.generators.watermark.watermarking.kinds import Kind, OfAKind


class Distortion(OfAKind):
    """Removes a mark by an everyday change; the attacker needs nothing but the picture.

    `kind` is one of rotation, resized_crop, erasing, brightness, contrast, blur, noise and jpeg, which are those of
    WAVES, or centre_crop, stretch, flip, shift and rescale.
    """

    family: ClassVar[str] = "distortion"
    kinds: ClassVar[Mapping[str, Kind]] = KINDS

    kind: str = "jpeg"
    """Which distortion; it is also its name in variants."""
