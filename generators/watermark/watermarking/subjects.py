"""Collect the pictures to be attacked: what their records say of a mark, their batches and groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from variorum.schemas.canonical import Json, canonical_json
from variorum.schemas.sample import Sample
from variorum.schemas.watermark import Attack

if TYPE_CHECKING:
    from variorum.arrays import Pixels

BATCH, MOST_PIXELS = 16, 1 << 22
"""Pictures that an attack gets at a time, or pixels; a few more, as all versions of one photograph stay together."""


class About(NamedTuple):
    """A mark that an attack is about: its label and its identity."""

    label: str
    settings: Mapping[str, Json]


class Subject(NamedTuple):
    """A picture that is attacked.

    Attributes:
        sample: the picture.
        photograph: id of the source sample that it comes from; its marked and unmarked versions share it.
        mark: the mark in it; None for an unmarked one.
        marks: all marks of the edition, where an unmarked picture's record lists them.
        frame: side of the square that the edition's pictures are cut to; None for pictures of any size.
    """

    sample: Sample
    photograph: str
    mark: About | None = None
    marks: tuple[About, ...] = ()
    frame: int | None = None

    @property
    def pixels(self) -> Pixels:
        """Its picture, decoded."""
        assert not isinstance(self.sample.image, bytes)
        return self.sample.image


def subject_of(sample: Sample) -> Subject:
    """Read the mark in a sample's record."""
    for op in reversed(sample.ops):
        requested, achieved = op["requested"], op["achieved"]
        if "mark" in requested and "picture" in achieved:
            label, frame, listed = requested["mark"], requested.get("frame"), achieved.get("marks")
            return Subject(
                sample,
                str(achieved["picture"]),
                None if label is None else About(str(label), _mapping(requested.get("settings"))),
                tuple(About(name, _mapping(_mapping(one).get("settings"))) for name, one in _mapping(listed).items()),
                frame if isinstance(frame, int) else None,
            )
    return Subject(sample, sample.id)


def batches(subjects: Iterable[Subject]) -> Iterator[list[Subject]]:
    """BATCH pictures at a time, or fewer large ones; all versions of one photograph are together."""
    batch: list[Subject] = []
    for _, versions in groupby(subjects, key=lambda subject: subject.photograph):
        batch += versions
        if len(batch) >= BATCH or sum(map(area, batch)) >= MOST_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch


def by_mark(attack: Attack, batch: Sequence[Subject]) -> Iterator[tuple[About | None, list[Subject]]]:
    """The pictures that are attacked, by the mark that the attack is about.

    A marked picture is attacked for its mark, an unmarked one for each mark that its record lists or that another
    version of its photograph has: other photographs of the batch don't matter.
    """
    wanted = [
        subject
        for subject in batch
        if not (attack.goal == "spoofing" and subject.mark) and not (attack.goal == "tampering" and not subject.mark)
    ]
    if not attack.about_mark:
        if wanted:
            yield None, wanted
        return
    known: dict[str, dict[str, About]] = {}
    for subject in batch:
        for about in (*subject.marks, *([subject.mark] if subject.mark else [])):
            known.setdefault(subject.photograph, {})[about.label] = about
    found: dict[bytes, tuple[About | None, list[Subject]]] = {}
    for subject in wanted:
        every: list[About | None] = [*known.get(subject.photograph, {}).values()] or [None]
        for one in [subject.mark] if subject.mark else every:
            key = canonical_json([one.label, dict(one.settings)] if one else None)
            found.setdefault(key, (one, []))[1].append(subject)
    yield from found.values()


def area(subject: Subject) -> int:
    """Pixels of its picture; 0 without one."""
    image = subject.sample.image
    return 0 if isinstance(image, bytes) else image.shape[0] * image.shape[1]


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
