"""Watermarked pictures: each photograph in its frame, unmarked and with every mark, under keys that stay secret.

`watermark_attack` makes the attacked pictures from these, and `watermark_detection` finds what is left of the marks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from variorum.generators.watermark.marks.stdm import Stdm
from variorum.generators.watermark.strips import mark_strips
from variorum.generators.watermark.watermarking.checked import detected, embedded
from variorum.generators.watermark.watermarking.keys import (
    Keys,
    key_hash,
    keys_id,
    machine_secrets,
    own_keys,
    payload_hash,
    read_keys,
)
from variorum.generators.watermark.watermarking.quality import Reference, psnr
from variorum.kit.corrupt.frames import MIN_SIDE, Framed, Unusable, framed
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.sample import ENHANCED, Failure, Sample
from variorum.schemas.uses import all_models, required_models
from variorum.schemas.watermark import Mark, NestedMark, told_apart

if TYPE_CHECKING:
    from variorum.arrays import Pixels

log = logging.getLogger(__name__)

TOGETHER, MOST_PIXELS = 16, 1 << 22
"""Pictures that go to a mark together, and pixels that they have between them, unless one alone has more."""


class Watermark(Generator):
    """The `original` in its frame, and one picture per mark, named as the mark is.

    Right after marking, the mark is looked for in the picture; the share of right bits and the p-value are recorded.
    A mark that can't be had here, or that a picture can't carry, leaves a row with the reason.

    With a visible mark among them, `mask.png` of every picture says where it is covered, in place of a mask that the
    source may have.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED
    location: ClassVar[frozenset[str]] = frozenset({"keys"})
    card_pictures = staticmethod(mark_strips)
    machine_secrets = staticmethod(machine_secrets)

    marks: tuple[NestedMark, ...] = (Stdm(),)
    """The marks, each with its own variant."""
    frame: int | None = Field(default=256, ge=MIN_SIDE, le=2048)
    """Side of the square that the middle of a picture is cut to; null keeps the whole picture at its size."""
    keys: Path | None = None
    """The file of secret keys, made by `variorum keys FILE`. By default the one that VARIORUM_KEYS names, or the
    user's own, which is made when it is needed for the first time."""

    @field_validator("marks")
    @classmethod
    def _told_apart(cls, value: tuple[Mark, ...]) -> tuple[Mark, ...]:
        told_apart(value)
        if made := next((mark.called for mark in value if mark.made_with), ""):
            raise ValueError(f"{made} goes into a picture while a model makes it; use watermarked_generation for it")
        return value

    def identity(self) -> dict[str, Json]:
        """The fields; the hash of the keys stands for their file."""
        return {**super().identity(), "keys": keys_id(self.keys)}

    def uses(self) -> list[Use]:
        """Return the models of all marks; it does without any."""
        return [Use(alias, optional=True) for alias in sorted(all_models(*self.marks))]

    def check(self, ctx: Context) -> None:
        """Raise SourceError without usable keys; the user's own file is made if there is none."""
        own_keys() if self.keys is None else read_keys(self.keys)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The pictures made from a stream of samples, in its order."""
        keys = read_keys(self.keys)
        for batch in self._batches(samples, ctx):
            marked = [self._marked(mark, batch, keys, ctx) for mark in self.marks]
            for place, one in enumerate(batch):
                yield self._original(one)
                yield from (outcomes[place] for outcomes in marked)

    def _batches(self, samples: Iterable[Sample], ctx: Context) -> Iterator[list[_Subject]]:
        batch: list[_Subject] = []
        pixels = 0
        for sample in samples:
            one = self._subject(sample, ctx)
            size = 0 if one.framed is None else one.framed.image.shape[0] * one.framed.image.shape[1]
            if batch and (len(batch) == TOGETHER or pixels + size > MOST_PIXELS):
                yield batch
                batch, pixels = [], 0
            batch.append(one)
            pixels += size
        if batch:
            yield batch

    def _subject(self, sample: Sample, ctx: Context) -> _Subject:
        try:
            found = framed(sample, self.frame)
        except Unusable as error:
            return _Subject(Edit(self, sample, ctx), None, error)
        found.image.setflags(write=False)
        return _Subject(Edit(self, sample, ctx), found, None)

    def _original(self, one: _Subject) -> Sample | Failure:
        requested: dict[str, Json] = {"mark": None, "frame": self.frame}
        if one.framed is None:
            return one.of.skipped(*one.why(), variant="original", requested=requested)
        return one.of.made(
            one.framed.image,
            variant="original",
            requested=requested,
            achieved={"picture": one.id, "marks": self._listed()},
            extras=self._extras(one.framed, None),
            annotations=one.framed.annotations,
            digital_source_type=one.of.sample.digital_source_type,
        )

    def _listed(self) -> dict[str, Json]:
        """By label, what the detector of each mark is built from: unmarked pictures are looked at by all of them."""
        return {mark.called: {"settings": mark.identity(), "keyed": mark.keyed} for mark in self.marks}

    def _marked(self, mark: Mark, batch: Sequence[_Subject], keys: Keys, ctx: Context) -> list[Sample | Failure]:
        """Mark each picture, or say why not."""
        missing = [why for alias in required_models(mark) if (why := ctx.models.why_unavailable(alias))]
        refused = [one.refused(mark, missing) for one in batch]
        images = [one.framed.image for one, why in zip(batch, refused, strict=True) if one.framed and not why]
        shared = mark.keyed == "shared"
        secret = [
            keys.shared(mark.called) if shared else keys.of(mark.called, one.id)
            for one, why in zip(batch, refused, strict=True)
            if not why
        ]
        made = embedded(mark, images, secret, ctx) if images else []
        facts = _facts(mark, images, made, secret, ctx) if images else []
        masks = [mark.mask(image, key) if mark.visible else None for image, key in zip(images, secret, strict=True)]
        ready = iter(zip(made, masks, facts, strict=True))
        return [
            self._refused(mark, one, why) if why else self._sample(mark, one, *next(ready))
            for one, why in zip(batch, refused, strict=True)
        ]

    def _refused(self, mark: Mark, one: _Subject, why: tuple[str, str]) -> Failure:
        return one.of.skipped(*why, variant=mark.called, requested=self._requested(mark))

    def _sample(
        self, mark: Mark, one: _Subject, image: Pixels, mask: Pixels | None, achieved: Mapping[str, Json]
    ) -> Sample:
        assert one.framed is not None
        for alias in required_models(mark):
            one.of.model(alias)  # records its pin
        return one.of.made(
            image,
            variant=mark.called,
            requested=self._requested(mark),
            achieved={"picture": one.id, **achieved},
            extras=self._extras(one.framed, mask),
            annotations=one.framed.annotations,
        )

    def _extras(self, found: Framed, mask: Pixels | None) -> dict[str, bytes | np.ndarray]:
        """The same members for all pictures of an edition: where a visible mark covers them, or the source's mask."""
        if any(mark.visible for mark in self.marks):
            return {"mask.png": np.zeros(found.image.shape[:2], np.uint8) if mask is None else mask}
        return {} if found.mask is None else {"mask.png": found.mask}

    def _requested(self, mark: Mark) -> dict[str, Json]:
        return {"mark": mark.called, "settings": mark.identity(), "keyed": mark.keyed, "frame": self.frame}


