"""A model's answers on an edition, as a file that people can exchange: `results/<slug>-<pin>.json`.

The file holds figures and, for each picture of the edition, whether it was scored and whether the answer was right.
So anybody who has the edition can compute the figures again, with other intervals, or compare two models by picture.
Files come from strangers: every field has a limit, and figures count only if they match the answers.

The file of one model on one edition always has the same bytes: no date, host or path is in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from variorum.edition.records import to_json
from variorum.schemas.canonical import digest
from variorum.schemas.fields import Count, Sha256, Step, whole
from variorum.schemas.plot import FEWEST

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_PICTURES = 20_000_000
"""Pictures of an edition whose answers fit in a file."""
MOST_VARIANTS = 2_000
NOT_SHOWN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"

Name = Annotated[str, StringConstraints(pattern=rf"^[^{NOT_SHOWN}]+$", max_length=200)]
"""Name of a model, a variant or an edition. It is escaped where it is shown."""
Note = Annotated[str, StringConstraints(pattern=rf"^[^{NOT_SHOWN}]*$", max_length=1000)]
Bits = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=MOST_PICTURES // 6 + 8)]
"""One bit per picture, the first in the highest bit of the first byte, as base64."""
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Points = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class Part(BaseModel):
    """A part of a file: no other fields, and nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Part):
    """A value in percentage points with the ends of its interval."""

    value: Points
    low: Points
    high: Points


class VariantFigures(Part):
    """A variant's accuracy and drop, over the pictures whose original was scored too.

    Without originals, `original_accuracy` and `drop` are None and all scored pictures count.
    """

    n: Count
    accuracy: Percent
    original_accuracy: Percent | None = None
    drop: Interval | None = None

    def shown(self, drop: bool) -> float | None:
        """Return the drop, or the accuracy; None without one, and for too few pictures."""
        if self.n < FEWEST:
            return None
        return self.accuracy if not drop else self.drop.value if self.drop else None


class Figures(Part):
    """A model's figures on an edition, in percent and percentage points.

    Attributes:
        n: number of originals that were scored.
        original_accuracy: top-1 accuracy on them; None without originals.
        accuracy: mean of the accuracies on the edits, baselines left out; None without edits.
        average_drop: mean of the drops of the edits; None without originals or edits.
        averaged: the edits that both averages are over; those of earlier versions are over all edits, and it is empty.
        variants: by variant, originals left out.
    """

    n: Count
    original_accuracy: Percent | None = None
    accuracy: Percent | None = None
    average_drop: Interval | None = None
    averaged: Annotated[tuple[Name, ...], Field(max_length=MOST_VARIANTS)] = ()
    variants: Annotated[dict[Name, VariantFigures], Field(max_length=MOST_VARIANTS)] = {}


class EditionName(Part):
    """The edition: its name, for people, and the digest that identifies it."""

    name: Name
    digest: Sha256


class ModelFacts(Part):
    """The model that gave the answers.

    Attributes:
        name: as it was given, or as its owner calls it.
        revision: what exactly was run; `""` if unknown, as for a function.
        classes: number of its outputs.
        preprocessing: what it does to a picture, in a sentence.
    """

    name: Name
    revision: Annotated[str, StringConstraints(pattern=rf"^[^{NOT_SHOWN}]*$", max_length=4096)] = ""
    classes: Count
    preprocessing: Note = ""

    def pin(self) -> str:
        """Twelve hexadecimal digits that tell models of the same name apart."""
        return digest(self.model_dump(mode="json"))[:12]


class Method(Part):
    """The method of the figures: the evaluation and its options."""

    name: Step
    revision: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    bootstrap: Annotated[int, Field(ge=100, le=10_000, strict=True)]
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)]

    def draws(self) -> tuple[float, int, int]:
        """Return what decides the intervals."""
        return self.confidence, self.bootstrap, self.seed


class Answers(Part):
    """By picture, whether it was scored and whether the answer was right.

    Attributes:
        pictures: number of accepted pictures of the edition, in its order.
        scored: a bit for each; 0 where the label is none of the model's classes.
        correct: a bit for each scored picture, in the same order.
        ids: digest of the scored pictures' ids.
    """

    pictures: Annotated[int, Field(ge=0, le=MOST_PICTURES, strict=True)]
    scored: Bits
    correct: Bits
    ids: Sha256

    @model_validator(mode="after")
    def _fits(self) -> Answers:
        scored = int(unpacked(self.scored, self.pictures).sum())
        unpacked(self.correct, scored)
        return self

    def arrays(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether each picture was scored, `[N]`, and answered right, `[N]`; False where not scored."""
        import numpy as np

        scored = unpacked(self.scored, self.pictures)
        correct = np.zeros(self.pictures, bool)
        correct[scored] = unpacked(self.correct, int(scored.sum()))
        return scored, correct


class Result(Part):
    """The content of a file: one model on one edition."""

    format: Literal[1] = 1
    edition: EditionName
    model: ModelFacts
    evaluation: Method
    figures: Figures
    answers: Answers
    variorum: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,64}$")]
    """Version of this project."""

    @field_validator("format", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if whole(value) != 1:
            raise ValueError("must be 1; another one is of another version of variorum")
        return value

    def file_name(self) -> str:
        """`timm-resnet50-a1_in1k-0123456789ab.json`: the model's name as far as a file's name can hold it."""
        return f"{slug(self.model.name)}-{self.model.pin()}.json"

    def to_bytes(self) -> bytes:
        """The file's content, with a digest of it."""
        return to_json(self) + b"\n"


def slug(name: str) -> str:
    """The letters and digits of a name, at most 60, for a file's name."""
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:60].strip("-_") or "model"


# ── bits ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def answers(ids: Iterable[str], scored: NDArray[np.bool_], correct: NDArray[np.bool_]) -> Answers:
    """A model's answers.

    Args:
        ids: of all accepted pictures, in the edition's order.
        scored: `[N]`, whether each has a label among the model's classes.
        correct: `[N]`, whether the answer was right; only looked at where scored.
    """
    listed = list(ids)
    chosen = [one for one, kept in zip(listed, scored.tolist(), strict=True) if kept]
    return Answers(pictures=len(listed), scored=packed(scored), correct=packed(correct[scored]), ids=digest_of(chosen))


def digest_of(ids: Iterable[str]) -> str:
    """sha256 of ids in their order, each ended by a line break."""
    found = hashlib.sha256()
    for one in ids:
        found.update(one.encode() + b"\n")
    return found.hexdigest()


def packed(bits: NDArray[np.bool_]) -> str:
    """`[N]` booleans as base64."""
    import numpy as np

    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def unpacked(text: str, number: int) -> NDArray[np.bool_]:
    """The `number` booleans in `text`. Raises ValueError if there are more or fewer, or bits after the last."""
    import numpy as np

    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("isn't base64") from None
    if len(data) != (number + 7) // 8:
        raise ValueError(f"has {len(data)} bytes where {number} pictures take {(number + 7) // 8}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).astype(bool)
    if bits[number:].any():
        raise ValueError("has bits after the last picture")
    return bits[:number]
