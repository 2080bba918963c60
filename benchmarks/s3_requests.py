"""Requests to S3 per unit: of a first run, and of runs that find everything done; beside a plain way of looking.

A real server on loopback counts nothing itself; the client's own hook counts each request as it is sent, repeated ones
included. The peer looks as is usual: `exists` for a unit's receipt, the receipt, and `exists` for each of its files.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import skimage.data
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "tests" / "plugins"))

from s3_server import BUCKET, serving

from variorum.edition.editions import beside
from variorum.edition.store import Store
from variorum.pipeline import Job, build
from variorum.schemas.recipe import Recipe

UNITS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
URL = f"s3://{BUCKET}/counted"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "s3").mkdir()
        with serving(place / "s3") as server:
            os.environ.update(server.environment, VARIORUM_CACHE=str(place / "cache"))
            print(json.dumps(compare(place), indent=1))


def compare(place: Path) -> dict[str, object]:
    photos = place / "photos"
    photos.mkdir()
    picture = Image.fromarray(skimage.data.astronaut())
    for number in range(UNITS):
        left, top = number % 400, number // 4 % 400
        picture.crop((left, top, left + 32, top + 32)).save(photos / f"{number:05}.png")
    source = {"name": "image_folder", "path": str(photos)}
    recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "samples_per_shard": 1, "source": source})
    sealed = []

    def run() -> None:
        sealed.append(build(Job(recipe, Store(URL))))

    first, done = counted(run), counted(run)
    store = Store(URL)
    store.fs.rm_file(f"{store.root}/{beside(sealed[0], 'manifest.json')}")
    kept = counted(run)

    def look() -> None:
        for unit in sealed[0].units:
            receipt = store.receipt(unit) if store.fs.exists(f"{store.root}/units/{unit}.json") else None
            assert receipt
            assert all(store.fs.exists(store.object(*file)) for file in receipt.files())

    naive = counted(look)
    assert len({one.digest() for one in sealed}) == 1
    ways = {"first_run": first, "rerun_of_a_sealed_edition": done, "all_units_kept_but_not_sealed": kept, "peer": naive}
    each = {name: round(sum(way[0].values()) / UNITS, 3) for name, way in ways.items()}
    return {
        "units": UNITS,
        "requests": {name: {"all": sum(way[0].values()), **dict(way[0].most_common())} for name, way in ways.items()},
        "seconds": {name: round(way[1], 1) for name, way in ways.items()},
        "requests_per_unit": each,
        "goal": "rerun_of_a_sealed_edition <= 1",
        "limit": "0: nothing is asked",
        "ratio_to_peer": {name: round(each[name] / each["peer"], 3) for name in list(ways)[1:3]},
    }


def counted(work: Callable[[], object]) -> tuple[Counter[str], float]:
    """The requests that some work sends, by kind, and its seconds."""
    found: Counter[str] = Counter()
    client = Store(URL, writable=False).fs.s3  # all stores of a process share it

    def note(request: object, event_name: str, **_: object) -> None:
        found[event_name.rpartition(".")[2]] += 1

    client.meta.events.register("before-send.s3", note)
    began = time.perf_counter()
    work()
    took = time.perf_counter() - began
    client.meta.events.unregister("before-send.s3", note)
    return found, took


if __name__ == "__main__":
    main()
