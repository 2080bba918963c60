"""Pictures in a folder: finding them, a digest of their content, and reading them with their masks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from variorum.machine.file_hashes import file_hashes
from variorum.pixels import UndecodableImage, upright_size
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id

log = logging.getLogger(__name__)

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
    | {".jp2", ".avif"}
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a folder: its relative POSIX path, its file, and the file of its mask if masks are wanted."""

    key: str
    file: Path
    mask: Path | None = None


def find_pictures(root: Path, masks: Path | None, where: str) -> tuple[Picture, ...]:
    """All pictures under a folder, in order of their relative POSIX paths.

    Hidden files and folders and files with other endings are skipped. Links to folders, and links to files outside the
    folder, are not followed, so nothing outside is read.

    Args:
        root: the folder.
        masks: a folder with `<relative path without ending>.png` for each picture, or None.
        where: what errors call the source.

    Raises:
        SourceError: a folder is missing, or contains no picture.
    """
    for name, folder in (("path", root), ("masks", masks)):
        if folder is not None and not folder.is_dir():
            what = "is a file" if folder.exists() else "doesn't exist"
            raise SourceError(f"{where}: {name} {folder} {what}; it must be a folder with pictures")
    files, links = files_below(root, lambda name: Path(name).suffix.lower() in EXTENSIONS)
    found: list[Picture] = []
    for file in files:
        relative = file.relative_to(root)
        key = relative.as_posix()
        if not _is_utf8(key):
            raise SourceError(f"{where}: the name {key!r} in {root} isn't UTF-8; rename it")
        found.append(Picture(key, file, masks / relative.with_suffix(".png") if masks is not None else None))
    if links:
        log.warning(
            "%s: %d links in %s, to folders or to files outside of it, were not followed", where, len(links), root
        )
    if not found:
        skipped = f" ({len(links)} links were not followed)" if links else ""
        endings = ", ".join(sorted(EXTENSIONS))
        raise SourceError(f"{where}: no picture in {root}{skipped}; files that are read end in {endings}")
    return tuple(sorted(found, key=lambda picture: picture.key))


def files_below(root: Path, wanted: Callable[[str], bool]) -> tuple[list[Path], list[Path]]:
    """The files under a folder whose names are wanted, in no order, and the links that were not followed.

    Hidden files and folders are skipped, links as `find_pictures` says.
    """
    inside = root.resolve()
    found: list[Path] = []
    links: list[Path] = []
    for folder_name, subfolders, files in os.walk(root):
        folder = Path(folder_name)
        links += [folder / name for name in subfolders if (folder / name).is_symlink()]
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            if name.startswith(".") or not wanted(name):
                continue
            file = folder / name
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                links.append(file)
            else:
                found.append(file)
    return found, links


def pin_pictures(root: Path, pictures: Sequence[Picture], others: Sequence[Path] = ()) -> str:
    """Digest of relative paths and contents, masks included; it doesn't depend on where the folder lies.

    Args:
        root: the folder.
        pictures: those in it.
        others: further files in it.
    """
    hashes = file_hashes(
        root, [*(picture.file.absolute() for picture in pictures), *(one.absolute() for one in others)]
    )
    masks = [picture.mask.absolute() for picture in pictures if picture.mask]
    mask_hashes = iter(file_hashes(root / "masks of", masks)) if masks else iter(())
    parts: list[Json] = [
        [picture.key, sha256, next(mask_hashes) if picture.mask else None]
        for picture, sha256 in zip(pictures, hashes, strict=False)
    ]
    names = [one.relative_to(root).as_posix() for one in others]
    return digest([*parts, *zip(names, hashes[len(pictures) :], strict=True)])


def outline_picture(picture: Picture, *, source: str, labels: tuple[str, ...], licence: str, split: str = "") -> Sample:
    """The sample without the picture."""
    return Sample(source_id(source, picture.key), b"", labels, origin=picture.key, licence=licence, split=split)


def read_picture(picture: Picture, sample: Sample) -> Sample | Failure:
    """The sample with the picture's bytes as stored, and with `mask.png` if it has a mask.

    A picture or mask that can't be read, or a mask whose size differs from its upright picture's, is a `Failure`.

    Args:
        picture: where they are.
        sample: what is known of it, as from `outline_picture`.
    """
    try:
        image = picture.file.read_bytes()
    except OSError as error:
        return sample.failure("unreadable", f"{picture.key}: {error.strerror}")
    extras = {}
    if picture.mask is not None:
        try:
            extras["mask.png"] = picture.mask.read_bytes()
        except FileNotFoundError:
            return sample.failure("no_mask", f"no {picture.mask.name} for {picture.key} in the masks' folder")
        except OSError as error:
            return sample.failure("no_mask", f"{picture.mask.name}: {error.strerror}")
        if wrong := mask_trouble(image, extras["mask.png"]):
            return sample.failure(*wrong)
    return replace(sample, image=image, extras=extras)


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


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
