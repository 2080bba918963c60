"""Where the objects of a picture are after an edit, and what is left of them.

An edited picture consists of two layers. The upper one is the subject: the pixels that the edit's mask shows, which
stay or move. The lower one is the picture's own plate, with a filled hole where the subject was, or another background.
The layer that an object belongs to decides what happens to it:

- The subject's own object is the one that the mask fits best. When the subject is put on another place or background,
  the object's box and mask become those of the pixels that are put there.
- What lies on the subject, such as a collar on a dog, goes with it.
- All others stay on the plate. What the hole or the moved subject covers is cut from them, and an object that keeps
  less than LEAST_VISIBLE is dropped, as its annotation no longer holds. Another background shows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from variorum.annotations import (
    DIGITS,
    box_of,
    cut_box,
    decode_mask,
    from_centres,
    moved,
    region,
    with_mask,
)
from variorum.schemas.annotations import Annotations, Box, Object

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

Role = Literal["subject", "part", "other"]

STILL = np.eye(2, 3)
"""The map of what stays where it is."""

LEAST_MATCH = 0.5
"""IoU of the subject and its own object: of their masks, or of their boxes if the object has no mask."""
LEAST_WITHIN = 0.9
"""Share of an object's mask that lies within the subject if the object lies on it."""
LEAST_BOX_WITHIN = 0.6
"""The same for the box of an object without a mask. A round object fills 0.79 of it, less if it is small and its edge
fades."""
LEAST_VISIBLE = 0.5
"""Share of what was visible of an object that must still be visible."""


@dataclass(frozen=True)
class Layers:
    """A picture's objects, divided between the subject and its plate. Without objects nothing is computed.

    Attributes:
        annotations: of the framed picture.
        subject: the subject's pixels, `[S, S]`.
        gap: pixels where the plate doesn't show what the picture showed, `[S, S]`: the filled hole.
    """

    annotations: Annotations
    subject: Bools
    gap: Bools

    def plate(self) -> Annotations:
        """On the plate alone."""
        return self._each(lambda _: None, lambda _: None, lambda: self.gap)

    def in_place(self) -> Annotations:
        """With the subject where it was, on its own plate."""
        return self._each(lambda item: item, lambda item: item, lambda: self.gap & ~self.subject)

    def moved(self, shown: Bools, matrix: Floats) -> Annotations:
        """With the subject's pixels at `shown`, `[S, S]`, by an affine map in OpenCV's coordinates."""
        corners = from_centres(matrix)
        return self._each(
            lambda item: _as_shown(item, shown), lambda item: _carried(item, shown, corners), lambda: self.gap | shown
        )

    def repeated(self, maps: Sequence[Floats]) -> Annotations:
        """With the subject where it was, over a plate that shows its objects once for each map; copies have no id."""
        if not self.annotations.objects:
            return self.annotations
        kept = [item for item, role in zip(self.annotations.objects, self._roles, strict=True) if role != "other"]
        plate, size = Annotations(self.plate().objects), (self.subject.shape[0], self.subject.shape[1])
        for number, matrix in enumerate(maps):
            over = Layers(moved(plate, matrix, size, size), np.zeros_like(self.subject), self.subject)
            kept += [replace(item, id="" if number else item.id) for item in over.plate().objects]
        return replace(self.annotations, objects=tuple(kept))

    def elsewhere(self, shown: Bools, matrix: Floats = STILL) -> Annotations:
        """With the subject's pixels at `shown`, `[S, S]`, by an affine map as in `moved`, on another background."""
        corners = from_centres(matrix)
        return self._each(lambda item: _as_shown(item, shown), lambda item: _carried(item, shown, corners), None)

    @cached_property
    def _regions(self) -> list[Bools]:
        height, width = self.subject.shape
        return [region(item, height, width) for item in self.annotations.objects]

    @cached_property
    def _roles(self) -> list[Role]:
        """Return each object's role towards the subject."""
        pairs = list(zip(self.annotations.objects, self._regions, strict=True))
        fits = [_fit(item, place, self.subject) for item, place in pairs]
        own = int(np.argmax(fits)) if max(fits) >= LEAST_MATCH else -1
        found: list[Role] = []
        for number, (item, place) in enumerate(pairs):
            least = LEAST_WITHIN if item.mask else LEAST_BOX_WITHIN
            within = _count(place & self.subject) >= least * _count(place)
            found.append("subject" if number == own else "part" if within else "other")
        return found

    def _each(
        self,
        subject: Callable[[Object], Object | None],
        part: Callable[[Object], Object | None],
        hidden: Callable[[], Bools] | None,
    ) -> Annotations:
        """The annotations by what becomes of each role. `hidden` is what covers the others; None covers all of them."""
        if not self.annotations.objects:
            return self.annotations
        cover = None if hidden is None else hidden()
        objects = []
        for item, place, role in zip(self.annotations.objects, self._regions, self._roles, strict=True):
            if role != "other":
                found = subject(item) if role == "subject" else part(item)
            else:
                found = None if cover is None else self._left(item, place, cover)
            if found is not None:
                objects.append(found)
        return replace(self.annotations, objects=tuple(objects))

    def _left(self, item: Object, place: Bools, cover: Bools) -> Object | None:
        """Return what `cover` leaves of an object on the plate; None if that is too little."""
        # a mask shows what was visible, a box also what the subject hid
        before = place if item.mask else place & ~self.subject
        after = before & ~cover
        share = _count(after) / max(1, _count(before))
        if share == 1:
            return item
        if share < LEAST_VISIBLE:
            return None
        if item.mask:
            return with_mask(item, after)
        box = _shrunk(item.box, before, after)
        return box and replace(item, box=box, area=None if item.area is None else round(item.area * share, DIGITS))


def _count(mask: Bools) -> int:
    return int(np.count_nonzero(mask))


def _fit(item: Object, place: Bools, subject: Bools) -> float:
    """IoU of an object and the subject."""
    if item.mask:
        return _count(place & subject) / max(1, _count(place | subject))
    around = box_of(subject)
    shared = around and cut_box(item.box, around)
    if not around or not shared:
        return 0.0
    both = shared[2] * shared[3]
    return both / (item.box[2] * item.box[3] + around[2] * around[3] - both)


def _as_shown(item: Object, shown: Bools) -> Object | None:
    """The subject's object at the pixels that show it."""
    found = with_mask(item, shown)
    return found if found is None or item.mask else replace(found, mask="")


def _carried(item: Object, shown: Bools, corners: Floats) -> Object | None:
    """An object on the subject, which the map moves along with it."""
    height, width = shown.shape
    found = next(iter(moved(Annotations((item,)), corners, (height, width), (height, width)).objects), None)
    around = box_of(shown)
    if found is None or around is None:
        return None
    if item.mask:
        return with_mask(found, decode_mask(found, height, width) & shown)
    box = cut_box(found.box, around)
    return box and replace(found, box=box)


def _shrunk(box: Box, before: Bools, after: Bools) -> Box | None:
    """The box without the margins in which nothing is visible any more; its other sides stay to the last decimal."""
    old, new = box_of(before), box_of(after)
    if old is None or new is None:
        return None
    left, top = (new[axis] if new[axis] > old[axis] else box[axis] for axis in (0, 1))
    right, bottom = (
        end if (end := new[axis] + new[axis + 2]) < old[axis] + old[axis + 2] else box[axis] + box[axis + 2]
        for axis in (0, 1)
    )
    return cut_box(box, (left, top, right - left, bottom - top))
