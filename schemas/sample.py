"""The records of the pipeline: a picture with everything known about it, or the reason why an edition has no picture.

The id of a `Sample` says how it was made; it is stable and joins tables. The sha256 of the encoded image, added when
the sample is written, says what the picture is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict, cast, get_args

from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json, as_json, short_digest
from variorum.schemas.errors import RecipeError
from variorum.schemas.licences import all_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

BASELINES = ("original", "control", "guided_control", "plate")
"""Variants that edits are compared with, see `is_baseline`. `Sample.variant` is a baseline or the name of an edit."""


def is_baseline(variant: str) -> bool:
    """Return whether edits are compared with a variant: of `BASELINES`, or a control such as `control_cw`."""
    return variant in BASELINES or variant.startswith("control_")


Status = Literal["accepted", "quarantined", "ineligible", "failed", "withheld"]

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

CAPTURED = "digitalCapture"
COMPOSITE = "composite"
GENERATED = "trainedAlgorithmicMedia"
DRAWN = "algorithmicMedia"
CREATED = "digitalCreation"
PARTLY_GENERATED = "compositeWithTrainedAlgorithmicMedia"
ENHANCED = "algorithmicallyEnhanced"
"""Terms of IPTC's vocabulary DigitalSourceType, http://cv.iptc.org/newscodes/digitalsourcetype/: a photograph, a
composite, a picture made by a model, one drawn by a program without a model, one that people made with software, one
made in part by a model, and one changed by an algorithm without a model."""
MADE_BY_MODEL = ("reconstructed", "partly_generated", "generated")
"""Truths of pictures that a detector of generated pictures should find, as `detection_arms` writes them."""


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


class Lender(TypedDict):
    """Another picture whose pixels or words are in a sample. The op that used it has it in `achieved["made_of"]`.

    Attributes:
        id: of the picture that lent something.
        source: id of the source's sample that it comes from.
        photograph: as in `Sample`.
        origin: as in `Sample`, to name its author.
        licence: its terms, which hold for what is made of it.
        handling: `restricted` if it may not leave the machine, then the steps that made it, such as `face_blur`.
    """

    id: str
    source: str
    photograph: str
    origin: str
    licence: str
    handling: list[str]


MADE_OF = "made_of"
"""In an op's `achieved`: the lenders."""
LABEL_STATES = "label_states"
"""Column of a withheld picture's labels with a state, `sexual:wrong`."""
RESTRICTED = "restricted"
"""In the metadata: the picture may not leave this machine. It holds for all that is made of it."""

NOTHING = Annotations()
"""The annotations of a picture without any."""


