"""The member that has the true boxes of a picture with noisy ones, read with suspicion: anybody may have written it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from variorum.schemas.annotations import Object
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Sample

TRUTH = "boxes.json"
"""File ending of the member."""
FIELDS = (
    *("id", "label", "noisy_label", "gt", "noisy", "iou", "area", "bin"),
    *("crowd", "duplicate", "redraws", "kept"),
)
"""Fields of its objects. Each is a list with an entry per object, the same in all pictures, as loaders need it."""
ORDER = ("original", "shift", "scale", "aspect", "drop", "duplicate", "label")
"""Order of noises in figures, by the first word of their names."""
MOST = 1e9
"""Above every level."""
RATE = "rate"
"""The law of kinds that hit a share of the objects."""


class Original(NamedTuple):
    """A true object.

    Attributes:
        item: with its true box; a crowd if it was kept, as crowds are in no measure.
        iou: of the box that it was given; NaN for one that was dropped or kept its own.
        kept: whether it kept its own because no draw left a pixel of the noisy one.
    """

    item: Object
    iou: float
    kept: bool


def truth_of(sample: Sample) -> list[Original]:
    """The true objects of a picture.

    Raises:
        RecipeError: the member isn't one of the generator `box_noise`.
    """
    data = sample.extras[TRUTH]
    try:
        columns = json.loads(bytes(data))["objects"]
        rows = zip(*(columns[name] for name in FIELDS), strict=True)
        entries = [dict(zip(FIELDS, row, strict=True)) for row in rows]
        return [_read(one) for one in entries if one["duplicate"] is False]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        said = cut(f"{type(error).__name__}: {error}")
        raise RecipeError(f"sample {sample.id}: {TRUTH} isn't what box_noise writes ({said})") from None


def noise_of(sample: Sample) -> str:
    """Name the noise on a picture's boxes, whatever the seed: `shift_iou_0.7`; its variant if it isn't known."""
    asked = sample.ops[-1]["requested"] if sample.ops else {}
    kind, law, level = (asked.get(name) for name in ("kind", "law", "level"))
    if isinstance(kind, str) and isinstance(law, str) and isinstance(level, int | float) and 0 <= level < MOST:
        return name_of(kind, law, level)
    return sample.variant


def ordered(noises: Iterable[str]) -> list[str]:
    """Each noise once: by kind in `ORDER`, with others behind, then by law and level."""
    place = {word: number for number, word in enumerate(ORDER)}

    def key(noise: str) -> tuple[int, str, float]:
        law, _, level = noise.rpartition("_")
        number = float(level) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", level) else 0.0
        return place.get(noise.partition("_")[0], len(place)), law, number

    return sorted(dict.fromkeys(noises), key=key)


def name_of(kind: str, law: str, level: float) -> str:
    """The name of a noise: `shift_iou_0.7`, `drop_0.1`."""
    return f"{kind}_{level:g}" if law == RATE else f"{kind}_{law}_{level:g}"


def _read(entry: Any) -> Original:
    left, top, wide, high = (_number(side) for side in entry["gt"])
    label, identity, crowd, kept = (entry[name] for name in ("label", "id", "crowd", "kept"))
    texts, flags = all(isinstance(one, str) for one in (label, identity)), (crowd, kept)
    if not (texts and all(isinstance(one, bool) for one in flags)):
        raise TypeError("label, id, crowd or kept")
    iou = math.nan if entry["iou"] is None or kept else _number(entry["iou"])
    item = Object((left, top, wide, high), label, _number(entry["area"]), crowd or kept, identity)
    return Original(item, iou, kept)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number")
    return float(value)
