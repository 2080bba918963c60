"""The grid of pictures, attacks and strengths: which cells there are, and what is made in each.

A cell is one attack at one strength, about one mark if the attack is on a mark, on a batch of pictures. Cells that take
long are kept in the memo: a unit that was interrupted goes on at the cell where it was, and a recipe with one more
attack makes only that one anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.annotations import resampled, resampled_mask
from variorum.generators.watermark.watermarking.checked import attacked
from variorum.generators.watermark.watermarking.detecting import stored_mark
from variorum.generators.watermark.watermarking.keys import Keys, read_keys
from variorum.generators.watermark.watermarking.quality import Reference
from variorum.generators.watermark.watermarking.subjects import About, Subject, area, by_mark
from variorum.generators.watermark.watermarking.target import Service, attackers_photographs
from variorum.pixels import UndecodableImage, decode_mask
from variorum.schemas.canonical import Json, canonical_json, digest
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.uses import all_models, required_models
from variorum.schemas.watermark import Attack, Attacked, Mark, Refused

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.schemas.component import Context, Generator, Source
    from variorum.schemas.sample import Failure, Sample

    Arrays = Mapping[str, np.ndarray[Any, Any]]

LARGE = 1 << 20
"""Pixels of a picture of which nothing is kept between two measurements, as that takes 64 bytes a pixel."""
MIN_SIDE = 16
"""Pixels of the shorter side of a picture that is attacked."""
PERCEPTUAL = "perceptual"
"""Alias of the model behind `lpips`; without it there are the other measures."""


class Cell(NamedTuple):
    """One attack at one strength, about one mark.

    Attributes:
        attack: the attack.
        about: the mark; None for an attack that depends on none.
        strength: relative.
        requested: what the records of its pictures say.
    """

    attack: Attack
    about: About | None
    strength: float
    requested: Mapping[str, Json]

    def variant(self, subject: Subject) -> str:
        """Name a picture's variant."""
        name = f"{subject.sample.variant}_{self.attack.called}_{self.strength:g}"
        return f"{name}_{self.about.label}" if self.about and subject.mark is None else name

    @property
    def purpose(self) -> str:
        """Of its random numbers, which all strengths share."""
        return f"{self.attack.called}_{self.about.label}" if self.about else self.attack.called


