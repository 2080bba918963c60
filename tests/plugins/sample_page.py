"""Pages to look at, made of a few photographs and of made-up facts, for the tests of the page."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from variorum.reports.page.html import write_page
from variorum.reports.page.plots import as_json
from variorum.schemas.plot import Bin, CurvePlot, CurvePoint, IntervalPlot, Point, RadarPlot, ReliabilityPlot

One = TypeVar("One")
VARIANTS = ("original", "background_random", "size_0.1", "rotate_45", "snow")
CLASSES = ("tench", "goldfish", "tiger shark", "cock")
STATUSES = ("accepted", "quarantined", "dropped", "ineligible")
DIGEST = "3f9a" * 16
HOSTILE = (
    "</script><img src=x onerror=window.hacked=1>",
    "<img src=x onerror=window.hacked=1>",
    "\u202egnp.exe",
    "a\x00b\x1bc",
    "x" * 500,
    "العربية",
    "\ud800 half",
    "",
    "__proto__",
    "constructor",
    "javascript:window.hacked=1",
    "]]><!--",
)
FUNNEL = {
    "kind": "funnel",
    "title": "From source to release",
    "stages": [["source pictures", 40], ["made", 36]],
    "reasons": [["drop", "policy", "copy", 3]],
}
AXES = ("jpeg", "blur", "turn", "a long name of an attack")
PLOTS = (
    IntervalPlot(
        "Accuracy drop",
        "percentage points",
        ("background", "size"),
        {"one": (Point(12, 9, 15), None), "other": (Point(7, 4, 10), Point(5, 2, 8))},
    ),
    ReliabilityPlot("Calibration", {"one": (Bin(0.2, 0.1, 20), Bin(0.9, 0.8, 200))}),
    CurvePlot(
        "Found against quality",
        "loss of quality",
        "found, %",
        {"one": (CurvePoint(0.2, 90, 80, 95), CurvePoint(0.5, 40, 30, 55)), "other": (CurvePoint(0.3, 20, 20, 20),)},
        100,
    ),
    RadarPlot("Robustness by attack", "found, %", 100, AXES, {"one": (100, 50, 20, 80), "other": (40, None, 60, 90)}),
)


def table(rows: int, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    """A table like an edition's: photographs with four edits each; every third edit fails, every ninth is dropped, and
    every twentieth row isn't made."""
    rng = random.Random(0)
    edit = [row % len(VARIANTS) for row in range(rows)]
    photograph = [row // len(VARIANTS) for row in range(rows)]
    status = [0 if not edit[row] or row % 3 else 1 + (row % 9 == 0) for row in range(rows)]
    status = [3 if row % 20 == 19 else one for row, one in enumerate(status)]
    texts = {
        "id": ([f"{row:08x}" for row in range(rows)], list(range(rows))),
        "origin": ([f"photos/{one:04}.jpg" for one in range(rows)], photograph),
        "licence": (["CC0-1.0"], [0] * rows),
        "variant": (list(VARIANTS), edit),
        "status": (list(STATUSES), status),
        "split": (["train", "test"], [one % 2 for one in photograph]),
        "class": (list(classes), [one % len(classes) for one in photograph]),
        "reason": (["iou", "blank"], [row % 2 if status[row] in (1, 3) else -1 for row in range(rows)]),
        "action": (["keep", "drop"], [int(one == 2) for one in status]),
    }
    numbers = {
        "source": [row - edit[row] for row in range(rows)],
        "gate.iou": [rng.random() if edit[row] else None for row in range(rows)],
        "width": [100 + row for row in range(rows)],
        "map.x": [rng.gauss(0, 1) + 4 * (one % 2) for one in photograph],
        "map.y": [rng.gauss(0, 1) for _ in range(rows)],
    }
    columns: list[dict[str, Any]] = [
        {"name": name, "kind": "text", "values": values, "codes": codes} for name, (values, codes) in texts.items()
    ]
    columns += [{"name": name, "kind": "number", "values": values} for name, values in numbers.items()]
    columns.append({"name": "sharp", "kind": "flag", "values": [[0, 1, None][row % 3] for row in range(rows)]})
    return {"rows": rows, "columns": columns}


def models(rows: int, classes: Sequence[str] = CLASSES) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Facts and columns of three models: `one` errs on every fourth picture, `two` on every seventh, `three` always.

    What isn't made has no answer. Of `three` it is only known that its answers are wrong. `size_0.1` is a baseline.
    """
    facts, columns = list[dict[str, str]](), list[dict[str, Any]]()
    for name, every in (("one", 4), ("two", 7), ("three", 1)):
        wrong = [int(row % every == 0) if row % 20 != 19 else -1 for row in range(rows)]
        facts.append({"name": name, "right": f"answer of {name}"})
        columns.append({"name": f"answer of {name}", "kind": "text", "values": ["right", "wrong"], "codes": wrong})
        if name == "three":
            continue
        facts[-1] |= {"says": f"{name} says", "p": f"p(label) of {name}"}
        labels = [row // len(VARIANTS) % len(classes) for row in range(rows)]
        says = [-1 if code < 0 else (label + code) % len(classes) for label, code in zip(labels, wrong, strict=True)]
        columns.append({"name": f"{name} says", "kind": "text", "values": list(classes), "codes": says})
        chance = [None if code < 0 else 0.9 - 0.7 * code for code in wrong]
        columns.append({"name": f"p(label) of {name}", "kind": "number", "values": chance})
    baseline = [int(VARIANTS[row % len(VARIANTS)] == "size_0.1") for row in range(rows)]
    return facts, [*columns, {"name": "baseline", "kind": "flag", "values": baseline}]


def change_columns(rows: int) -> list[dict[str, Any]]:
    """The columns that only a page of a difference has."""
    return [
        {"name": name, "kind": "text", "values": values, "codes": [row % len(values) for row in range(rows)]}
        for name, values in (
            ("change", ["added", "dropped", "relabelled"]),
            ("why", ["new source", "verdict: copy"]),
            ("before", ["tench", "goldfish"]),
            ("after", ["goldfish", "tench", "cock"]),
        )
    ]


def facts(**more: Any) -> dict[str, Any]:
    return {
        "kind": "edition",
        "title": "shapes@1.0.0-r1",
        "subtitle": "Shapes on plates",
        "digest": DIGEST,
        "notes": ["40 of 52,341 pictures, spread evenly"],
        "findings": ["3 pictures are near copies"],
        "counts": [["accepted", 31], ["quarantined", 6]],
        "thumbnail": 96,
        "links": [["card", "README.md"]],
        "limits": {"gate.iou": ">= 0.5"},
        "plots": [FUNNEL, *map(as_json, PLOTS)],
        "map": {"x": "map.x", "y": "map.y", "about": "t-SNE of features"},
        "blur": False,
        "words": {"codes": {"ineligible": "The edit can't be made.", "blank": "It shows nothing."}, "checks": {}},
        **more,
    }


def record(row: int, **more: Any) -> dict[str, Any]:
    """A record as editions have them: with steps in a text of JSON, one check passed and one failed."""
    gates = {
        "iou": {"value": 0.83, "limit": ">= 0.5", "passed": True},
        "blank": {"value": 0.4, "limit": "<= 0.2", "passed": False},
    }
    ops = [{"name": "attribute_edit", "requested": {"strength": 20}, "gates": gates}]
    return {
        "id": f"{row:08x}",
        "number": row,
        "ops": json.dumps(ops),
        "nested": {"deep": {"deeper": ["a", None]}},
        "annotations": {
            "objects": [{"label": "a tail", "bbox": [4, 4, 20, 10]}],
            "captions": [f"Photograph {row} of a pond at dusk"],
        },
        **more,
    }


def pictures(photos: Path) -> list[bytes]:
    """The photographs as small WebP pictures."""
    from PIL import Image

    found = []
    for path in sorted(photos.rglob("*.jpg")):
        stream = io.BytesIO()
        Image.open(path).save(stream, "WEBP", quality=80)
        found.append(stream.getvalue())
    return found


def mask() -> bytes:
    """A mask of the left half, as PNG."""
    from PIL import Image

    stream = io.BytesIO()
    image = Image.new("1", (64, 64))
    image.paste(1, (0, 0, 32, 64))
    image.save(stream, "PNG")
    return stream.getvalue()


def chunks(items: Sequence[One], size: int) -> Iterator[Sequence[One]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def write(
    path: Path, photos: Path, rows: int, classes: Sequence[str] = CLASSES, told: str | None = None, **more: Any
) -> Path:
    """A page with so many rows. Every twentieth has no picture, every other one a larger version, all a mask.

    Args:
        path: of the file.
        photos: folder with the pictures.
        rows: of the table.
        classes: names.
        told: a text in each record.
        more: facts.
    """
    said = facts(**more)
    data = table(rows, classes)
    sides = 1
    if said.get("models"):
        said["models"], own = models(rows, classes)
        data["columns"] += own
    if said["kind"] == "diff":
        data["columns"] += change_columns(rows)
        sides = 2
    some = pictures(photos)
    shown = [b"" if number % 20 == 19 else some[number % len(some)] for number in range(rows * sides)]
    records = [json.dumps(record(row, told=told)) for row in range(rows)]
    larger = [one if number % 2 else b"" for number, one in enumerate(shown)]
    masks = [mask() if one else b"" for one in shown]
    with path.open("wb") as file:
        write_page(
            file,
            said,
            data | {"near": [[(row + 5) % rows] for row in range(rows)]},
            chunks(shown, 100 * sides),
            chunks(records, 100),
            chunks(larger, 100 * sides),
            chunks(masks, 100 * sides),
        )
    return path
