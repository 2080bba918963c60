"""A sample made ready for stimuli: in a square frame, with the mask of its object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from variorum.annotations import box_iou, box_of, moved
from variorum.generators.cue_conflict import outlines
from variorum.generators.cue_conflict.gates import Limits, mask_gates
from variorum.kit.corrupt.frames import Unusable, given_mask, usable
from variorum.kit.gates.gates import Gates, first_failed
from variorum.kit.pictures import framing
from variorum.kit.pictures.scenes import BadInput, Setup, scenes
from variorum.schemas.annotations import Annotations
from variorum.schemas.component import Context
from variorum.schemas.sample import Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

SAME_OBJECT = 0.5
"""IoU with the mask's box above which an object's box is that of the object that is left."""


@dataclass(frozen=True)
class Ready:
    """A picture in its frame.

    Attributes:
        image: RGB `[S, S, 3]` uint8.
        alpha: opacity of its object `[S, S]` uint8; None without a mask.
        mask_source: `member`, the segmenter's alias, or `""`.
        gates: of the mask.
        trusted: whether the mask is taken to be of the labelled object, or of a part of it.
        annotations: the sample's, moved along.
        models: alias to pin of the models that were used.
    """

    image: Pixels
    alpha: Pixels | None
    mask_source: str
    gates: Mapping[str, Gate]
    trusted: bool
    annotations: Annotations
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def refusal(self) -> tuple[str, str]:
        """Why its object can't stand alone, in a word and in a sentence; twice `""` if it can."""
        if self.alpha is None:
            return "no_mask", "there is no mask.png and no segmenter is named"
        bad = first_failed(self.gates)
        if not bad:
            return "", ""
        found = self.gates[bad]
        return bad, f"{bad} is {found['value']:.3g} and must be {found['limit']}"

    @property
    def mask(self) -> Pixels:
        """The member `mask.png`: the object's opacity, empty without one."""
        return np.zeros(self.image.shape[:2], np.uint8) if self.alpha is None else self.alpha

    def ground(self, *, own: bool) -> Pixels:
        """Return the ground that its object lies on: the photograph itself, or white."""
        return self.image if own else outlines.blank_ground(self.image)

    def shown(self, *, own: bool) -> Annotations:
        """The annotations of what is there: on white, only those of the object."""
        box = box_of(self.mask > 127)
        if own or box is None:
            return self.annotations
        mine = [item for item in self.annotations.objects if box_iou(item.box, box) >= SAME_OBJECT]
        return replace(self.annotations, objects=tuple(mine))


def ready(
    sample: Sample, frame: int, segmenter: str | None, classifier: str | None, limits: Limits, ctx: Context
) -> Ready:
    """A sample with decoded pixels in a square frame that slides along the long side to hold the object.

    The mask is the member `mask.png`, or else the segmenter's, which is checked as for other edits of objects.

    Args:
        sample: the picture.
        frame: side in pixels.
        segmenter: alias; None for no masks but the given ones.
        classifier: alias of the one that looks for the label's class in what the segmenter found; None for none.
        limits: thresholds.
        ctx: with models and memo.

    Raises:
        Unusable: the picture or its mask can't be used.
    """
    image = usable(sample)
    height, width = image.shape[:2]
    mask = given_mask(sample, height, width)
    if mask is None and segmenter is None:
        at = framing.window(height, width)
        objects = moved(sample.annotations, framing.matrix(at, frame), (height, width), (frame, frame))
        return Ready(framing.crop(image, at, frame), None, "", {}, False, objects)
    setup = Setup(frame, "object", segmenter or "", "", classifier, Gates(masks=limits.masks))
    (scene,) = scenes([sample], setup, ctx, plated=False)
    if isinstance(scene, BadInput):
        raise Unusable(scene.reason, str(scene))
    found = {} if mask is not None else scene.gates
    return Ready(
        scene.picture,
        scene.alpha,
        "member" if mask is not None else scene.mask_source,
        {**found, **mask_gates(scene.alpha, limits)},
        not first_failed(found),
        scene.annotations,
        scene.models,
    )
