"""An edition in the form in which FiftyOne keeps a dataset on disk, `fiftyone.types.FiftyOneDataset`.

<folder>/metadata.json     what the dataset is, and its classes
<folder>/samples.json      a sample for each picture
<folder>/data/<id>.png

The samples are written as FiftyOne's releases up to 0.7 did, which needs no database; later ones recognise that form by
itself and read it.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from variorum.annotations import decode_mask
from variorum.exchange.folders import Exported, exported
from variorum.exchange.lines import Lines, as_json
from variorum.exchange.objects import further, relative_box
from variorum.exchange.selection import ExportedPicture, Selection
from variorum.schemas.annotations import Object
from variorum.schemas.canonical import short_digest

REVISION = 1
LABEL, OBJECTS = "ground_truth", "objects"
"""Fields of a sample: its class as a Classification, and its objects as Detections."""


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the pictures into `data` and a sample for each into `samples.json`."""
    (folder / "data").mkdir()
    names = [one.name for one in selection.classes]
    number = boxes = 0
    (folder / "metadata.json").write_text(
        as_json(
            {
                "name": selection.name,
                "media_type": "image",
                "info": {"edition": selection.name, "digest": selection.digest},
                "classes": {LABEL: names, OBJECTS: names},
                "default_classes": names,
            }
        )
        + "\n"
    )
    with Lines() as lines:
        place = folder / "samples.json"
        lines.add(place, '{"samples": [')
        for number, one in enumerate(pictures, 1):
            (folder / "data" / one.file).write_bytes(one.data)
            lines.add(place, (",\n" if number > 1 else "\n") + as_json(_sample(one, selection)))
            boxes += len(one.sample.annotations.objects)
        lines.add(place, "\n]}\n")
    return [exported(folder, ".", ["metadata.json", "samples.json"], pictures=number, boxes=boxes)]


def _sample(one: ExportedPicture, selection: Selection) -> dict[str, Any]:
    sample, said = one.sample, one.provenance()
    labels = [selection.names.get(name, name) for name in said.pop("labels")]
    metadata = said.pop("metadata")
    height, width = one.size
    return {
        "filepath": f"data/{one.file}",
        "tags": [one.split],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": len(one.data),
            "mime_type": "image/jpeg" if one.ending == "jpg" else "image/png",
            "width": width,
            "height": height,
            "num_channels": 3,
        },
        LABEL: _label("Classification", [sample.id, LABEL], labels[0]) if labels else None,
        "labels": labels,
        OBJECTS: {
            "_cls": "Detections",
            "detections": [
                _detection(item, one, number, selection) for number, item in enumerate(sample.annotations.objects)
            ],
        },
        "captions": one.captions,
        # `id` is FiftyOne's own
        "picture": said.pop("id"),
        **{name: value for name, value in said.items() if name != "split"},
        "further": metadata,
    }


def _label(kind: str, identity: list[Any], label: str) -> dict[str, Any]:
    return {"_id": {"$oid": short_digest(identity)[:24]}, "_cls": kind, "tags": [], "label": label}


def _detection(item: Object, one: ExportedPicture, number: int, selection: Selection) -> dict[str, Any]:
    said = {name: value for name, value in further(item).items() if name not in ("id", "segmentation")}
    return {
        **_label("Detection", [one.sample.id, OBJECTS, number], selection.names.get(item.label, item.label)),
        "attributes": {},
        "bounding_box": relative_box(item, one.size),
        **({"confidence": item.score} if item.score is not None else {}),
        **({"mask": mask} if (mask := _mask(item, one.size)) else {}),
        **({"object_id": item.id} if item.id else {}),
        # the region exactly, valid as long as nobody moves the box
        **({"rle": item.mask, "rle_box": relative_box(item, one.size)} if item.mask else {}),
        **said,
    }


def _mask(item: Object, size: tuple[int, int]) -> dict[str, Any] | None:
    """The region within the box as FiftyOne stores it, a compressed `.npy`; None without a readable one."""
    import numpy as np

    if not item.mask:
        return None
    try:
        pixels = decode_mask(item, *size)
    except ValueError:
        return None
    left, top, wide, high = item.box
    right, bottom = round(left + wide), round(top + high)
    inside = pixels[max(round(top), 0) : max(bottom, 0), max(round(left), 0) : max(right, 0)] > 0
    if not inside.size:
        return None
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(inside), allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(out.getvalue())).decode(), "subType": "00"}}
