"""Define annotations: objects with boxes and masks, texts, and the state of several labels.

Positions are pixels of the upright picture, with the origin at the outer corner of its first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""

State = Literal["correct", "wrong", "unclear", "unchecked"]
"""Whether a label holds: as people or models judged it, or as it was given."""
STATES: tuple[State, ...] = get_args(State)


Check = Literal["", "confirmed", "unconfirmed", "missing"]
"""What a detector says of an object in a picture that was made: see `Object.check`."""
CHECKS: tuple[Check, ...] = get_args(Check)


@dataclass(frozen=True, slots=True)
class Object:
    """One object in a picture.

    Attributes:
        box: around it.
        label: id of its class; `""` for an object without one.
        area: of its region in square pixels; None for that of its box.
        crowd: whether it stands for many objects that weren't told apart, as COCO's `iscrowd`.
        id: its name in the data that it comes from; `""` for none.
        score: a detector's confidence in [0, 1]; None for an object that people marked.
        origin: who marked it: a dataset, a person or a model's pin; `""` if unknown.
        mask: its region, as the `counts` of a compressed COCO RLE over the whole upright picture; `""` for none.
        check: whether a detector finds it in the picture: `confirmed`, `missing` if it finds it only in the picture
            that this one was made from, `unconfirmed` if it can't tell; `""` if none was asked.
    """

    box: Box
    label: str = ""
    area: float | None = None
    crowd: bool = False
    id: str = ""
    score: float | None = None
    origin: str = ""
    mask: str = ""
    check: Check = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text about a picture. `role` says what it is: `caption`, `prompt`, `question`."""

    text: str
    role: str = "caption"


@dataclass(frozen=True, slots=True)
class LabelState:
    """A class and whether the picture shows it."""

    label: str
    state: State = "unchecked"


@dataclass(frozen=True, slots=True)
class Annotations:
    """All annotations of a picture; empty by default, and then false."""

    objects: tuple[Object, ...] = field(default=())
    texts: tuple[Text, ...] = field(default=())
    labels: tuple[LabelState, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.objects or self.texts or self.labels)

    def caption(self) -> str:
        """The first caption, or `""`."""
        return next((text.text for text in self.texts if text.role == "caption"), "")
