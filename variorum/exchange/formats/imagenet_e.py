"""An edition in the folders of ImageNet-E's release (Li et al., CVPR 2023, arXiv 2303.17096).

<folder>/labels.txt                        name of a picture, a tab, and the index of its class
<folder>/ori/<name>.JPEG                   the photographs
<folder>/full/<name>.JPEG                  the edit "full"
<folder>/<variant>/<name>.png              the other edits
<folder>/pictures.jsonl                    licence and origin of each picture, for which the layout has no place
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from variorum.exchange.folders import Exported, exported, folder_names
from variorum.exchange.lines import Lines
from variorum.exchange.numbering import Photographs
from variorum.exchange.selection import PROVENANCE, ExportedPicture, Selection
from variorum.reports.contents import contents
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import StoreError

REVISION = 1
LABELS = "labels.txt"
FOLDERS = {"original": "ori", "size_full": "full"}
"""The authors' folders in which files end in `.JPEG`; those of the other variants are named after the variants."""
UNLABELLED = "pictures without a class"
AGAIN = "further pictures of a photograph in the same variant"


def check(selection: Selection) -> None:
    """Raise StoreError if no picture has a class."""
    if (
        not selection.classes
        or not contents(edition_rows(selection.manifest, selection.store, ("status", "labels"))).labelled
    ):
        raise StoreError(f"{selection.name} has no picture with a class; ImageNet-E's layout is for classification")


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the labelled pictures of each variant, and the labels.

    Names are ImageNet's (`ILSVRC2012_val_00000001`) where the origin of a photograph has one, else numbers. Classes are
    numbered as ImageNet's if all of the edition's are ImageNet's, else as the edition's. Pictures aren't
    re-encoded for an ending: a PNG in `ori` ends in `.JPEG`, and readers detect the format from the content.
    """
    index = imagenet_index(selection)
    names = folder_names([FOLDERS.get(name, name) for name in selection.chosen], LABELS, PROVENANCE)
    places = {name: names[FOLDERS.get(name, name)] for name in selection.chosen}
    photographs, labels = Photographs(), dict[str, int]()
    taken = set[str]()
    number, left_out = 0, Counter[str]()
    with Lines() as lines:
        for one in pictures:
            sample = one.sample
            if not sample.labels or sample.labels[0] not in index:
                left_out[UNLABELLED] += 1
                continue
            place, name = places[sample.variant], photographs.name(sample)
            file = f"{place}/{name}.{'JPEG' if place in FOLDERS.values() else 'png'}"
            if file in taken:
                left_out[AGAIN] += 1
                continue
            taken.add(file)
            (folder / place).mkdir(exist_ok=True)
            (folder / file).write_bytes(one.data if file.endswith("JPEG") else one.png())
            if name not in labels:
                labels[name] = index[sample.labels[0]]
                lines.add(folder / LABELS, f"{name}.JPEG\t{labels[name]}\n")
            lines.add_json(folder / PROVENANCE, {"file_name": file, **one.provenance()})
            number += 1
    tables = [LABELS, PROVENANCE] if number else []
    return [exported(folder, ".", tables, pictures=number, left_out=+left_out)]


def imagenet_index(selection: Selection) -> dict[str, int]:
    """The number of each class: ImageNet's if all classes are ImageNet's, else the edition's."""
    from variorum.models.imagenet_classes import index_of, is_wnid

    if selection.classes and all(is_wnid(one.id) for one in selection.classes):
        found = {one.id: index_of(one.id) for one in selection.classes}
        return {name: number for name, number in found.items() if number is not None}
    return dict(selection.index)
