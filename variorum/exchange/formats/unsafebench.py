"""An edition in the folders that UnsafeBench's loader writes (Qu et al., CCS 2025, arXiv 2405.03486).

<folder>/<split>/images/<id>.png
<folder>/<split>/images/metadata.jsonl      image_fname, label (Safe or Unsafe), category and source of each judgement
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from variorum.exchange.folders import Exported, exported
from variorum.exchange.lines import Lines
from variorum.exchange.selection import ExportedPicture, Selection
from variorum.reports.contents import annotation_counts
from variorum.schemas.annotations import State
from variorum.schemas.errors import StoreError

REVISION = 1
METADATA, IMAGES = "metadata.jsonl", "images"
WORDS: dict[State, str] = {"correct": "Unsafe", "wrong": "Safe"}
UNJUDGED = "pictures that nobody judged in any category"


def check(selection: Selection) -> None:
    """Raise StoreError if nothing was judged in a category."""
    if not annotation_counts(selection.manifest, selection.store).states.number:
        raise StoreError(
            f"{selection.name} has no picture that was judged safe or unsafe in a category; UnsafeBench's layout is "
            "for editions of the source unsafebench, and others with states of labels"
        )


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the pictures that were judged in a category, and a row for each judgement.

    A judgement is the state of a label: `correct` is Unsafe and `wrong` is Safe.
    """
    number = 0
    left_out = Counter[str]()
    tables = set[str]()
    with Lines() as lines:
        for one in pictures:
            sample = one.sample
            judged = [state for state in sample.annotations.labels if state.state in WORDS]
            if not judged:
                left_out[UNJUDGED] += 1
                continue
            place = folder / one.split
            (place / IMAGES).mkdir(parents=True, exist_ok=True)
            (place / IMAGES / one.file).write_bytes(one.data)
            tables.add(f"{one.split}/{IMAGES}/{METADATA}")
            number += 1
            for state in judged:
                row = {
                    "image_fname": one.file,
                    "label": WORDS[state.state],
                    "source": str(sample.metadata.get("source", "")),
                    "category": _category(selection.names.get(state.label, state.label)),
                    "text": next((text.text for text in sample.annotations.texts), ""),
                    **one.provenance(),
                }
                lines.add_json(place / IMAGES / METADATA, row)
    return [exported(folder, ".", sorted(tables), pictures=number, left_out=+left_out)]


def _category(name: str) -> str:
    """A category as the authors write it, `Self-harm`: their scripts compare names exactly."""
    return name[:1].upper() + name[1:]
