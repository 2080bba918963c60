"""Make a query hard: by camouflage, a small object, blur or little light. Each is a function of a `View`.

The first three are those of RD-FSL (Guo et al., IEEE TIP 2025, arXiv 2502.01183), which has collected photographs of
animals, fungi, plants and minerals. Here they are made, so that each hard picture has a clean one of its photograph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from variorum.annotations import moved, resampled, resampled_mask
from variorum.generators.few_shot import camouflage
from variorum.kit.corrupt import low_light
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.kinds import corrupt, scale_of
from variorum.kit.gates import gates
from variorum.kit.pictures import edits
from variorum.kit.pictures.geometry import CannotEdit
from variorum.kit.pictures.scenes import Scene
from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json
from variorum.schemas.sample import COMPOSITE, ENHANCED, Gate, Lender

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Difficulty = Literal["clean", "camouflaged", "small", "blurred", "low_light", "shrunk"]
DEFAULT: tuple[Difficulty, ...] = get_args(Difficulty)[:5]
CLEAN = "clean"
OF_OBJECTS = frozenset({"camouflaged", "small"})
"""Those that need to know which pixels are the object's."""
BLURS = ("motion_blur", "defocus_blur")
HALF = 0.5
"""A camouflaged object's difference from its ring falls to this share or less, and so does a small object's area."""
RIM = 0.25
"""Least `plate_texture` of a plate of which only the rim of the hole shows."""
NOTICED = 2.3
"""ΔE that is just noticeable: a camouflaged object differs from its plate by more."""
SHRUNK, HAZY = 0.25, 0.05
"""Of a shrunk picture: its side, and the deviation of the blur around it, as shares of the frame's side."""
BITS = 12
"""Of the converter in low light."""


@dataclass(frozen=True)
class View:
    """A picture in its frame.

    Attributes:
        image: RGB `[S, S, 3]` uint8.
        mask: the object's opacity `[S, S]`; None if nobody asked for it.
        annotations: its own, moved along.
        scene: its parts; None if nobody asked for them.
        source_type: IPTC's term for what it is.
    """

    image: Pixels
    mask: Pixels | None
    annotations: Annotations
    scene: Scene | None
    source_type: str

    def parts(self) -> Scene:
        """Its parts. Raises CannotEdit with the name of the failed check for a mask that can't be trusted."""
        assert self.scene is not None
        if refusal := self.scene.refusal():
            raise CannotEdit(*refusal)
        return self.scene


@dataclass(frozen=True)
class Made:
    """A picture of one difficulty, with what was measured on it and its checks by name.

    Attributes:
        image: RGB `[S, S, 3]` uint8.
        mask: the object's opacity `[S, S]`; None without one.
        annotations: moved along.
        achieved: measures.
        gates: checks.
        source_type: IPTC's term for how it was made.
        made_of: the picture whose plate it has, if that isn't its own.
    """

    image: Pixels
    mask: Pixels | None
    annotations: Annotations
    achieved: Mapping[str, Json] = field(default_factory=dict)
    gates: Mapping[str, Gate] = field(default_factory=dict)
    source_type: str = ENHANCED
    made_of: tuple[Lender, ...] = ()


def clean(view: View, subject: edits.Subject | None) -> Made:
    """The picture in its frame, with what is known of the mask for a picture that was taken apart."""
    facts = edits.original(subject).achieved if subject else {}
    return Made(view.image, view.mask, view.annotations, facts, source_type=view.source_type)


def camouflaged(view: View, subject: edits.Subject | None) -> Made:
    """The object in the colours and the texture of what is around it, on its own plate.

    `camouflage` fails if its colours still differ from those around it by half or more of what they did, `vanished` if
    nobody can see it any more, `plate_texture` if the rim of a filled hole looks smeared.

    Raises:
        CannotEdit: `no_ring`, `plate_blank`, or a check of the mask.
    """
    assert subject is not None
    scene = view.parts()
    alpha, plate = scene.alpha, subject.plate
    made = camouflage.camouflaged(view.image, alpha, plate)
    before, after = (camouflage.difference(image, alpha) for image in (view.image, made))
    facts: dict[str, Json] = {"delta_e_before": round(before, 3), "delta_e": round(after, 3), "plate": scene.method}
    share = after / before if before else 1.0
    checks = {
        **{name: gates.at_least(one["value"], RIM) for name, one in scene.bare.items() if name == "plate_texture"},
        "camouflage": gates.at_most(share, HALF),
        "vanished": gates.at_least(camouflage.visibility(made, alpha, plate), NOTICED),
    }
    kind = ENHANCED if scene.plate_type == COMPOSITE else scene.plate_type
    return Made(made, view.mask, view.annotations, {**facts, **Before(view.image).change(made)}, checks, kind)


