"""Pictures in a folder with their masks: finding them, pinning their content, and reading them as they were pinned."""

from __future__ import annotations

import logging
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from variorum.machine.file_hashes import forget_hash, pin_each
from variorum.machine.retrying import Pinned, read_pinned, steady, why
from variorum.pixels import UndecodableImage, upright_size
from variorum.schemas.canonical import Json, digest_of_each
from variorum.schemas.errors import SourceChanged, SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.folders.listing import Listing, key_of, list_files

log = logging.getLogger(__name__)

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
    | {".jp2", ".avif"}
)
MASK = ".png"
SHA256 = 32
"""Bytes of a hash."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a folder. There may be millions, so their paths are put together when they are asked for.

    Attributes:
        key: its relative POSIX path as text, see `key_of`.
        root: the folder.
        name: its relative path as the system gives it.
        masks: folder of the masks; None if they aren't wanted.
        masked: whether its mask is there.
    """

    key: str
    root: Path
    name: str
    masks: Path | None = None
    masked: bool = False

    @property
    def file(self) -> Path:
        """Where it lies."""
        return self.root / self.name

    @property
    def mask(self) -> Path | None:
        """Where its mask belongs; None if masks aren't wanted."""
        return None if self.masks is None else self.masks / _mask_of(self.name)


class Contents:
    """What files hold, 40 bytes a file.

    Args:
        keys: of the files, sorted.
        pinned: the files.
    """

    def __init__(self, keys: Sequence[str], pinned: Iterable[Pinned]) -> None:
        self._keys, self._hashes, self._why = keys, bytearray(), dict[int, str]()
        for place, one in enumerate(pinned):
            self._hashes += bytes.fromhex(one.sha256) or bytes(SHA256)
            if not one.sha256:
                self._why[place] = one.why

    def __getitem__(self, key: str) -> Pinned:
        """The content of a file, without its stamp, as all bytes are hashed when they are read."""
        place = bisect_left(self._keys, key)
        if self._keys[place : place + 1] != [key]:
            raise KeyError(key)
        if place in self._why:
            return Pinned("", why=self._why[place])
        return Pinned(self._hashes[place * SHA256 : (place + 1) * SHA256].hex())


@dataclass(frozen=True, slots=True)
class Pins:
    """The content of a folder's files when they were pinned, which is what a run is planned for.

    Attributes:
        digest: of all relative paths and contents; it doesn't depend on where the folder lies.
        root: the folder.
        pictures: by key.
        masks: by the key of their picture; without those that aren't there.
    """

    digest: str
    root: Path
    pictures: Contents
    masks: Contents


