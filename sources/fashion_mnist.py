"""Fashion-MNIST (Xiao, Rasul & Vollgraf, arXiv 1708.07747): 70 000 grey pictures of clothes, MIT licence.

Its authors made them of a shop's photographs: resized to 28 pixels, sharpened, turned into negatives and made grey.
Debian's package `dataset-fashion-mnist` has it, so this real data needs no access to the Hugging Face Hub.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from variorum.machine.file_hashes import pin_files
from variorum.machine.retrying import Pinned, check_pinned, gone, steady
from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Context, Source, place_of
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import ENHANCED, Failure, Sample, source_id
from variorum.sources.class_names import read_classes
from variorum.sources.folders.idx import read_idx

if TYPE_CHECKING:
    from variorum.arrays import Ints, Pixels

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
LICENCE = "MIT"
FILES = {"train": "train", "test": "t10k"}
"""Part to the prefix of its files."""


class FashionMnist(Source):
    """One of the two parts, in its own order. The packaged models `judge` and `class_conditional` know its classes."""

    location: ClassVar[frozenset[str]] = frozenset({"path"})

    part: Literal["train", "test"] = "train"
    """60 000 pictures for training, or 10 000 for testing."""
    per_class: int | None = Field(default=None, ge=1)
    """Only this many of each class, the first ones; null for all."""
    path: Path = DEBIAN
    """Folder with the gzipped IDX files, as published."""

    def pin(self, ctx: Context) -> str:
        """Digest of the part's two files."""
        return digest([pinned.sha256 for pinned in self._pins])

    def size(self, ctx: Context) -> int:
        """Pictures of the part, limited by `per_class`."""
        return len(self._chosen(ctx))

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The ten classes in the order of the labels."""
        return read_classes("fashion_mnist")

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples with RGB pixels `[28, 28, 3]` of three equal channels."""
        images, labels = self._data
        infos = self.classes(ctx)
        for number in self._chosen(ctx)[start:stop]:
            key = f"{self.part}/{number}"
            yield Sample(
                source_id("fashion_mnist", key),
                np.repeat(images[number][..., None], 3, axis=-1),
                (infos[labels[number]].id,),
                origin=key,
                licence=LICENCE,
                digital_source_type=ENHANCED,
            )

    def place(self) -> str:
        """Its folder."""
        return place_of(self, ["path"])

    @property
    def _files(self) -> tuple[Path, Path]:
        return idx_files(FILES[self.part], self.path)

    @cached_property
    def _pins(self) -> tuple[Pinned, ...]:
        pins = pin_files(self.path, [path.absolute() for path in self._files])
        for path, pinned in zip(self._files, pins, strict=True):
            if pinned.why:
                raise SourceError(
                    f"fashion_mnist: {path} can't be read ({pinned.why}); install Debian's package "
                    f"dataset-fashion-mnist, or set path to the folder of the IDX files"
                )
        return tuple(pins)

    @cached_property
    def _data(self) -> tuple[Pixels, Ints]:
        images, labels = (_read(path, pinned) for path, pinned in zip(self._files, self._pins, strict=True))
        classes = len(read_classes("fashion_mnist"))
        if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) >= classes:
            raise SourceError(f"fashion_mnist: the files in {self.path} don't match each other; download them again")
        return images, labels.astype(np.int64)

    def _chosen(self, ctx: Context) -> Ints:
        """Positions of the samples in the files, which are unpacked and checked once for their content."""
        key = digest(["fashion_mnist", [pinned.sha256 for pinned in self._pins]])
        labels = ctx.memo(key, lambda: {"labels": self._data[1]})["labels"]
        if self.per_class is None:
            return np.arange(len(labels))
        return np.sort(np.concatenate([np.flatnonzero(labels == k)[: self.per_class] for k in np.unique(labels)]))


def _read(path: Path, pinned: Pinned) -> Pixels:
    """The array in a file, which must be the pinned one. Raises SourceChanged or TemporaryError."""
    try:
        values = steady(lambda: read_idx(path), path, readable=True)
    except OSError as error:
        raise gone(path, path, error) from error
    check_pinned(path, pinned, path)
    return values


def idx_files(prefix: str, folder: Path) -> tuple[Path, Path]:
    """The files with pictures and labels of the part with this prefix."""
    return folder / f"{prefix}-images-idx3-ubyte.gz", folder / f"{prefix}-labels-idx1-ubyte.gz"