class Impossible(Exception):
    """A cell in which no picture can be made; `why` is a reason in a word and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.why = Refused(reason, detail)


class Grid:
    """A generator's attacks and strengths, or `only` one strength, at work on a stream of batches."""

    def __init__(
        self,
        generator: Generator,
        attacks: Sequence[Attack],
        strengths: Sequence[float],
        ctx: Context,
        *,
        marks: Sequence[Mark] = (),
        material: Source | None = None,
        keys: Path | None = None,
        only: float | None = None,
    ) -> None:
        self.generator, self.attacks, self.strengths, self.ctx = generator, attacks, strengths, ctx
        self.own = {mark.called: mark for mark in marks}
        self.material, self.keys, self.only = material, keys, only
        self._services: dict[bytes, Service] = {}
        self._photographs: dict[int | None, Iterator[tuple[Sample, Pixels]]] = {}
        self._measured = PERCEPTUAL if not self._lacking(PERCEPTUAL) else ""
        self._embeddings: dict[str, np.ndarray[Any, Any]] = {}

    def attacked(self, batch: Sequence[Subject]) -> Iterator[Sample | Failure]:
        """The attacked pictures of a batch, cell by cell, or a Failure for each."""
        self._embeddings.clear()
        references = {subject.sample.id: Reference(subject.pixels) for subject in batch if 0 < area(subject) <= LARGE}
        for attack in self.attacks:
            for about, subjects in by_mark(attack, batch):
                for strength in [self.only] if self.only else attack.strengths or self.strengths:
                    requested: dict[str, Json] = {
                        "attack": attack.called,
                        "settings": attack.identity(),
                        "strength": strength,
                        "amount": dict(attack.amount(strength)),
                        "family": attack.family,
                        "goal": attack.goal,
                        "access": attack.access,
                        "about": about.label if about else None,
                    }
                    yield from self._cell(Cell(attack, about, strength, requested), subjects, references)

    def _cell(
        self, cell: Cell, subjects: Sequence[Subject], references: Mapping[str, Reference]
    ) -> Iterator[Sample | Failure]:
        try:
            service, problem = self._service(cell, subjects[0]), None
        except Impossible as impossible:
            service, problem = None, impossible.why
        able: dict[tuple[int, ...], list[Subject]] = {}
        for subject in subjects:
            why = problem or _refusal(subject.sample)
            if why is None and service is not None:
                why = service.refusal(subject.sample, subject.photograph)
            if why is None:
                able.setdefault(subject.pixels.shape, []).append(subject)
            else:
                yield self._refused(cell, subject, why)
        if service is None:
            return
        for same in able.values():
            for subject, found in zip(same, self._applied(cell, same, service), strict=True):
                if isinstance(found, Refused):
                    yield self._refused(cell, subject, found)
                else:
                    before = references.get(subject.sample.id) or Reference(subject.pixels)
                    yield self._made(cell, subject, before, found, service)

    def _applied(self, cell: Cell, same: Sequence[Subject], service: Service) -> Sequence[Attacked | Refused]:
        """Apply the attack to pictures of one size; the result is kept in the memo if it takes long."""
        images, name = [subject.pixels for subject in same], self.generator.component_name()

        def applied() -> list[Attacked | Refused]:
            rngs = [self.ctx.rng(name, subject.sample.id, cell.purpose) for subject in same]
            return attacked(cell.attack, images, cell.attack.apply(images, cell.strength, rngs, service))

        if not takes_long(cell.attack):
            return applied()
        seeds: list[Json] = [self.ctx.seed_for(name, subject.sample.id, cell.purpose) for subject in same]
        key = self._key(cell, service, seeds, images)
        return _unpacked(self.ctx.memo(key, lambda: _packed(applied(), images)))

    def _key(self, cell: Cell, service: Service, seeds: list[Json], images: Sequence[Pixels]) -> str:
        """All that a cell's pictures depend on."""
        attack, mark = cell.attack, service.mark
        parts = [attack, *([mark] if mark else [])]
        aliases = all_models(*parts)
        pins: Json = [[a, "" if self._lacking(a) else self.ctx.models.pin(a)] for a in sorted(aliases)]
        source = self.material or self.ctx.source
        wants = attack.own_photographs() > 0 and source is not None
        data: Json = [source.fingerprint(), source.pin(self.ctx)] if wants and source else []
        hashes: Json = [[list(one.shape), hashlib.sha256(one.tobytes()).hexdigest()] for one in images]
        said: Json = [part.fingerprint() for part in parts]
        return digest(
            ["attacked pictures", said, pins, data, service.keys.id, service.frame, cell.strength, seeds, hashes]
        )

    def _made(self, cell: Cell, subject: Subject, before: Reference, found: Attacked, service: Service) -> Sample:
        of, sample = Edit(self.generator, subject.sample, self.ctx), subject.sample
        for alias in required_models(cell.attack):
            of.model(alias)  # records its pin
        achieved: dict[str, Json] = {**found.drawn, **before.quality(found.image)}
        if self._measured:
            model = of.model(self._measured)
            if sample.id not in self._embeddings:
                (self._embeddings[sample.id],) = model([before.image])
            achieved["lpips"] = round(float(np.sum((model([found.image])[0] - self._embeddings[sample.id]) ** 2)), 5)
        annotations, extras = sample.annotations, dict(sample.extras)
        if found.origins is not None:
            annotations = resampled(annotations, found.origins, found.image.shape[:2])
            extras = {name: _moved(value, found.origins) for name, value in extras.items()}
        return of.made(
            found.image,
            variant=cell.variant(subject),
            requested=cell.requested,
            achieved=achieved,
            extras=extras,
            purpose=cell.purpose,
            annotations=annotations,
            digital_source_type=cell.attack.digital_source_type,
            made_of=service.lent(found.used),
        )

    def _refused(self, cell: Cell, subject: Subject, why: tuple[str, str]) -> Failure:
        of = Edit(self.generator, subject.sample, self.ctx)
        return of.skipped(*why, variant=cell.variant(subject), requested=cell.requested)

    def _service(self, cell: Cell, subject: Subject) -> Service:
        """Return what the attacker has to work with, kept while a unit is made.

        Raises:
            Impossible: a model or the mark is missing.
        """
        attack, about, frame = cell.attack, cell.about, subject.frame
        self._need(attack)
        if attack.about_mark and about is None:
            raise Impossible("no_mark", "it is an attack on a mark, and none is known of this photograph")
        key = canonical_json([attack.called, about and about.label, dict(about.settings) if about else {}, frame])
        if key not in self._services:
            mark, keys = None, Keys("", b"")
            if about is not None:
                mark, keys = self._mark(about, subject.sample), read_keys(self.keys)
                self._need(mark)
            if frame not in self._photographs:
                (self._photographs[frame],) = tee(attackers_photographs(self.material, frame, self.ctx), 1)
            stream = copy(self._photographs[frame])
            self._services[key] = Service(mark, attack, keys, self.ctx, frame, self.material, stream)
        return self._services[key]

    def _mark(self, about: About, sample: Sample) -> Mark:
        user = self.generator.component_name()
        try:
            return self.own.get(about.label) or stored_mark(about.label, about.settings, sample, user, self.ctx)
        except RecipeError as error:
            raise Impossible("unknown_mark", str(error)) from None

    def _need(self, part: Attack | Mark) -> None:
        if missing := [why for alias in required_models(part) if (why := self._lacking(alias))]:
            raise Impossible("unavailable", f"unavailable: {'; '.join(missing)}")

    def _lacking(self, alias: str) -> str:
        """Why a model can't be had here; `""` if it can."""
        return self.ctx.models.why_unavailable(alias)


