"""An edition as folders of pictures, as torchvision's ImageFolder and the `imagefolder` of `datasets` read them.

<folder>/<split>/<class>/<id>.png
<folder>/<split>/metadata.jsonl              labels, captions, objects, licence and origin of each picture
<folder>/<variant>/<split>/...               if several variants are exported
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from variorum.exchange.folders import Exported, exported, folder_names
from variorum.exchange.lines import Lines
from variorum.exchange.objects import object_lists
from variorum.exchange.selection import ExportedPicture, Selection

REVISION = 1
METADATA = "metadata.jsonl"
UNLABELLED = "unlabelled"
"""Folder of pictures without a class, in an edition that has classes."""


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the pictures by split and class, with a metadata file for each split.

    Folders of classes are named after the classes' ids; what isn't safe in a name becomes `_`. A picture of several
    classes lies in the folder of its first one, and `metadata.jsonl` has them all.
    """
    classes = folder_names([*(one.id for one in selection.classes), UNLABELLED], METADATA) if selection.classes else {}
    variants = folder_names(selection.chosen)
    several = len(selection.chosen) > 1
    numbers, boxes = Counter[str](), Counter[str]()
    made = set[Path]()
    tables: dict[str, set[str]] = {name: set() for name in selection.chosen}
    with Lines() as lines:
        for one in pictures:
            sample = one.sample
            place = folder / variants[sample.variant] if several else folder
            label = sample.labels[0] if sample.labels else ""
            inner = classes.get(label or UNLABELLED, classes.get(UNLABELLED, ""))
            inside = place / one.split / inner
            if inside not in made:
                inside.mkdir(parents=True, exist_ok=True)
                made.add(inside)
            (inside / one.file).write_bytes(one.data)
            row = {
                "file_name": f"{inner}/{one.file}" if inner else one.file,
                **({"label": label or None} if classes else {}),
                "captions": one.captions,
                "objects": _objects(one),
                **{name: value for name, value in one.provenance().items() if name != "split"},
            }
            lines.add_json(place / one.split / METADATA, row)
            tables[sample.variant].add(f"{one.split}/{METADATA}")
            numbers[sample.variant] += 1
            boxes[sample.variant] += len(sample.annotations.objects)
    if not several:
        named = selection.chosen[0] if selection.chosen else ""
        found = sorted(set().union(*tables.values()))
        return [exported(folder, ".", found, pictures=numbers.total(), boxes=boxes.total(), variant=named)]
    return [
        exported(folder, variants[name], sorted(tables[name]), pictures=numbers[name], boxes=boxes[name], variant=name)
        for name in selection.chosen
        if numbers[name]
    ]


def _objects(one: ExportedPicture) -> dict[str, Any]:
    """The objects with their classes' ids; scores only if there are any, as `datasets` can't read lists of nulls."""
    found = object_lists(one.sample.annotations.objects, lambda name: name)
    if all(score is None for score in found["score"]):
        del found["score"]
    return found