class _Subject(NamedTuple):
    """A picture to be marked; `error` says why there is none."""

    of: Edit
    framed: Framed | None
    error: Unusable | None

    @property
    def id(self) -> str:
        return self.of.sample.id

    def why(self) -> tuple[str, str]:
        return (self.error.reason, str(self.error)) if self.error else ("", "")

    def refused(self, mark: Mark, missing: Sequence[str]) -> tuple[str, str] | None:
        """Why this picture can't have the mark: a reason in a word and a sentence."""
        if self.framed is None:
            return self.why()
        if missing:
            return "unavailable", f"unavailable: {'; '.join(missing)}"
        return mark.refusal(self.framed.image)


def _facts(
    mark: Mark, images: Sequence[Pixels], made: Sequence[Pixels], keys: Sequence[bytes], ctx: Context
) -> list[dict[str, Json]]:
    """Record facts of each marked picture: hashes, quality, and what the detector finds in it."""
    found, payloads = detected(mark, made, keys, ctx), mark.payloads(keys)
    facts: list[dict[str, Json]] = []
    for place, (image, marked, key) in enumerate(zip(images, made, keys, strict=True)):
        one: dict[str, Json] = {
            "key": key_hash(key),
            "psnr": round(psnr(image, marked), 3),
            "ssim": round(Reference(image).ssim(marked), 5),
        }
        if count := payloads.shape[1]:
            one["payload"] = payload_hash(key, count)
        if found.bits is not None:
            one["bits_right"] = round(float((found.bits[place] == payloads[place]).mean()), 6)
        if found.p_values is not None:
            one["p_value"] = float(f"{found.p_values[place]:.3g}")
        facts.append(one)
    return facts
