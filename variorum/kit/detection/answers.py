"""Ask detectors for the classes of an edition."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from variorum.kit.detection.records import pack_found, pack_objects
from variorum.reports.coco_objects import marked
from variorum.schemas.component import Context, Row
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Sample


def detections(samples: Sequence[Sample], detectors: Sequence[str], ctx: Context) -> Iterator[Row]:
    """Rows of what each detector finds in each picture of a batch, as `DetectionAp.measure` describes them."""
    names = [one.name for one in ctx.classes]
    index = {one.id: number for number, one in enumerate(ctx.classes)}
    images = [sample.image for sample in samples]
    for alias in dict.fromkeys(detectors):
        model = ctx.models.get(alias)
        known = known_classes(alias, model, names)
        asked = np.flatnonzero(known)
        try:
            found = model(images, [names[one] for one in asked])
        except ValueError as error:
            raise RecipeError(f"detector {cut(alias)!r} can't look for {len(asked)} classes: {error}") from error
        for sample, one in zip(samples, found, strict=True):
            there, left_out = marked(sample.annotations.objects, index, *sample.image.shape[:2])  # type: ignore[union-attr]
            unknown = [names[item.category] for item in there if not known[item.category]]
            yield {
                "id": sample.id,
                "parent": sample.parent,
                "variant": sample.variant,
                "view": view(sample),
                "detector": alias,
                "found": pack_found(alias, one, asked),
                "there": pack_objects([item for item in there if known[item.category]]),
                "unknown": json.dumps(sorted(set(unknown)), ensure_ascii=False),
                "unknown_boxes": len(unknown),
                "checks": json.dumps(Counter(item.check for item, _ in there if item.check)),
                "left_out": left_out.total(),
            }


def known_classes(alias: str, model: Any, names: Sequence[str]) -> list[bool]:
    """Return whether a detector can find each class.

    Raises:
        RecipeError: there are no classes, it knows none of them, or it is no detector.
    """
    if not names:
        raise RecipeError("the edition has no classes, which detectors look for")
    if not hasattr(model, "knows"):
        raise RecipeError(f"{cut(repr(alias))} is no detector; name an alias such as detector")
    known: list[bool] = model.knows(names)
    if not any(known):
        listed = cut(", ".join(names[:6])) + ("" if len(names) <= 6 else f" and {len(names) - 6} more")
        raise RecipeError(
            f"detector {cut(alias)!r} knows none of the edition's classes: {listed}; name a detector "
            "that takes any text, or give the classes names that this one knows"
        )
    return known


def view(sample: Sample) -> str:
    """Return which of its views the sample's generator made, as it was asked; `""` if it has only one."""
    asked = sample.ops[-1]["requested"].get("view") if sample.ops else None
    return asked if isinstance(asked, str) else ""