def is_picture(name: str) -> bool:
    """Return whether a file is a picture by the ending of its name."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def list_folder(root: Path, where: str, name: str = "path", also: Sequence[str] = (), ending: str = "") -> Listing:
    """The pictures below a folder, and the files named in `also`. What isn't read is counted in warnings.

    Args:
        root: the folder.
        where: what errors call the source.
        name: of the field with the folder.
        also: names of further files.
        ending: of the pictures, if only one is read.

    Raises:
        SourceError: the folder is missing, or can't be listed.
        TemporaryError: the disk, the network or the machine failed.
    """
    try:
        if not steady(root.is_dir, root):
            what = "is a file" if os.path.lexists(root) else "doesn't exist"
            raise SourceError(f"{where}: {name} {root} {what}; it must be a folder with pictures")
        listing = list_files(root, lambda one: (one.endswith(ending) if ending else is_picture(one)) or one in also)
    except OSError as error:
        raise SourceError(f"{where}: {name} {root} can't be listed: {why(error)}") from None
    for line in listing.left_out():
        log.warning("%s: %s", where, line)
    return listing


def find_pictures(listing: Listing, masks: Path | None, where: str) -> tuple[Picture, ...]:
    """All pictures of a listed folder, in order of their keys.

    Args:
        listing: of `list_folder`.
        masks: a folder with `<relative path without ending>.png` for each picture, or None.
        where: what errors call the source.

    Raises:
        SourceError: the folder of masks is missing, or there is no picture.
        TemporaryError: the disk, the network or the machine failed.
    """
    root = listing.root
    there = set(list_folder(masks, where, "masks", ending=MASK).files) if masks is not None else set()
    found = [
        Picture(key_of(name), root, name, masks, _mask_of(name) in there) for name in listing.files if is_picture(name)
    ]
    if not found:
        skipped = f" ({'; '.join(listing.left_out())})" if listing.left_out() else ""
        endings = ", ".join(sorted(EXTENSIONS))
        raise SourceError(f"{where}: no picture in {root}{skipped}; files that are read end in {endings}")
    return tuple(sorted(found, key=lambda picture: picture.key))


def pin_pictures(root: Path, pictures: Sequence[Picture], others: Mapping[str, Pinned] | None = None) -> Pins:
    """The content of pictures and masks. What can't be read is pinned with the reason.

    Raises:
        SourceChanged: one is gone since the folder was listed.
        TemporaryError: the disk, the network or the machine failed, or a folder is gone.
    """
    pictures = sorted(pictures, key=attrgetter("key"))
    pinned = _pinned(root, pictures, attrgetter("file"))
    masked = [one for one in pictures if one.masked]
    masks = _pinned(_masks_of(root), masked, attrgetter("mask")) if masked else Contents((), ())

    def parts() -> Iterator[Json]:
        for one in pictures:
            mask = _content(masks[one.key]) if one.masked else ""
            yield [one.key, _content(pinned[one.key]), None if one.masks is None else mask]
        for name, other in (others or {}).items():
            yield [name, _content(other)]

    return Pins(digest_of_each(parts()), root, pinned, masks)


def outline_picture(picture: Picture, *, source: str, labels: tuple[str, ...], licence: str, split: str = "") -> Sample:
    """The sample without the picture."""
    return Sample(source_id(source, picture.key), b"", labels, origin=picture.key, licence=licence, split=split)


def read_picture(picture: Picture, sample: Sample, pins: Pins) -> Sample | Failure:
    """The sample with the picture's bytes as stored, and with `mask.png` if it has a mask.

    A picture or mask that couldn't be read when it was pinned, or a mask whose size differs from its upright picture's,
    is a `Failure`.

    Raises:
        SourceChanged: one isn't what was pinned.
        TemporaryError: the disk, the network or the machine failed, or the folder is gone.
    """
    try:
        image = _read(picture.file, pins.pictures[picture.key], pins.root)
    except OSError as error:
        return sample.failure("unreadable", f"{picture.key}: {why(error)}")
    extras = {}
    if picture.mask is not None:
        name = key_of(picture.mask.name)
        try:
            extras["mask.png"] = read_mask(picture, pins)
        except FileNotFoundError:
            return sample.failure("no_mask", f"no {name} for {picture.key} in the masks' folder")
        except OSError as error:
            return sample.failure("no_mask", f"{name}: {why(error)}")
        if wrong := mask_trouble(image, extras["mask.png"]):
            return sample.failure(*wrong)
    return replace(sample, image=image, extras=extras)


def read_mask(picture: Picture, pins: Pins) -> bytes:
    """The mask's bytes. Raises as `read_picture` does, and OSError where that gives a `Failure`."""
    assert picture.mask is not None
    if not picture.masked:
        raise FileNotFoundError
    return _read(picture.mask, pins.masks[picture.key], _masks_of(pins.root))


def mask_trouble(image: bytes, mask: bytes) -> tuple[str, str] | None:
    """(reason, detail) if a mask can't belong to a picture, else None."""
    try:
        size = upright_size(image)
    except UndecodableImage as error:
        return error.reason, str(error)
    try:
        mask_size = upright_size(mask)
    except UndecodableImage as error:
        return "bad_mask", str(error)
    if mask_size != size:
        return "mask_size", f"the mask has {mask_size[0]} x {mask_size[1]} pixels, the picture {size[0]} x {size[1]}"
    return None


def _pinned(root: Path, pictures: Sequence[Picture], of: Callable[[Picture], Path]) -> Contents:
    files = (of(picture).absolute() for picture in pictures)
    return Contents([picture.key for picture in pictures], pin_each(root, files, listed=True))


def _content(pinned: Pinned) -> str:
    return pinned.sha256 or pinned.why


def _read(file: Path, pinned: Pinned, root: Path) -> bytes:
    try:
        return read_pinned(file, pinned, file)
    except SourceChanged:
        forget_hash(root, file.absolute())  # the same command looks at the file again
        raise


def _mask_of(name: str) -> str:
    """The relative path of a picture's mask."""
    return os.path.splitext(name)[0] + MASK


def _masks_of(root: Path) -> Path:
    """Name the folder of masks in the cache of hashes; it may be the folder itself."""
    return root / "masks of"
