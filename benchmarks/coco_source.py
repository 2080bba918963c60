"""Opening an annotation file in COCO's format, and reading pictures with it: ours against pycocotools.

Ours makes an index once, which later runs map into memory; the peer is pycocotools' `COCO`, which loads the JSON and
makes its index anew in every process. The limit is `json.load` alone. Each runs in a process of its own, in turn. Then
pictures are read with their objects as checked RLE, against the peer's `annToRLE` of the same pictures. With
`--boxes 5000000 --rounds 1` it takes 2.3 GB of disk, and 12 GB of memory for the peer.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timing import peak_mb

BOXES_A_PICTURE = 7
SIDES = (480, 640)
READ = 300
"""Pictures that exist and are read."""
POOL = 997
"""Different objects in the file, a crowd among them."""


def write(folder: Path, boxes: int, corners: int) -> None:
    """An annotation file like COCO's, and a few of its pictures. The objects of a pool are dealt to the pictures."""
    rng = np.random.default_rng(0)
    pictures = boxes // BOXES_A_PICTURE
    pool = [json.dumps(thing(rng, corners, crowd=number == 0))[:-1] for number in range(POOL)]
    of = zip(rng.integers(pictures, size=boxes).tolist(), rng.integers(1, 91, boxes).tolist(), strict=True)
    licences = [{"id": n, "name": f"Licence {n}", "url": f"http://example.org/{n}"} for n in range(1, 9)]
    with (folder / "instances_train.json").open("w") as file:
        file.write(f'{{"info": {{}}, "licenses": {json.dumps(licences)}, "images": [')
        file.writelines((", " if number else "") + json.dumps(entry(number)) for number in range(pictures))
        file.write('], "annotations": [')
        for number, (image, category) in enumerate(of):
            ids = f'"image_id": {image}, "category_id": {category}, "id": {number}'
            file.write(f"{', ' if number else ''}{pool[number % POOL]}, {ids}}}")
        file.write('], "categories": [')
        file.write(", ".join(json.dumps({"id": n, "name": f"category {n}"}) for n in range(1, 91)))
        file.write("]}")
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*SIDES, 3), np.uint8)).save(stream, "JPEG")
    (folder / "pictures").mkdir()
    for number in range(min(READ, pictures)):
        (folder / "pictures" / entry(number)["file_name"]).write_bytes(stream.getvalue())


def entry(number: int) -> dict[str, Any]:
    """A picture's entry, with the fields that COCO 2017 has."""
    height, width = SIDES
    return {
        "license": 1 + number % 8,
        "file_name": f"{number:012}.jpg",
        "coco_url": f"http://images.cocodataset.org/train2017/{number:012}.jpg",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 11:18:45",
        "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
        "id": number,
    }


def thing(rng: np.random.Generator, corners: int, *, crowd: bool) -> dict[str, Any]:
    """An annotation without ids: a ragged ellipse as a polygon, or a crowd as an RLE."""
    height, width = SIDES
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    size = rng.uniform(5, 100, 2)
    centre = rng.uniform(size, (width, height) - size)
    outline = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * size * rng.uniform(0.7, 1, (corners, 1))
    before = int(centre[0]) * height + int(centre[1])
    runs = {"counts": [before, 50, height * width - before - 50], "size": [height, width]}
    return {
        "segmentation": runs if crowd else [outline.round(2).ravel().tolist()],
        "area": round(float(size.prod()) * 2, 3),
        "iscrowd": int(crowd),
        "bbox": np.concatenate([centre - size, 2 * size]).round(2).tolist(),
    }


def ours(folder: Path) -> Any:
    """The source, opened: with its index made if there is none."""
    from variorum.sources.coco import Coco

    source = Coco(annotations=folder / "instances_train.json", pictures=folder / "pictures")
    source.size(None)  # type: ignore[arg-type]  # it doesn't use the context
    return source


def peer(folder: Path) -> object:
    from pycocotools.coco import COCO

    return COCO(str(folder / "instances_train.json"))


