"""The formats in which an edition can be exported, and the function that exports it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from variorum.exchange import (
    cleanlab,
    cvat,
    fiftyone,
    image_folder,
    imagenet_e,
    label_studio,
    parquet,
    unsafebench,
    waves,
)
from variorum.exchange.folders import Exported, place_export
from variorum.exchange.selection import ExportedPicture, Selection
from variorum.machine.progress import QUIET, Progress
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut

Write = Callable[[Path, Selection, Iterator[ExportedPicture]], Sequence[Exported]]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        write: writes the pictures into an empty folder.
        revision: raised when the same edition is exported differently.
        check: raises StoreError for an edition that the format isn't for, before any picture is read.
    """

    write: Write
    revision: int
    check: Callable[[Selection], None] | None = None


FORMATS: Mapping[str, Format] = {
    "image_folder": Format(image_folder.write, image_folder.REVISION),
    "parquet": Format(parquet.write, parquet.REVISION),
    "fiftyone": Format(fiftyone.write, fiftyone.REVISION),
    "label_studio": Format(label_studio.write, label_studio.REVISION),
    "cvat": Format(cvat.write, cvat.REVISION),
    "cleanlab": Format(cleanlab.write, cleanlab.REVISION),
    "imagenet_e": Format(imagenet_e.write, imagenet_e.REVISION, imagenet_e.check),
    "waves": Format(waves.write, waves.REVISION, waves.check),
    "unsafebench": Format(unsafebench.write, unsafebench.REVISION, unsafebench.check),
}
"""By name, all but `coco`, which has options of its own; see `variorum.exchange.coco.export`."""


def export(selection: Selection, folder: Path, form: str, progress: Progress = QUIET) -> Sequence[Exported]:
    """Write an edition's accepted pictures into a new folder; it appears when it is complete.

    Args:
        selection: the edition, variants and split.
        folder: new, empty, or with the same export.
        form: one of `FORMATS`.
        progress: receives the pictures.

    Raises:
        StoreError: no such format, variant or split, a folder with something else in it, or an edition that the format
            isn't for.
        CorruptShard: a picture can't be read.
    """
    if form not in FORMATS:
        raise StoreError(f"no format {cut(repr(form))}; there are: {', '.join(('coco', *FORMATS))}")
    one = FORMATS[form]
    note = selection.note(form, one.revision)

    def write(made: Path) -> Sequence[Exported]:
        if one.check is not None:
            one.check(selection)
        return one.write(made, selection, selection.pictures(progress))

    return place_export(folder, note, write)