def takes_long(attack: Attack) -> bool:
    """Return whether it has a model or photographs of its own; all others take milliseconds."""
    return bool(required_models(attack) or attack.own_photographs())


def _refusal(sample: Sample) -> tuple[str, str] | None:
    if isinstance(sample.image, bytes):
        return "no_picture", "there are no pixels to attack"
    height, width = sample.image.shape[:2]
    if min(height, width) < MIN_SIDE:
        return "too_small", f"{width} x {height} pixels, the shorter side must be {MIN_SIDE}"
    return None


def _packed(found: Sequence[Attacked | Refused], images: Sequence[Pixels]) -> Arrays:
    """A cell's pictures as arrays for the memo."""
    said: list[Json] = [
        list(one)
        if isinstance(one, Refused)
        else {"drawn": dict(one.drawn), "used": None if one.used is None else [*one.used]}
        for one in found
    ]
    arrays: dict[str, np.ndarray[Any, Any]] = {"said": np.frombuffer(canonical_json(said), np.uint8)}
    for place, one in enumerate(found):
        if isinstance(one, Attacked):
            arrays[f"image{place}"] = one.image
            if one.origins is not None:
                arrays[f"origins{place}"] = one.origins
    return arrays


def _unpacked(arrays: Arrays) -> list[Attacked | Refused]:
    return [
        Refused(*one)
        if isinstance(one, list)
        else Attacked(arrays[f"image{place}"], one["drawn"], arrays.get(f"origins{place}"), one["used"])
        for place, one in enumerate(json.loads(arrays["said"].tobytes()))
    ]


def _moved(value: bytes | Pixels, origins: np.ndarray[Any, Any]) -> bytes | Pixels:
    """A mask, or another picture of the same size, whose pixels moved along; whatever else it is stays."""
    if isinstance(value, bytes):
        try:
            value = decode_mask(value)
        except UndecodableImage:
            return value
    if value.shape[:2] != origins.shape[:2]:
        return value
    if value.ndim == 2:
        return resampled_mask(value, origins)
    return np.stack([resampled_mask(value[..., place], origins) for place in range(value.shape[2])], axis=-1)