class Encoded(NamedTuple):
    """A source's picture as it came.

    Attributes:
        data: its bytes.
        sha256: of the bytes.
        pixels: what they were decoded to. A sample whose `image` is this very array hasn't been changed.
        ending: file ending of the format: `jpg`, `png`, `webp`.
        orientation: EXIF's, 1 to 8; `pixels` are upright already.
        profile: description of its colour profile, `""` without one; `pixels` are sRGB already.
    """

    data: bytes
    sha256: str
    pixels: Pixels
    ending: str
    orientation: int = 1
    profile: str = ""


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
        detail: a sentence about `reason`.
        split: `train`, `validation` or `test`; `""` if the source doesn't say. A recipe's `splits` decides instead.
        photograph: what the picture and all that is made of it have in common: by default the sha256 of the source's
            bytes, so that copies share it. A recipe's `splits` puts pictures that share it on the same side. A source
            may set it to the name of a group that belongs together: a video, a patient, a place.
        annotations: objects, texts, and the states of several labels.
        metadata: whatever else the source says, as JSON values.
        digital_source_type: a term of IPTC's vocabulary, such as `digitalCapture`; `""` if unknown.
        credentials: whether the source's file had content credentials (C2PA). They are about that file, so they are
            never copied to a picture made of it.
        source: id of the source's sample that it comes from; `""` until a run reads it.
        encoded: while `image` holds the pixels of a source's picture, its bytes as they came.
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
    detail: str = ""
    split: str = ""
    photograph: str = ""
    annotations: Annotations = NOTHING
    metadata: Mapping[str, Json] = field(default_factory=dict)
    digital_source_type: str = ""
    credentials: bool = False
    source: str = ""
    encoded: Encoded | None = None

    @property
    def root(self) -> str:
        """Id of the source's sample that it comes from."""
        return self.source or self.id

    @property
    def restricted(self) -> bool:
        """Return whether its metadata say that it may not leave this machine."""
        return bool(self.metadata.get(RESTRICTED))

    def made_of(self) -> tuple[Lender, ...]:
        """The other pictures whose pixels or words are in it."""
        return tuple(one for op in self.ops for one in cast("list[Lender]", op["achieved"].get(MADE_OF, [])))

    def lent(self) -> tuple[Lender, ...]:
        """List what a sample is made of that uses its pixels or words: this picture, and all that is in it."""
        itself = Lender(
            id=self.id,
            source=self.root,
            photograph=self.photograph,
            origin=self.origin,
            licence=self.licence,
            handling=[*([RESTRICTED] if self.restricted else []), *(op["name"] for op in self.ops)],
        )
        return (itself, *self.made_of())

    def child(
        self,
        image: bytes | Pixels,
        op: Op,
        *,
        variant: str,
        fingerprint: str,
        extras: Mapping[str, bytes | Pixels] | None = None,
        reason: str = "",
        annotations: Annotations | None = None,
        digital_source_type: str = "",
        made_of: Sequence[Lender] = (),
    ) -> Sample:
        """The sample made from this one by `op` of a component with this fingerprint.

        Args:
            image: its picture.
            op: the step that made it.
            variant: name to group it by.
            fingerprint: of the component.
            extras: its further members.
            reason: why it is quarantined.
            annotations: its own. By default texts and labels stay and objects go, because where they are is unknown.
            digital_source_type: what the step makes, such as `composite`; `""` if unknown.
            made_of: what other pictures lent to it, from their `lent()`. Their licences and restrictions hold for it.

        Raises:
            RecipeError: the op has a missing, unknown or wrongly typed key, or a value that JSON can't hold.
        """
        op = checked_op(op)
        lenders: dict[str, Lender] = {one["id"]: one for one in made_of}
        metadata = self.metadata
        if lenders:
            op = {**op, "achieved": {**op["achieved"], MADE_OF: cast("list[Json]", [*lenders.values()])}}
        if any(RESTRICTED in one["handling"] for one in lenders.values()):
            metadata = {**metadata, RESTRICTED: True}
        return replace(
            self,
            id=child_id(self.id, fingerprint, variant, op["requested"]),
            image=image,
            parent=self.id,
            source=self.root,
            variant=variant,
            licence=all_of(self.licence, *(one["licence"] for one in lenders.values())),
            metadata=metadata,
            reason=reason,
            extras=dict(extras or {}),
            ops=(*self.ops, op),
            detail="",
            annotations=replace(self.annotations, objects=()) if annotations is None else annotations,
            digital_source_type=made_type(self.digital_source_type, digital_source_type),
            encoded=None,
        )

    def failure(
        self,
        reason: str,
        detail: str,
        *,
        status: Literal["ineligible", "failed"] = "failed",
        gates: Mapping[str, Gate] | None = None,
    ) -> Failure:
        """The row in this sample's place if its picture can't be had or used; see `Failure`."""
        return Failure(
            self.id,
            self.parent,
            status,
            reason,
            self.variant,
            self.labels,
            self.origin,
            self.licence,
            detail,
            gates or {},
            self.split,
            self.photograph,
        )

    def withheld(self, reason: str, detail: str = "", *, gates: Mapping[str, Gate] | None = None) -> Failure:
        """The row in this sample's place if its picture may not be kept: ids, labels and hash stay, and no pixel.

        Args:
            reason: in a word: `unsafe`.
            detail: a sentence for people.
            gates: checks that were made before.

        Raises:
            RecipeError: no reason is given, or the sample has no picture yet.
        """
        if not reason or not len(self.image):
            what = "a picture that may not be kept needs a reason" if not reason else "there is no picture to withhold"
            raise RecipeError(f"sample {self.origin or self.id}: {what}")
        given = self.encoded if self.encoded is not None and self.encoded.pixels is self.image else None
        return replace(
            self.failure(reason, detail, gates=gates),
            status="withheld",
            sha256=given.sha256 if given else "",
            digital_source_type=self.digital_source_type,
            states=tuple(f"{one.label}:{one.state}" for one in self.annotations.labels),
            picture=None if given else self.image,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that an edition doesn't hold, and why. It becomes a row of the table, so every request is counted.

    `status` is `ineligible` if the input rules the edit out (`no_room`), `failed` if something went wrong, `withheld`
    if there is a picture that may not be kept; docs/guides/handling.md says what remains of one.

    Attributes:
        sha256: of a withheld picture: of the bytes that a source gave, or of the PNG that it would have become.
        digital_source_type: of a withheld picture.
        states: of a withheld picture: its labels with a state, `sexual:wrong`.
        picture: of a withheld picture, until its sha256 is known; it is never written.
    """

    id: str
    parent: str
    status: Literal["ineligible", "failed", "withheld"]
    reason: str
    variant: str = "original"
    labels: tuple[str, ...] = ()
    origin: str = ""
    licence: str = "unknown"
    detail: str = ""
    gates: Mapping[str, Gate] = field(default_factory=dict)
    split: str = ""
    photograph: str = ""
    sha256: str = ""
    digital_source_type: str = ""
    states: tuple[str, ...] = ()
    picture: bytes | Pixels | None = field(default=None, repr=False, compare=False)


class Withheld(NamedTuple):
    """A withheld picture, for evaluations that count what a gate withheld.

    Attributes:
        sample: what its row says, without a picture.
        checks: by name, the values of checks that the evaluation counts it by.
    """

    sample: Sample
    checks: Mapping[str, float]


def made_type(before: str, step: str) -> str:
    """The DigitalSourceType of a picture made by a step from a picture: what a model made remains a model's."""
    if before in (GENERATED, PARTLY_GENERATED) and step == ENHANCED:
        return before
    if before in (GENERATED, PARTLY_GENERATED) and step not in ("", GENERATED):
        return PARTLY_GENERATED
    return step


def checked_op(op: Op) -> Op:
    """The op, its values as plain JSON.

    Raises:
        RecipeError: it lacks a key, has another one, or a value that is of the wrong type or that JSON can't hold.
    """
    kinds = {"name": str, "revision": int, "seed": int}
    kinds |= dict.fromkeys(("requested", "achieved", "gates", "models"), Mapping)
    name = op.get("name", "a generator")
    if missing := [key for key in kinds if key not in op]:
        raise RecipeError(f"{name}: its op lacks {', '.join(missing)}; `of.made(...)` in `edit` sets all keys")
    if wrong := [key for key, kind in kinds.items() if not isinstance(op[key], kind)]:  # type: ignore[literal-required]
        raise RecipeError(f"{name}: wrong type in its op: {', '.join(wrong)}; `of.made(...)` in `edit` sets all keys")
    if unknown := sorted(op.keys() - kinds.keys()):
        raise RecipeError(f"{name}: unknown key {unknown[0]!r} in its op; put it into `requested` or `achieved`")
    lenders = op["achieved"].get(MADE_OF, [])
    if not isinstance(lenders, list) or not all(map(_is_lender, lenders)):
        raise RecipeError(
            f"{name}: `made_of` in its op isn't what `lent()` of other samples gives; pass it to `of.made`"
        )
    try:
        return cast("Op", as_json(op))
    except TypeError as error:
        raise RecipeError(f"{name}: in its op, {str(error).lstrip('.')}") from None


def _is_lender(value: object) -> bool:
    kinds = {name: list if name == "handling" else str for name in Lender.__annotations__}
    if not isinstance(value, Mapping) or value.keys() != kinds.keys():
        return False
    fits = all(isinstance(value[name], kind) for name, kind in kinds.items())
    return fits and all(isinstance(one, str) for one in value["handling"])


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
