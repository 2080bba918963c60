"""Known answers: what published weights say to one public picture, and which of them this machine has confirmed.

A confirmed answer is noted in the cache, for a pin and the versions of the libraries that read the weights.
"""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from variorum.models.table_entries import StrictModel
from variorum.schemas.canonical import digest
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels

TABLE = Path(__file__).with_name("known_answers.toml")
LIBRARIES = ("torch", "transformers", "diffusers", "onnxruntime")
"""Packages that may read weights otherwise in their next version."""
LARGEST = 2**20
"""Bytes of the public picture."""
PATIENCE = 30
"""Seconds to wait for it."""
Box = tuple[float, float, float, float]


class PublicPicture(StrictModel):
    """The picture that the answers are about; boxes are left, top, right, bottom in pixels."""

    name: str
    url: str
    size: tuple[int, int]
    """Width and height in pixels."""
    cats: tuple[Box, ...]
    remotes: tuple[Box, ...]
    sha256: tuple[str, ...] = ()
    """Of files that are known to be it."""


class Answer(StrictModel):
    """The first numbers of a model's answer to the public picture.

    Attributes:
        weights: `name@content`, the beginning of the pin.
        of: what the numbers are.
        first: the numbers.
        within: how far a right answer may be from them.
        source: who published them.
    """

    weights: str
    of: Literal["logits", "embedding"]
    first: tuple[float, ...] = Field(min_length=1)
    within: float = Field(gt=0)
    source: str


class Answers(StrictModel):
    """The table of known answers."""

    picture: PublicPicture
    answer: tuple[Answer, ...] = ()

    def of(self, pin: str) -> Answer | None:
        """The answer of the weights with this pin, if it is known."""
        return next((one for one in self.answer if pin.startswith(f"{one.weights}+")), None)


@cache
def known_answers(table: Path = TABLE) -> Answers:
    """The known answers in a table, by default those that come with this project."""
    return Answers.model_validate(tomllib.loads(table.read_text("utf-8")))


def public_picture(cache_folder: Path, given: Path | None = None, *, fetch: bool = False) -> Pixels:
    """The public picture, `[480, 640, 3]` uint8.

    Args:
        cache_folder: keeps the picture, and the sha256 of an unknown copy as it was first seen.
        given: the user's copy.
        fetch: download it if it isn't here.

    Raises:
        ModelUnavailable: it isn't here, can't be fetched, or isn't that picture.
    """
    from variorum.pixels import UndecodableImage, decode

    picture = known_answers().picture
    place = given or cache_folder / "answers" / "picture.jpg"
    if not place.is_file() and fetch and given is None:
        _download(picture.url, place)
    if not place.is_file():
        raise ModelUnavailable(
            f"the public picture ({picture.name}) isn't at {place}: add --fetch, or download {picture.url} and name it "
            "with --picture"
        )
    with place.open("rb") as file:
        data = file.read(LARGEST + 1)
    try:
        pixels = decode(data)
    except UndecodableImage as error:
        raise ModelUnavailable(f"{place} isn't {picture.name}: {error}") from None
    if len(data) > LARGEST or pixels.shape[:2] != picture.size[::-1]:
        raise ModelUnavailable(f"{place} isn't {picture.name}, which has {picture.size[0]} × {picture.size[1]} pixels")
    if hashlib.sha256(data).hexdigest() in picture.sha256:
        return pixels
    _same_as_before(cache_folder / "answers" / "picture.sha256", hashlib.sha256(pixels.tobytes()).hexdigest(), place)
    return pixels


def _same_as_before(note: Path, sha256: str, place: Path) -> None:
    """Note the hash of the picture's pixels at first use; later ones must be the same."""
    if not note.is_file():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(sha256)
    if note.read_text() != sha256:
        raise ModelUnavailable(
            f"{place} isn't the picture that answers on this machine were checked with; delete {note} if that was wrong"
        )


def _download(url: str, place: Path) -> None:
    import httpx2

    data = b""
    try:
        with httpx2.stream("GET", url, timeout=PATIENCE, follow_redirects=True) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                data += part
                if len(data) > LARGEST:
                    raise ModelUnavailable(f"{url} has more than {LARGEST} bytes, so it isn't the picture")
    except (httpx2.HTTPError, OSError) as error:
        raise ModelUnavailable(f"{url} can't be fetched ({error}); name your copy with --picture") from None
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_suffix(".part")
    fresh.write_bytes(data)
    fresh.replace(place)


def note_answered(pin: str, cache_folder: Path) -> None:
    """Note that the model with this pin gave its known answer here."""
    note = _note(pin, cache_folder)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(pin)


def answered(pin: str, cache_folder: Path) -> bool:
    """Return whether the model with this pin gave its known answer here, with today's libraries."""
    return _note(pin, cache_folder).is_file()


def _note(pin: str, cache_folder: Path) -> Path:
    return cache_folder / "answers" / digest([pin, *library_versions().values()])


@cache
def library_versions() -> dict[str, str]:
    """The versions of the libraries that read weights; `absent` for one that isn't installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
