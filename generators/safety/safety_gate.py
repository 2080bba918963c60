"""A gate that withholds pictures which could show a naked child, so that their pixels are never stored.

It looks for nudity, and where it may have found some, for faces. A picture passes only without nudity or if all faces
look adult. This is a precaution with false alarms, and says nothing about a picture or the people in it.
docs/guides/handling.md says what it misses and what else is and isn't done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.kit.copies.blocklists import Blocklist
from variorum.kit.copies.join import hamming_join
from variorum.kit.copies.pdq import LEAST_QUALITY, pdq, pixel_digest
from variorum.machine.file_hashes import file_hashes
from variorum.pixels import shows_more
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

NUDITY, FACES, AGES = "nsfw", "face_detector", "age_estimator"
"""Aliases of the models."""
SURE = 0.5
"""Score from which a face counts as one for certain. A fainter one can take a picture out, but never let it pass."""
TOGETHER, MOST_PIXELS = 16, 1 << 24
"""Pictures that are looked at together, and pixels that they have between them, unless one alone has more."""


class SafetyGate(Generator):
    """Passes each picture on unchanged, with its id, or withholds it.

    A picture passes if its nudity score is below `nudity_from`, or if at least one face is certain and all faces look
    `adult_from` years old or more. Otherwise it is withheld: as `minor_and_nudity` if a face looks younger, as
    `age_unknown` if no face is certain or a model for faces or ages is unavailable. Without the model for nudity
    nothing is built. A withheld picture leaves a row with its hash, labels and what was measured, and no pixel.
    A picture that passes keeps its file, unless that has further frames or transparent parts, which nobody looked at.

    It belongs before all other generators, and behind each that makes pictures of people. Its models may judge only
    where what it withholds counts too: the check `nudity` has the score of a withheld picture.
    """

    revision: ClassVar[int] = 2
    keeps_objects: ClassVar[bool] = True
    location: ClassVar[frozenset[str]] = frozenset({"blocked"})

    adult_from: float = Field(default=25.0, ge=18, le=80)
    """Years. It is above 18 because an estimated age is often wrong by several years."""
    nudity_from: float = Field(default=0.2, ge=0, le=0.5)
    """Score of open_nsfw in [0, 1]. It is low because a face that looks young is looked for only above it."""
    blocked: Path | None = None
    """Parquet file of hashes, as `variorum blocklist` writes it. A picture with the same bytes or pixels, or with a
    similar PDQ hash, is withheld as `blocked`."""

    def identity(self) -> dict[str, Json]:
        """The fields; the hash of the list stands for its path."""
        return {**super().identity(), "blocked": None if self.blocked is None else _hash(self.blocked)}

    def uses(self) -> list[Use]:
        """Return the models for nudity, faces and ages; without the last two no picture with nudity passes."""
        nudity = Use(NUDITY, decides=True, gate="nudity")
        return [nudity, Use(AGES, decides=True, optional=True), Use(FACES, decides=True, optional=True)]

    def check(self, ctx: Context) -> None:
        """Raise SourceError for a list that can't be read."""
        if self.blocked is not None:
            Blocklist.columns(self.blocked.expanduser())

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The samples that pass, and a row for each that doesn't, in the same order.

        Raises:
            RecipeError: a sample has no picture yet.
        """
        known = None if self.blocked is None else Blocklist.read(self.blocked.expanduser())
        for batch in _batches(samples):
            seen = self._seen([image for _, image in batch], ctx)
            listed = _listed(batch, known)
            for (sample, _), one, on_list in zip(batch, seen, listed, strict=True):
                if on_list:
                    yield sample.withheld("blocked", "its hash is on the list of blocked pictures")
                elif why := one.why(self):
                    yield sample.withheld(*why, gates=one.gates(self))
                else:
                    yield _as_seen(sample)

    def _seen(self, images: Sequence[Pixels], ctx: Context) -> list[_Seen]:
        """Look for unsafe content in pictures; faces are looked for only where there may be nudity."""
        nudity = [float(score) for score in ctx.models.get(NUDITY)(images)]
        near = [row for row, score in enumerate(nudity) if not score < self.nudity_from]
        missing = next((why for alias in (FACES, AGES) if (why := ctx.models.why_unavailable(alias))), "")
        found = {row: _Seen(score, missing=missing) for row, score in enumerate(nudity)}
        if near and not missing:
            shown = [images[row] for row in near]
            faces = ctx.models.get(FACES)(shown)
            ages: list[Singles] = ctx.models.get(AGES)(shown, faces)
            for row, face, years in zip(near, faces, ages, strict=True):
                found[row] = _Seen(nudity[row], len(years), int((face.scores >= SURE).sum()), _youngest(years))
        return [found[row] for row in range(len(images))]


class _Seen(NamedTuple):
    """The models' findings on a picture.

    Attributes:
        nudity: score in [0, 1].
        faces: how many were found; -1 if none was looked for.
        certain: how many of them are certain.
        youngest: years; NaN if no age is known.
        missing: why faces can't be looked for.
    """

    nudity: float
    faces: int = -1
    certain: int = 0
    youngest: float = float("nan")
    missing: str = ""

    def why(self, gate: SafetyGate) -> tuple[str, str] | None:
        """Why the picture is withheld: a reason in a word and a sentence; None if it passes."""
        if self.nudity < gate.nudity_from:
            return None
        if self.missing:
            return "age_unknown", f"possible nudity, and ages can't be estimated: {self.missing}"
        if self.youngest < gate.adult_from:
            return "minor_and_nudity", f"possible nudity, and a face that may look younger than {gate.adult_from:g}"
        if not self.certain or math.isnan(self.youngest):
            return "age_unknown", "possible nudity, and no certain face to estimate an age from"
        return None

    def gates(self, gate: SafetyGate) -> dict[str, Gate]:
        """Return what was measured, without what isn't known."""
        limit = gate.nudity_from
        found = {"nudity": Gate(value=self.nudity, limit=f"< {limit:g}", passed=self.nudity < limit)}
        if self.faces >= 0:
            found["faces"] = Gate(value=float(self.certain), limit=">= 1", passed=self.certain > 0)
        passed = self.youngest >= gate.adult_from
        found["youngest"] = Gate(value=self.youngest, limit=f">= {gate.adult_from:g}", passed=passed)
        return {name: {**one, "value": round(one["value"], 4)} for name, one in found.items() if one["value"] >= 0}


