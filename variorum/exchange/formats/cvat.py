"""An edition in the format "CVAT for images 1.1": an XML file beside a folder of pictures.

<folder>/annotations.xml       labels as tags, objects as boxes, regions as masks
<folder>/images/<id>.png
<folder>/pictures.jsonl        licence and origin of each picture, for which the format has no place

A region and its box have the same `group_id`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from variorum.annotations import decode_mask, run_lengths
from variorum.exchange.folders import Exported, exported
from variorum.exchange.lines import Lines
from variorum.exchange.selection import PROVENANCE, ExportedPicture, Selection
from variorum.exchange.xml_text import escaped, quoted
from variorum.reports.coco_objects import UNCLASSED
from variorum.schemas.annotations import Object

REVISION = 1
XML, IMAGES = "annotations.xml", "images"


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the pictures, the XML file and `pictures.jsonl`. Objects without a class are left out, as CVAT has none."""
    (folder / IMAGES).mkdir()
    number = boxes = 0
    left_out = Counter[str]()
    with Lines() as lines:
        lines.add(folder / XML, _head(selection))
        for one in pictures:
            (folder / IMAGES / one.file).write_bytes(one.data)
            marked = [item for item in one.sample.annotations.objects if item.label in selection.index]
            left_out[UNCLASSED] += len(one.sample.annotations.objects) - len(marked)
            lines.add(folder / XML, _image(number, one, marked, selection))
            lines.add_json(folder / PROVENANCE, {"file_name": f"{IMAGES}/{one.file}", **one.provenance()})
            number += 1
            boxes += len(marked)
        lines.add(folder / XML, "</annotations>\n")
    tables = [XML, *([PROVENANCE] if number else [])]
    return [exported(folder, ".", tables, pictures=number, boxes=boxes, left_out=+left_out)]


def _head(selection: Selection) -> str:
    """Everything before the images, as CVAT writes it of a project with a task for each split."""
    labels = "".join(
        f"        <label><name>{escaped(one.name)}</name><attributes></attributes></label>\n"
        for one in selection.classes
    )
    splits = [selection.split] if selection.split else list(selection.manifest.splits())
    tasks = "".join(f"        <task><name>{split}</name><subset>{split}</subset></task>\n" for split in splits)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <project>\n'
        f"      <name>{escaped(selection.name)}</name>\n      <labels>\n{labels}      </labels>\n"
        f"      <tasks>\n{tasks}      </tasks>\n    </project>\n    <digest>{selection.digest}</digest>\n"
        "  </meta>\n"
    )


def _image(number: int, one: ExportedPicture, objects: list[Object], selection: Selection) -> str:
    height, width = one.size
    lines = [
        f'  <image id="{number}" name={quoted(one.file)} subset={quoted(one.split)} width="{width}" height="{height}">'
    ]
    names = (selection.names.get(label, label) for label in one.sample.labels)
    lines += [f'    <tag label={quoted(name)} source="manual"></tag>' for name in names]
    for group, item in enumerate(objects, 1):
        left, top, wide, high = item.box
        place = f'xtl="{left!r}" ytl="{top!r}" xbr="{left + wide!r}" ybr="{top + high!r}"'
        common = (
            f'label={quoted(selection.names[item.label])} source="manual" occluded="0" z_order="0" group_id="{group}"'
        )
        lines.append(f"    <box {common} {place}></box>")
        if mask := _mask(item, one.size):
            lines.append(f"    <mask {common} {mask}></mask>")
    return "\n".join([*lines, "  </image>\n"])


def _mask(item: Object, size: tuple[int, int]) -> str:
    """The region as attributes: run lengths row by row within its bounds, starting with the background."""
    if not item.mask:
        return ""
    try:
        pixels = decode_mask(item, *size)
    except ValueError:
        return ""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return ""
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    counts = run_lengths((pixels[top:bottom, left:right] > 0).ravel())
    return (
        f'rle="{", ".join(map(str, counts))}" left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
    )
