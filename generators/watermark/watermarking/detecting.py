"""Looking for marks: which mark and key a picture is looked at with, and what the detector says.

A picture's record says which mark is in it, or which marks unmarked pictures are compared with, and how it was
attacked. Keys come from the secret file. Rows hold numbers and shares; no key, payload or bit is in them.

Attacked pictures that aren't stored were looked at when they were made; `records` has what was found in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.generators.watermark.watermarking.checked import detected
from variorum.generators.watermark.watermarking.distortions import MOVING
from variorum.generators.watermark.watermarking.keys import Keys, key_hash, own_file, read_keys
from variorum.schemas.component import Context, Row
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import Derived, cut, stored_component
from variorum.schemas.sample import Op, Sample
from variorum.schemas.uses import required_models
from variorum.schemas.watermark import Detected, Mark

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels

MEASURES = ("psnr", "ssim", "nmi", "lpips", "linf")
"""Of an attacked picture against the one before the attack."""


class Subject(NamedTuple):
    """A picture that is looked at.

    Attributes:
        sample: the picture.
        picture: id of the source's sample, from which its key is derived.
        mark: label of the mark in it; `""` for an unmarked one.
        marks: by label, the mark in it, or all that unmarked pictures are compared with: `settings` and `keyed`.
        made: what was recorded when it was marked.
        attack: the step that attacked it; None for none.
    """

    sample: Sample
    picture: str
    mark: str
    marks: Mapping[str, Mapping[str, Any]]
    made: Mapping[str, Any]
    attack: Op | None


class Look(NamedTuple):
    """One look at a picture with one mark and one key."""

    subject: Subject
    label: str
    key: bytes
    wrong: bool


class Answer(NamedTuple):
    """What a look finds.

    Attributes:
        mark: label of the mark.
        method: JSON of what decides the answer besides picture and key: the mark's fields, revision and models.
        score: higher means more surely marked.
        bits: of the payload; 0 without one.
        right: bits that are right.
        p_value: NaN if the mark has none.
    """

    mark: str
    method: str
    score: float
    bits: int
    right: int
    p_value: float


def subject_of(sample: Sample) -> Subject | None:
    """Read a picture's record; None for one that isn't part of a grid of marks and attacks."""
    ops = list(sample.ops)
    attack = ops.pop() if ops and "attack" in ops[-1]["requested"] and "strength" in ops[-1]["requested"] else None
    if not ops or "mark" not in ops[-1]["requested"] or "picture" not in ops[-1]["achieved"]:
        return None
    requested, achieved = ops[-1]["requested"], ops[-1]["achieved"]
    label, picture = requested["mark"], str(achieved["picture"])
    if isinstance(label, str):
        marks: Any = {label: {"settings": requested.get("settings", {}), "keyed": requested.get("keyed", "picture")}}
    else:
        label, marks = "", achieved.get("marks", {})
        about = attack["requested"].get("about") if attack else None
        marks = {name: facts for name, facts in marks.items() if about in (None, name)}
    return Subject(sample, picture, label, marks, achieved, attack)


def looks(subjects: Sequence[Subject], keys: Keys, place: Path | None, field: str) -> Iterator[Look]:
    """The looks at each picture, in order. Marked pictures that weren't attacked are looked at with a wrong key too.

    Raises:
        SourceError: the keys are those of another edition.
    """
    for subject in subjects:
        for label, facts in subject.marks.items():
            key = keys.shared(label) if facts["keyed"] == "shared" else keys.of(label, subject.picture)
            said = subject.made.get("key")
            if subject.mark and said != key_hash(key):
                raise SourceError(
                    f"{place or own_file()}: these keys are not those of this edition, whose {label} has other keys; "
                    f"name the right file: --set {field}.keys=FILE"
                )
            yield Look(subject, label, key, wrong=False)
            if subject.mark and subject.attack is None:
                yield Look(subject, label, keys.wrong(label, subject.picture), wrong=True)


def looked(
    samples: Sequence[Sample], own: Mapping[str, Mark], place: Path | None, field: str, ctx: Context
) -> list[tuple[Look, Answer]]:
    """The looks at these pictures, and what each finds.

    Args:
        samples: a batch with decoded pixels.
        own: marks from files of the user's own, by label.
        place: the file of keys; None for the user's own file.
        field: of the recipe that has `marks` and `keys`, for errors.
        ctx: has the models.

    Raises:
        SourceError: the keys are lost, or are those of another edition.
        RecipeError: a mark can't be built again.
        ModelUnavailable: a model of a mark that is in a picture is missing.
    """
    subjects = [subject for sample in samples if (subject := subject_of(sample)) is not None]
    if not subjects:
        return []
    wanted = [*looks(subjects, read_keys(place), place, field)]
    found: dict[int, Answer] = {}
    for label in dict.fromkeys(look.label for look in wanted):
        mine = [number for number, look in enumerate(wanted) if look.label == label]
        mark = _mark(label, wanted[mine[0]].subject, own, field, ctx)
        missing = [alias for alias in required_models(mark) if ctx.models.why_unavailable(alias)]
        if missing:
            if any(wanted[number].subject.mark for number in mine):
                ctx.models.check(missing)
            continue  # then there are no pictures with this mark
        method = _method(mark, label, [wanted[number].subject for number in mine], ctx)
        able = [number for number in mine if _can_have(mark, wanted[number].subject)]
        for same in _alike(wanted, able):
            images = [_pixels(wanted[number].subject.sample) for number in same]
            secret = [wanted[number].key for number in same]
            said, payloads = detected(mark, images, secret, ctx), mark.payloads(secret)
            for place_in, number in enumerate(same):
                found[number] = _answer(label, method, said, payloads, place_in)
    return [(wanted[number], found[number]) for number in sorted(found)]


def row(subject: Subject, answer: Answer, *, wrong: bool = False) -> Row:
    """A row of the table: one look at one picture."""
    sample, attack = subject.sample, subject.attack
    asked: Mapping[str, Any] = attack["requested"] if attack else {}
    measured: Mapping[str, Any] = attack["achieved"] if attack else {}
    return {
        "id": sample.id,
        "photograph": sample.photograph or subject.picture,
        "mark": answer.mark,
        "method": answer.method,
        "marked": bool(subject.mark),
        "wrong_key": wrong,
        "attack": str(asked.get("attack", "")),
        "component": str(asked.get("settings", {}).get("name", "")),
        "strength": float(asked.get("strength", 0)),
        "amount": json.dumps(asked.get("amount", {}), sort_keys=True),
        "family": str(asked.get("family", "")),
        "goal": str(asked.get("goal", "")),
        "access": str(asked.get("access", "")),
        "about_mark": asked.get("about") is not None,
        "moved": moves(asked.get("settings", {})),
        "score": answer.score,
        "bits": answer.bits,
        "right": answer.right,
        "p_value": answer.p_value,
        "values": int(np.prod(_pixels(sample).shape)),
        "mark_psnr": _number(subject.made.get("psnr")),
        "mark_ssim": _number(subject.made.get("ssim")),
        **{name: _number(measured.get(name)) for name in MEASURES},
    }


def _mark(label: str, subject: Subject, own: Mapping[str, Mark], field: str, ctx: Context) -> Mark:
    settings = subject.marks[label]["settings"]
    if label in own:
        if own[label].identity() != settings:
            raise RecipeError(
                f"{field}.marks: {label} isn't the mark of this edition: its file or its fields have "
                "changed; mark the pictures again, or bring the old ones back"
            )
        return own[label]
    return stored_mark(label, settings, subject.sample, field.rpartition(".")[2], ctx)


def stored_mark(label: str, settings: object, sample: Sample, user: str, ctx: Context) -> Mark:
    """The mark of this label, as a picture's record has its settings.

    Raises:
        StoredSettings: it can't be had from a record; the component `user` must list it.
    """
    source = ctx.source  # of a generator
    while isinstance(source, Derived):
        source = source.of
    edition = f"{source.identity().get('edition', source.component_name())}: " if source else ""
    where, way_out = f"{edition}sample {sample.id}: marks.{cut(label)}", f"list it in {user}'s `marks`"
    mark = stored_component("marks", settings, where, way_out, ctx.models)
    assert isinstance(mark, Mark)
    return mark


def _method(mark: Mark, label: str, subjects: Sequence[Subject], ctx: Context) -> str:
    """Return what all rows of a mark share. Raises RecipeError if it has other models than when it marked."""
    pins = {alias: ctx.models.pin(alias) for alias in required_models(mark)}
    for subject in (one for one in subjects if one.mark):
        before = subject.sample.ops[-2 if subject.attack else -1]["models"]
        for alias, pin in pins.items():
            if before.get(alias, pin) != pin:
                raise RecipeError(
                    f"{label}: the pictures were marked with {before[alias]}, and {alias} is {pin} now; use the "
                    "profile that made the edition"
                )
    method = {
        "settings": mark.identity(),
        "revision": mark.revision,
        "models": pins,
        "keyed": mark.keyed,
        "visible": mark.visible,
        "made_with": mark.made_with,
    }
    return json.dumps(method, sort_keys=True)


def _can_have(mark: Mark, subject: Subject) -> bool:
    """Return whether a picture is marked, or could be: one that is too small for a mark says nothing of it."""
    return bool(subject.mark) or mark.refusal(_pixels(subject.sample)) is None


def _alike(wanted: Sequence[Look], numbers: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of looks at pictures of one size."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number in numbers:
        sizes.setdefault(_pixels(wanted[number].subject.sample).shape, []).append(number)
    yield from sizes.values()


def _pixels(sample: Sample) -> Pixels:
    assert not isinstance(sample.image, bytes)
    return sample.image


def _answer(label: str, method: str, said: Detected, payloads: Bools, place: int) -> Answer:
    return Answer(
        mark=label,
        method=method,
        score=float(said.scores[place]),
        bits=0 if said.bits is None else said.bits.shape[1],
        right=0 if said.bits is None else int((said.bits[place] == payloads[place]).sum()),
        p_value=float("nan") if said.p_values is None else float(said.p_values[place]),
    )


def moves(settings: Mapping[str, Any]) -> bool:
    """Return whether an attack moves the whole picture."""
    if settings.get("name") == "combined_distortion":
        return settings.get("group") in ("geometric", "all")
    return settings.get("name") == "distortion" and settings.get("kind") in MOVING


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