def small(
    view: View, subject: edits.Subject | None, sizes: tuple[float, ...], margin: int, rng: np.random.Generator
) -> Made:
    """The object at a smaller share of the frame, drawn among those that halve its area at least.

    It lies on its own plate, or on that of another picture where its own shows what was filled.

    Args:
        view: the picture.
        subject: the same for `variorum.kit.pictures.edits`.
        sizes: shares of the frame's pixels.
        margin: pixels between the object and the frame's border.
        rng: draws the size.

    Raises:
        CannotEdit: `small_already`, or a check of the mask or of whether the object can be moved.
    """
    assert subject is not None
    own = float(np.count_nonzero(view.parts().alpha > 127)) / view.image[..., 0].size
    fitting = [rate for rate in sizes if rate <= HALF * own]
    if not fitting:
        raise CannotEdit("small_already", f"the object has {own:.3f} of the frame, and at most half of it is wanted")
    rate = fitting[int(rng.integers(len(fitting)))]
    draft = edits.size(subject, rate=rate, margin=margin)
    facts = {"target": rate, **draft.achieved}
    facts.pop("reference", None)  # there are no other edits here
    return Made(draft.picture, draft.mask, draft.annotations, facts, draft.gates, draft.source_type, draft.made_of)


def shrunk(view: View) -> Made:
    """The whole picture at a quarter of its side, in the middle of its own blurred copy; it needs no mask."""
    height, width = view.image.shape[:2]
    high, wide = max(1, round(SHRUNK * height)), max(1, round(SHRUNK * width))
    top, left = (height - high) // 2, (width - wide) // 2
    where = slice(top, top + high), slice(left, left + wide)
    made = np.asarray(cv2.GaussianBlur(view.image, (0, 0), HAZY * min(height, width)))
    made[where] = cv2.resize(view.image, (wide, high), interpolation=cv2.INTER_AREA)
    mask = None
    if view.mask is not None:
        mask = np.zeros_like(view.mask)
        mask[where] = cv2.resize(view.mask, (wide, high), interpolation=cv2.INTER_AREA)
    matrix = np.array([[wide / width, 0, left], [0, high / height, top]])
    objects = moved(view.annotations, matrix, (height, width), (height, width))
    return Made(made, mask, objects, {"side": high})


def blurred(view: View, kind: str, severity: int, rng: np.random.Generator) -> Made:
    """The picture with one of ImageNet-C's blurs; lengths are those that look the same in a frame of 224 pixels."""
    made, drawn, origins = corrupt(view.image, kind, severity, rng, scale=scale_of(kind, min(view.image.shape[:2])))
    mask, objects = view.mask, view.annotations
    if origins is not None:
        objects = resampled(objects, origins, view.image.shape[:2])
        mask = None if mask is None else resampled_mask(mask, origins)
    return Made(made, mask, objects, {**drawn, **Before(view.image).change(made)})


def darkened(view: View, stops: float, rng: np.random.Generator) -> Made:
    """The picture with fewer stops of light and a sensor's noise, of a strength that is drawn."""
    by = low_light.sensor(view.image, None, rng)
    made, snr_db = low_light.darkened(view.image, stops, bits=BITS, by=by)
    facts: dict[str, Json] = {"shot": round(by.shot, 8), "read": round(by.read, 10)}
    if snr_db is not None:
        facts["snr_db"] = round(snr_db, 3)
    return Made(made, view.mask, view.annotations, {**facts, **Before(view.image).change(made)})