def _youngest(years: Singles) -> float:
    """NaN if there is no face, or if one of them has no age."""
    return float(np.min(years)) if len(years) else float("nan")


def _batches(samples: Iterable[Sample]) -> Iterator[list[tuple[Sample, Pixels]]]:
    batch: list[tuple[Sample, Pixels]] = []
    pixels = 0
    for sample in samples:
        if isinstance(sample.image, bytes):
            raise RecipeError(
                "safety_gate: there is no picture to look at yet; put it behind the generator that makes the pictures"
            )
        size = sample.image.shape[0] * sample.image.shape[1]
        if batch and (len(batch) == TOGETHER or pixels + size > MOST_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append((sample, sample.image))
        pixels += size
    if batch:
        yield batch


def _as_seen(sample: Sample) -> Sample:
    """The sample, or one with the judged pixels in place of a file that shows more than was looked at."""
    given = sample.encoded
    if given is None or given.pixels is not sample.image or not shows_more(given.data):
        return sample
    return replace(sample, image=given.pixels.copy())


def _listed(batch: Sequence[tuple[Sample, Pixels]], known: Blocklist | None) -> Bools:
    """Return whether each picture `[N]` is on a list, by its bytes, its pixels or its PDQ hash in any orientation."""
    found = np.zeros(len(batch), bool)
    if known is None:
        return found
    files, digests = set(known.sha256.tolist()), {row.tobytes() for row in known.pixels}
    hashes = [pdq(image) for _, image in batch] if len(known.pdq) else []
    for row, (sample, image) in enumerate(batch):
        given = sample.encoded
        found[row] = (given is not None and given.sha256 in files) or pixel_digest(image).tobytes() in digests
    meaningful = np.asarray([row for row, (_, quality) in enumerate(hashes) if quality >= LEAST_QUALITY], np.int64)
    if len(meaningful):
        found[meaningful[hamming_join(np.stack([hashes[row][0] for row in meaningful]), known.pdq).i]] = True
    return found


def _hash(path: Path) -> str | None:
    """sha256 of a file; None if it can't be read, so that an edition whose list is gone can still be named."""
    file = path.expanduser().absolute()
    (sha256,) = file_hashes(file.parent, [file])
    return sha256 or None