def loaded(folder: Path) -> object:
    return json.loads((folder / "instances_train.json").read_bytes())


def read_ours(source: Any) -> int:
    samples = list(source.read(0, READ, None))
    assert all(not sample.reason and sample.image for sample in samples)
    return sum(bool(item.mask) for sample in samples for item in sample.annotations.objects)


def read_peer(folder: Path, data: Any) -> int:
    found = 0
    for image in sorted(data.imgs.values(), key=lambda entry: entry["file_name"])[:READ]:
        (folder / "pictures" / image["file_name"]).read_bytes()
        annotations = data.loadAnns(data.getAnnIds(imgIds=[image["id"]]))
        found += sum(bool(data.annToRLE(one)["counts"]) for one in annotations)
    return found


def labels(source: Any) -> int:
    return sum(len(one.labels) for one in source.outline(0, source.size(None), None))


OPENING: dict[str, Callable[[Path], object]] = {"index": ours, "open_again": ours, "peer": peer, "json_load": loaded}


def alone(name: str, folder: Path) -> dict[str, float]:
    """CPU and wall seconds and peak memory in MB of a process that opens the file, or reads with it."""
    environment = {**os.environ, "VARIORUM_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, __file__, "--only", name, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def only(name: str, folder: Path) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # pycocotools prints
        if name == "bare":
            import variorum.sources.coco_files.pictures  # noqa: F401
        data: Any = peer(folder) if name == "read_peer" else None
        if name in ("read", "labels"):
            data = ours(folder)
            list(data.read(0, 1, None))  # imports
        cpu, wall = time.process_time(), time.perf_counter()
        if name in OPENING:
            kept = OPENING[name](folder)
            count = int(kept is not None)
        elif name == "read":
            count = read_ours(data)
        elif name == "read_peer":
            count = read_peer(folder, data)
        elif name == "labels":
            count = labels(data)
        else:
            count = 0
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak_mb(), "count": count}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=200_000)
    parser.add_argument("--corners", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs=2)
    options = parser.parse_args()
    if options.only:
        only(options.only[0], Path(options.only[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.boxes, options.corners)
        megabytes = (folder / "instances_train.json").stat().st_size / 1e6
        runs: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for path in (folder / "cache").glob("coco/*/*"):
                path.unlink()
            for kind in (*OPENING, "read", "read_peer", "labels"):
                runs.setdefault(kind, []).append(alone(kind, folder))
        bare = alone("bare", folder)["peak_mb"]
        index = sum(path.stat().st_size for path in (folder / "cache").glob("coco/*/*")) / 1e6

    def median(kind: str, what: str) -> float:
        return statistics.median(run[what] for run in runs[kind])

    def ratio(one: str, other: str, what: str) -> float:
        pairs = zip(runs[one], runs[other], strict=True)
        return round(statistics.median(a[what] / b[what] for a, b in pairs), 3)

    assert runs["read"][0]["count"] == runs["read_peer"][0]["count"]
    report = {
        "what": f"{options.boxes} boxes with polygons of {options.corners} corners, {megabytes:.0f} MB of JSON",
        "cpu_seconds": {kind: round(median(kind, "cpu"), 3) for kind in runs},
        "wall_seconds": {kind: round(median(kind, "wall"), 3) for kind in runs},
        "peak_MB": {kind: round(median(kind, "peak_mb")) for kind in runs} | {"imports_alone": round(bare)},
        "boxes_a_second": round(options.boxes / median("index", "cpu")),
        "index_MB": round(index, 1),
        "index_to_peer": {what: ratio("index", "peer", what) for what in ("cpu", "wall", "peak_mb")},
        "index_to_json_load": {what: ratio("index", "json_load", what) for what in ("cpu", "wall", "peak_mb")},
        "open_again_to_peer": {what: ratio("open_again", "peer", what) for what in ("cpu", "wall", "peak_mb")},
        "read_to_peer": ratio("read", "read_peer", "cpu"),
        "limit": "json.load alone, which makes no index",
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
