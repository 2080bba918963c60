"""An edition as tasks of Label Studio: labels and boxes are predictions, which people correct.

<folder>/tasks.json      a task for each picture, to be imported into a project
<folder>/config.xml      the project's labelling configuration
<folder>/images/<id>.png

The JSON is the one documented at https://labelstud.io/guide/task_format. The votes of a panel have an export of their
own, see `variorum.people.votes.label_studio`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from variorum.exchange.folders import Exported, exported
from variorum.exchange.lines import Lines, as_json
from variorum.exchange.objects import further, relative_box
from variorum.exchange.selection import ExportedPicture, Selection
from variorum.exchange.xml_text import quoted
from variorum.schemas.canonical import short_digest

REVISION = 1
TASKS, CONFIG, IMAGES = "tasks.json", "config.xml", "images"
SERVED = "/data/local-files/?d="
"""How Label Studio addresses a file of its server's disk, below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""
OURS = "variorum"
"""Key in a region's `meta`."""


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the pictures, the tasks and the configuration."""
    (folder / IMAGES).mkdir()
    number = boxes = 0
    with Lines() as lines:
        place = folder / TASKS
        lines.add(place, "[")
        for number, one in enumerate(pictures, 1):
            (folder / IMAGES / one.file).write_bytes(one.data)
            lines.add(place, (",\n" if number > 1 else "\n") + as_json(_task(number, one, selection)))
            boxes += len(one.sample.annotations.objects)
        lines.add(place, "\n]\n")
    (folder / CONFIG).write_text(_config(selection), encoding="utf-8")
    return [exported(folder, ".", [TASKS, CONFIG], pictures=number, boxes=boxes)]


def _task(number: int, one: ExportedPicture, selection: Selection) -> dict[str, Any]:
    said = one.provenance()
    result = [*_choices(one, selection), *_regions(one, selection)]
    data = {
        "image": f"{SERVED}{IMAGES}/{one.file}",
        # as in the tasks of panels
        "picture": said.pop("id"),
        **said,
        "edition": selection.name,
        "digest": selection.digest,
        "captions": one.captions,
    }
    predictions = [{"model_version": selection.name, "result": result}] if result else []
    return {"id": number, "data": data, "annotations": [], "predictions": predictions}


def _choices(one: ExportedPicture, selection: Selection) -> Iterator[dict[str, Any]]:
    if one.sample.labels:
        names = [selection.names.get(label, label) for label in one.sample.labels]
        yield _result(one, "label", "choices", {"choices": names})


def _regions(one: ExportedPicture, selection: Selection) -> Iterator[dict[str, Any]]:
    height, width = one.size
    for number, item in enumerate(one.sample.annotations.objects):
        sides = (100 * side for side in relative_box(item, one.size))
        box = dict(zip(("x", "y", "width", "height"), sides, strict=True))
        name = selection.names.get(item.label, item.label)
        yield {
            **_result(one, "box", "rectanglelabels", {**box, "rotation": 0, "rectanglelabels": [name] if name else []}),
            "id": short_digest([one.sample.id, number])[:10],
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            **({"score": item.score} if item.score is not None else {}),
            # valid as long as nobody moves the box
            "meta": {OURS: {**further(item), "box": box}},
        }


def _result(one: ExportedPicture, name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": short_digest([one.sample.id, name])[:10],
        "from_name": name,
        "to_name": "image",
        "type": kind,
        "value": value,
    }


def _config(selection: Selection) -> str:
    names = [quoted(one.name) for one in selection.classes]
    choices = "".join(f"    <Choice value={name}/>\n" for name in names)
    labels = "".join(f"    <Label value={name}/>\n" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <Choices name="label" toName="image" choice="multiple">\n{choices}  </Choices>\n'
        f'  <RectangleLabels name="box" toName="image">\n{labels}  </RectangleLabels>\n</View>\n'
    )
