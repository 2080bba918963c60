"""The records of the pipeline: a picture with everything known about it, or the reason why a picture doesn't exist.

The id of a `Sample` says how it was made; it is stable and joins tables. The sha256 of the encoded image, added when
the sample is written, says what the picture is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypedDict

from variorum.schemas.canonical import Json, check_json, short_digest
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

BASELINES = ("original", "control", "guided_control", "plate")
"""Variants that edits are compared with. `Sample.variant` is one of them or the name of an edit."""

Status = Literal["accepted", "quarantined", "ineligible", "failed"]


class Gate(TypedDict):
    """One validity check of one picture: the measured value, the limit, and whether it passed."""

    value: float
    limit: str
    passed: bool


class Op(TypedDict):
    """One step in the making of a sample. `requested` is part of the sample's id; the other keys record the result."""

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
        id: 32 hexadecimal digits, made by `source_id` or `Sample.child`.
        image: encoded bytes from a source, or RGB pixels `[H, W, 3]` uint8 after decoding. Pictures are decoded before
            the first generator and encoded after the last. `b""` with extras (a prompt) is a picture to be made.
        labels: class ids (wnids, folder names); empty if the source has none.
        origin: where the picture comes from, for people: `chelsea.png`, a URL, a row of a dataset.
        licence: SPDX id, or the terms in a few words.
        variant: name to group by, such as `size_0.05`; `original` for pictures of a source.
        parent: id of the sample that it was made from; `""` for pictures of a source.
        reason: why it is quarantined; `""` if accepted.
        extras: further members of the sample, by file ending: `{"mask.png": pixels [H, W] or encoded bytes}`.
        ops: the steps of its making, oldest first.
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
        """The sample made from this one by `op` of a component with this fingerprint.

        Raises:
            RecipeError: the op has a missing, unknown or wrongly typed key, or a value that JSON can't hold.
        """
        check_op(op)
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
    """A picture that doesn't exist, and why. It becomes a row of the edition's table, so every request is counted.

    `status` is `ineligible` if the input rules the edit out (`no_room`), `failed` if something went wrong.
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


def check_op(op: Op) -> None:
    """Raise RecipeError unless an op has exactly its keys, with values of the right type that JSON can hold."""
    kinds = {"name": str, "revision": int, "seed": int}
    kinds |= dict.fromkeys(("requested", "achieved", "gates", "models"), Mapping)
    name = op.get("name", "a generator")
    if missing := [key for key in kinds if key not in op]:
        raise RecipeError(f"{name}: its op lacks {', '.join(missing)}; `of.made(...)` in `edit` sets all keys")
    if wrong := [key for key, kind in kinds.items() if not isinstance(op[key], kind)]:  # type: ignore[literal-required]
        raise RecipeError(f"{name}: wrong type in its op: {', '.join(wrong)}; `of.made(...)` in `edit` sets all keys")
    if unknown := sorted(op.keys() - kinds.keys()):
        raise RecipeError(f"{name}: unknown key {unknown[0]!r} in its op; put it into `requested` or `achieved`")
    try:
        check_json(op)
    except TypeError as error:
        raise RecipeError(f"{name}: in its op, {str(error).lstrip('.')}") from None


def source_id(source: str, key: str) -> str:
    """Id of a sample read by a source. `key` identifies the picture and must not depend on where the data lies."""
    return short_digest([source, key])


def child_id(parent: str, fingerprint: str, variant: str, requested: Mapping[str, Json]) -> str:
    """Id of a sample made from `parent`; it depends on the request, not on computed numbers.

    Raises:
        RecipeError: JSON can't hold the request.
    """
    try:
        return short_digest([parent, fingerprint, variant, requested])
    except TypeError as error:
        raise RecipeError(str(error).replace("[3]", "requested", 1)) from None
