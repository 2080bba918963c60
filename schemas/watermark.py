"""Watermarks and attacks on them, as components that the generators `watermark` and `watermark_attack` hold.

A mark hides bits in pictures with a secret key, and finds them again. An attack changes a picture so that the mark is
lost, or so that an unmarked one seems marked. One file defines one mark or attack; docs/guides/test_my_watermark.md
has one of each.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field, field_validator

from variorum.schemas.component import Component, Context
from variorum.schemas.lookup import Nested
from variorum.schemas.sample import ENHANCED, is_baseline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from variorum.schemas.canonical import Json

    Pixels = NDArray[np.uint8]
    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]

Goal = Literal["removal", "spoofing", "tampering"]
"""Of an attack: the mark isn't found; a mark is found in a picture that never had one; a marked picture shows something
else and is still taken for the marked one."""
Access = Literal["none", "black box", "grey box", "white box"]
"""What an attacker has of the mark: nothing but the picture; other pictures marked by the same service; a part of the
system, such as the public decoder of the model that made the picture; its detector or its key."""

KEY_BYTES = 32


def payload_of(key: bytes, bits: int) -> Bools:
    """The payload that goes with a key, `[bits]`: random to all who don't know the key."""
    return np.unpackbits(np.frombuffer(_stream(key, b"payload", (bits + 7) // 8), np.uint8))[:bits].astype(bool)


def random_of(key: bytes, purpose: str) -> np.random.Generator:
    """The random numbers that a key stands for, for one purpose: where a mark hides bits, its chips, its dither."""
    return np.random.default_rng(np.frombuffer(_stream(key, purpose.encode(), 32), np.uint64))


def _stream(key: bytes, purpose: bytes, length: int) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a watermark's key has {KEY_BYTES} bytes, not {len(key)}")
    return hashlib.shake_256(b"variorum watermark\0" + purpose + b"\0" + key).digest(length)


class Detected(NamedTuple):
    """A mark's detections in N pictures.

    Attributes:
        scores: `[N]`, higher means more surely marked.
        bits: `[N, bits]`, the payload that is read; None for a mark that has none.
        p_values: `[N]`, how often an unmarked picture has such a score; None if the mark can't tell.
    """

    scores: Floats
    bits: Bools | None = None
    p_values: Floats | None = None


class Mark(Component):
    """A watermark. Pictures are RGB `[H, W, 3]` uint8 and may differ in size; each has its own key of 32 bytes.

    Work on pictures of one size together where that is faster. Nothing may depend on which pictures share a call.
    """

    label: str = Field(default="", pattern="^[a-z0-9_]{0,40}$")
    """Its name in variants and on cards, by default the mark's own; needed where a recipe has a mark twice."""
    keyed: Literal["picture", "shared"] = "picture"
    """`picture` gives each picture its own key and payload, `shared` gives all the same."""

    payload_bits: ClassVar[int] = 0
    """Bits of the payload, unless a field `bits` says it; 0 for a mark whose presence is all that it says."""
    least_side: ClassVar[int] = 32
    """Shorter side in pixels of the smallest picture that it can mark."""
    visible: ClassVar[bool] = False
    """Whether people can see it; then `mask` says where."""
    made_with: ClassVar[bool] = False
    """Whether it is put into a picture while a model makes it, so that there is no unmarked version of the picture."""

    @property
    def called(self) -> str:
        """Its name in variants and on cards."""
        return self.label or self.component_name()

    def payloads(self, keys: Sequence[bytes]) -> Bools:
        """The payloads `[N, bits]` that go with the keys."""
        count = int(getattr(self, "bits", self.payload_bits))
        return np.array([payload_of(key, count) for key in keys], bool).reshape(len(keys), count)

    @abstractmethod
    def embed(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Sequence[Pixels]:
        """Each picture with its payload hidden in it, at the same size."""

    @abstractmethod
    def detect(self, images: Sequence[Pixels], keys: Sequence[bytes], ctx: Context) -> Detected:
        """Detect the mark in each picture with its key. It knows the payload too, as that goes with the key."""

    def mask(self, image: Pixels, key: bytes) -> Pixels:
        """Where a visible mark lies in a picture of this size, `[H, W]` uint8, 255 where it covers it in full."""
        return np.zeros(image.shape[:2], np.uint8)

    def refusal(self, image: Pixels) -> tuple[str, str] | None:
        """Why a picture can't carry it: a reason in a word and a sentence; None if it can."""
        side = min(image.shape[:2])
        if side < self.least_side:
            return "too_small", f"its shorter side of {side} pixels is below {self.least_side}"
        return None


NestedMark = Annotated[Mark, Nested("marks")]
"""Type of a field that holds a mark, given as a mapping with a name."""


def told_apart(marks: Sequence[Mark]) -> None:
    """Raise ValueError if there is no mark, two are called alike, or one as unmarked pictures are."""
    names = [mark.called for mark in marks]
    if not marks:
        raise ValueError("must be one or more marks")
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"two marks are called {twice!r}; give one a label")
    if taken := next((name for name in names if is_baseline(name)), ""):
        raise ValueError(f"no mark can be called {taken!r}, which unmarked pictures are called; give it a label")


def checked_strengths(value: tuple[float, ...]) -> tuple[float, ...]:
    """Relative strengths of attacks. Raises ValueError unless there are some, each once, above 0 and at most 1."""
    for strength in value:
        if not 0 < strength <= 1:
            raise ValueError(f"strength {strength:g} must be above 0 and at most 1")
    if not value or len({f"{strength:g}" for strength in value}) < len(value):
        raise ValueError("must be one or more strengths, each once")
    return value


class Attacked(NamedTuple):
    """An attacked picture.

    Attributes:
        image: RGB `[H, W, 3]` uint8.
        drawn: what was drawn at random or measured, by name, such as the angle of a turn in degrees.
        origins: where each pixel comes from if pixels moved: (x, y) in the picture before, `[H, W, 2]`, in pixels from
            the first pixel's centre, as `cv2.remap` takes them; None if nothing moved.
        used: which of the attacker's photographs are in the picture, by their place; None for all that the attack asks
            for, as in a mean of them.
    """

    image: Pixels
    drawn: Mapping[str, Json] = {}
    origins: Singles | None = None
    used: Sequence[int] | None = None


class Refused(NamedTuple):
    """In place of a picture that an attack can't work on: a reason in a word, and a sentence for people."""

    reason: str
    detail: str


class Target(Protocol):
    """The means of an attacker besides the picture."""

    @property
    def mark(self) -> Mark | None:
        """The mark that is attacked; None for an attack that doesn't ask for it (`about_mark` is false).

        Only an attack with `access` "white box" may call its detector or use its key.
        """

    @property
    def ctx(self) -> Context:
        """The seed, the models and the memo."""

    def marked(self, images: Sequence[Pixels]) -> list[Pixels]:
        """These pictures, marked by the service that is attacked.

        A mark with `keyed: shared` has one key in all pictures; otherwise each picture gets a key of its own.
        """

    def photographs(self, number: int) -> list[Pixels]:
        """Photographs of the attacker's own, in the frame of the edition, none of which is ever attacked.

        Raises:
            RecipeError: there are fewer.
        """

    def prepared(
        self, purpose: str, compute: Callable[[], Mapping[str, np.ndarray[Any, Any]]]
    ) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return what an attacker makes once for all pictures, such as a trained detector; it is kept across restarts.

        `purpose` must name everything that it depends on besides the mark, its keys, the seed, the attacker's
        photographs and the attack's `preparation`, which is its fields unless it says otherwise.
        """


class Attack(Component):
    """A way to change pictures. Its strength r in (0, 1] goes from hardly any change to the strongest that makes sense.

    At strength 0 a picture stays as it is; the generator sees to that.
    """

    label: str = Field(default="", pattern="^[a-z0-9_]{0,40}$")
    """Its name in variants and on cards, by default the attack's own; needed where a recipe has an attack twice."""
    strengths: tuple[float, ...] | None = None
    """Its own strengths, such as fewer of a slow attack; null for those of `watermark_attack`."""

    family: ClassVar[str] = ""
    """In a word or two, for the card: `distortion`, `regeneration`, `adversarial`, …"""
    goal: ClassVar[Goal] = "removal"
    access: ClassVar[Access] = "none"
    about_mark: ClassVar[bool] = False
    """Whether what it does depends on the mark. Unmarked pictures are then attacked once for each mark."""
    digital_source_type: ClassVar[str] = ENHANCED
    """What its pictures are, a term of IPTC's vocabulary: one of the constants in `variorum.schemas.sample`."""

    @property
    def called(self) -> str:
        """Its name in variants and on cards."""
        return self.label or self.component_name()

    @field_validator("strengths")
    @classmethod
    def _strengths_in_range(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return value if value is None else checked_strengths(value)

    def identity(self) -> dict[str, Json]:
        """The fields, without `strengths` where it has none of its own."""
        found = super().identity()
        if self.strengths is None:
            del found["strengths"]
        return found

    def amount(self, strength: float) -> Mapping[str, Json]:
        """Return the absolute amount of a relative strength in (0, 1], such as `{"quality": 50}`."""
        return {}

    def own_photographs(self) -> int:
        """Return how many photographs of the attacker's own it asks the target for; 0 for an attack that needs none."""
        return 0

    def preparation(self) -> Json:
        """Return what decides the arrays kept by `Target.prepared`; attacks that return the same share them."""
        return self.fingerprint()

    @abstractmethod
    def apply(
        self, images: Sequence[Pixels], strength: float, rngs: Sequence[np.random.Generator], target: Target
    ) -> Sequence[Pixels | Attacked | Refused]:
        """Each picture attacked, at the same size. Whatever is random comes from the picture's own generator.

        The pictures have one size. Nothing may depend on which pictures share a call. An `Attacked` says where pixels
        moved to. A `Refused` becomes a row of the edition's table.
        """


NestedAttack = Annotated[Attack, Nested("attacks")]
"""Type of a field that holds an attack, given as a mapping with a name."""
