"""Base class of the sources that read other tools' files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.sample import Failure, Sample
from variorum.sources.exports.annotated_folder import ToldPictures


class ToldSource(Source):
    """Pictures of a folder with what a file in it says of them. A source reads its file in `_pictures`."""

    location: ClassVar[frozenset[str]] = frozenset({"path"})

    path: Path

    def place(self) -> str:
        """The folder."""
        return place_of(self, ["path"])

    @property
    @abstractmethod
    def _pictures(self) -> ToldPictures:
        """The pictures, in the order of the file. A `cached_property`, as every method asks for it."""

    def pin(self, ctx: Context) -> str:
        """Digest of the files and of the pictures that they name."""
        return self._pictures.pin()

    def size(self, ctx: Context) -> int:
        """Number of pictures that are named, those that aren't in the folder included."""
        return len(self._pictures)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The classes that the file lists, in its order, then others that occur, by name."""
        return self._pictures.classes

    def captioned(self, ctx: Context) -> bool:
        """Return whether any picture has captions."""
        return self._pictures.captioned

    def annotated(self, ctx: Context) -> bool:
        """Return whether any picture has captions or objects."""
        return self._pictures.annotated

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with the bytes as stored; a Failure for a picture that isn't in the folder."""
        return self._pictures.read(start, stop)

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The samples from the files alone, without pictures and objects."""
        return self._pictures.outline(start, stop)
