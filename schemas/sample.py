"""The records that flow through the pipeline: a picture with all that is known of it, or the reason there is none.

A `Sample`'s id says how it was made (stable, the join key); the sha256 of its encoded image, added when it is
written, says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypedDict

from schemas.canonical import Json, short_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

BASELINES = ("original", "control", "guided_control", "plate")
"""Variants that aren't edits but what edits are compared with; `Sample.variant` has one of them or an edit's name."""

Status = Literal["accepted", "quarantined", "ineligible", "failed"]


class Gate(TypedDict):
    """One validity check on one picture: what was measured, what was asked, whether it passed."""

    value: float
    limit: str
    passed: bool


class Op(TypedDict):
    """One step in a sample's making. `requested` enters the sample's id; the rest is what was measured."""

    name: str
    revision: int
    requested: Mapping[str, Json]
    achieved: Mapping[str, Json]
    gates: Mapping[str, Gate]
    models: Mapping[str, str]
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture.

    Attributes:
        id: 32 hexadecimal digits; `source_id` or `Sample.child` make it.
        image: encoded bytes as a source reads them, or RGB pixels `[H, W, 3]` uint8 once decoded. The engine decodes
            before the first generator and encodes after the last; `b""` with extras (a prompt) is a picture to be made.
        labels: class ids (wnids, folder names); empty when the source has none.
        origin: where the source got it, for people: `chelsea.png`, a URL, a row of a dataset.
        licence: SPDX id or the terms in a few words.
        variant: what users group by: `original`, `size_0.05`; `original` for a source's own pictures.
        parent: id of the sample that it was made from; `""` for a source's own.
        reason: why it is quarantined; `""` means accepted.
        extras: further members of the same sample, by file ending: `{"mask.png": pixels [H, W] or encoded bytes}`.
        ops: its making, oldest step first.
    """

    id: str
    image: bytes | Pixels
    labels: tuple[str, ...] = ()
    origin: str = ""
    licence: str = "unknown"
    variant: str = "original"
    parent: str = ""
    reason: str = ""
    extras: Mapping[str, bytes | Pixels] = field(default_factory=dict)
    ops: tuple[Op, ...] = ()

    def child(
        self,
        image: bytes | Pixels,
        op: Op,
        *,
        variant: str,
        fingerprint: str,
        extras: Mapping[str, bytes | Pixels] | None = None,
        reason: str = "",
    ) -> Sample:
        """The sample that a component with this fingerprint makes of this one by `op`."""
        return replace(
            self,
            id=child_id(self.id, fingerprint, variant, op["requested"]),
            image=image,
            parent=self.id,
            variant=variant,
            reason=reason,
            extras=dict(extras or {}),
            ops=(*self.ops, op),
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that doesn't exist, and why. It becomes a row of the edition's table, so nothing goes uncounted.

    `status` is `ineligible` when the input rules the edit out (`no_room`), `failed` when something went wrong.
    """

    id: str
    parent: str
    status: Literal["ineligible", "failed"]
    reason: str
    variant: str = "original"
    labels: tuple[str, ...] = ()
    origin: str = ""
    licence: str = "unknown"
    detail: str = ""
    gates: Mapping[str, Gate] = field(default_factory=dict)


def source_id(source: str, key: str) -> str:
    """Id of a source's own sample: the source's name and a key that is stable wherever the data lies."""
    return short_digest([source, key])


def child_id(parent: str, fingerprint: str, variant: str, requested: Mapping[str, Json]) -> str:
    """Id of the sample that `parent` turns into; it depends on what was asked, not on what floats came out."""
    return short_digest([parent, fingerprint, variant, requested])
