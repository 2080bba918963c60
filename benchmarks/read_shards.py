"""Reading an edition's shards by `webdataset` and `datasets`, beside shards of the same pictures by `ShardWriter`.

Peer: `webdataset.ShardWriter`, with the same members and as many samples in a shard. A second peer has the picture and
its class only, as plain scripts write them, so it shows what the record costs. Every reader is timed with the pictures
as bytes and decoded. Limit: plain reads of our shards' bytes.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timing import Work, median, ratio, rounds

PICTURES = int(sys.argv[1]) if len(sys.argv) > 1 else 600
PER_SHARD = 200
SIDE = 256
ROUNDS = 7
GOAL = 1.0
"""Samples per CPU second, relative to the peer; ratios below 1.15 vary by a few hundredths."""


def main() -> None:
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    os.environ["HF_HOME"] = f"{place}/hf"
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["VARIORUM_CACHE"] = f"{place}/cache"
    try:
        print(json.dumps(compare(place), indent=1))
    finally:
        shutil.rmtree(place)


def compare(place: Path) -> dict[str, Any]:
    """Time all readers on the three sets of shards."""
    ours = edition(place, photographs(place / "photos"))
    same, bare = place / "same", place / "bare"
    samples = [sample for file in shards(ours) for sample in read(file)]
    written(same, iter(samples))
    written(bare, ({"__key__": one["__key__"], "jpg": one["jpg"], "cls": one["cls"]} for one in samples))
    sets = {"ours": ours, "same": str(same), "bare": str(bare)}
    work: dict[str, Work] = {}
    for name, folder in sets.items():
        work[f"webdataset {name}"] = by_webdataset(folder, decode=False)
        work[f"webdataset, decoded {name}"] = by_webdataset(folder, decode=True)
        work[f"datasets {name}"] = by_datasets(folder, name == "ours", decode=False)
        work[f"datasets, decoded {name}"] = by_datasets(folder, name == "ours", decode=True)
    work["bytes"] = lambda: [Path(file).read_bytes() for file in shards(ours)]
    counts = {name: call() for name, call in work.items() if name != "bytes"}
    assert set(counts.values()) == {PICTURES}, counts
    timed = rounds(work, ROUNDS)
    readers = ("webdataset", "webdataset, decoded", "datasets", "datasets, decoded")
    found = {
        reader: {
            "samples_per_cpu_second": round(PICTURES / median(timed, f"{reader} ours")),
            "relative_to_peer": ratio(timed, f"{reader} same", f"{reader} ours"),
            "relative_to_picture_and_class_only": ratio(timed, f"{reader} bare", f"{reader} ours"),
            "wall_relative_to_peer": ratio(timed, f"{reader} same", f"{reader} ours", "wall"),
            "times_the_limit": ratio(timed, f"{reader} ours", "bytes"),
        }
        for reader in readers
    }
    sizes = {name: sum(Path(file).stat().st_size for file in shards(folder)) for name, folder in sets.items()}
    return {
        "pictures": PICTURES,
        "bytes": sizes,
        "peer": "webdataset.ShardWriter, the same members",
        "limit": "reading the shards' bytes",
        "goal": f"relative_to_peer >= {GOAL:g}",
        "cores_that_others_used": round(max(t.others for turn in timed for t in turn.values()), 2),
        **found,
    }


def photographs(folder: Path) -> Path:
    """JPEGs with the texture of photographs, in two classes."""
    import skimage.data

    rng = np.random.default_rng(0)
    whole = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "rocket", "chelsea")]
    for number in range(PICTURES):
        picture = whole[number % len(whole)]
        top, left = (int(rng.integers(size - SIDE + 1)) for size in picture.shape[:2])
        below = folder / "ab"[number % 2]
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[top : top + SIDE, left : left + SIDE]).save(below / f"{number}.jpg", quality=92)
    return folder


def edition(place: Path, photos: Path) -> str:
    """Build an edition of the pictures, whose own bytes are kept; returns its folder."""
    from variorum.edition.editions import folder_of
    from variorum.pipeline import Job, build
    from variorum.reports.card import write_card
    from variorum.schemas.recipe import Recipe

    what = {
        "dataset": "photos",
        "version": "1.0.0",
        "samples_per_shard": PER_SHARD,
        "masters": "original",
        "source": {"name": "image_folder", "path": str(photos)},
    }
    recipe = Recipe.parse(what)
    job = Job(recipe, str(place / "store"))
    manifest = build(job)
    write_card(recipe, manifest, job.store)
    return folder_of(manifest, job.store)


def shards(folder: str) -> list[str]:
    """The tars of an edition or of a peer."""
    return sorted(glob.glob(f"{folder}/data/*.tar"))


def read(file: str) -> Iterator[dict[str, Any]]:
    """The samples of one of our shards, undecoded."""
    from variorum.edition.shards import read_shard

    for key, members in read_shard(Path(file)):
        yield {"__key__": key, **members}


def written(folder: Path, samples: Iterator[dict[str, Any]]) -> None:
    """Write samples by `webdataset.ShardWriter`."""
    import webdataset

    (folder / "data").mkdir(parents=True)
    with webdataset.ShardWriter(f"{folder}/data/test-%05d.tar", maxcount=PER_SHARD, encoder=False, verbose=0) as writer:
        for sample in samples:
            writer.write(sample)


def by_webdataset(folder: str, *, decode: bool) -> Callable[[], int]:
    """Read all samples by `webdataset`; returns their number."""
    import webdataset

    def count() -> int:
        samples = webdataset.WebDataset(shards(folder), shardshuffle=False)
        return sum(1 for _ in (samples.decode("pil") if decode else samples))

    return count


def by_datasets(folder: str, card: bool, *, decode: bool) -> Callable[[], int]:
    """Stream all samples by `datasets`; returns their number.

    Args:
        folder: has the shards.
        card: whether the folder has a card that declares the columns, as an edition has; otherwise they are guessed.
        decode: whether to decode the pictures.
    """
    import datasets

    def count() -> int:
        if card:
            rows = datasets.load_dataset(folder, split="test", streaming=True)
        else:
            files = {"test": shards(folder)}
            rows = datasets.load_dataset("webdataset", data_files=files, split="test", streaming=True)
        return sum(1 for _ in (rows if decode else rows.cast_column("jpg", datasets.Image(decode=False))))

    return count


if __name__ == "__main__":
    main()
