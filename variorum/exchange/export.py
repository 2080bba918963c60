"""Exports an edition in one of the formats of `variorum.exchange.formats`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from variorum.exchange.folders import Exported, place_export
from variorum.exchange.formats import FORMATS
from variorum.exchange.selection import Selection
from variorum.machine.progress import QUIET, Progress
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut


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
    module = import_module(f"variorum.exchange.formats.{form}")
    note = selection.note(form, module.REVISION)

    def write(made: Path) -> Sequence[Exported]:
        if hasattr(module, "check"):
            module.check(selection)
        found: Sequence[Exported] = module.write(made, selection, selection.pictures(progress))
        return selection.told(found)

    return place_export(folder, note, write)
