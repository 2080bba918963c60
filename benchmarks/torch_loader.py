"""Decoded samples per CPU second of `edition.torch()`, beside `datasets` and `webdataset` on the same shards.

All give a picture and its class: ours as uint8 tensors, `datasets` with the format `torch` after it has copied the
shards into its cache, `webdataset` with its decoders `torchrgb8` (uint8 tensors), `torchrgb` (floats) and `pil`. Nobody
has a worker. The limit is libjpeg-turbo alone on bytes in memory.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import read_shards
from timing import Work, median, ratio, rounds

SIDES = (64, 256)
ROUNDS = 7
DECODERS = ("torchrgb8", "torchrgb", "pil")
GOAL = 1.0
"""Samples per CPU second, relative to the best of the peers."""


def main() -> None:
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    os.environ |= {"HF_HOME": f"{place}/hf", "HF_HUB_OFFLINE": "1", "VARIORUM_CACHE": f"{place}/cache"}
    try:
        print(json.dumps({f"{side} x {side}": compare(place / str(side), side) for side in SIDES}, indent=1))
    finally:
        shutil.rmtree(place)


def compare(place: Path, side: int) -> dict[str, Any]:
    """Time all readers on the shards of an edition of pictures of this size."""
    read_shards.SIDE = side
    folder = read_shards.edition(place, read_shards.photographs(place / "photos"))
    work: dict[str, Work] = {"edition.torch": by_edition(folder), "datasets": by_datasets(folder)}
    work |= {f"webdataset {decoder}": by_webdataset(folder, decoder) for decoder in DECODERS}
    counts = {name: call() for name, call in work.items()}
    assert set(counts.values()) == {read_shards.PICTURES}, counts
    timed = rounds({**work, "libjpeg-turbo": alone(folder)}, ROUNDS)
    peers = {name: ratio(timed, name, "edition.torch") for name in work if name != "edition.torch"}
    return {
        "pictures": read_shards.PICTURES,
        "samples_per_cpu_second": {name: round(read_shards.PICTURES / median(timed, name)) for name in timed[0]},
        "times_the_peers": peers,
        "times_the_limit": ratio(timed, "edition.torch", "libjpeg-turbo"),
        "goal": f"times_the_peers >= {GOAL:g}",
        "met": min(peers.values()) >= GOAL,
        "cores_that_others_used": round(max(one.others for turn in timed for one in turn.values()), 2),
    }


def by_edition(folder: str) -> Callable[[], int]:
    """Read all samples as tensors with class indices; returns their number."""
    import variorum as va

    pictures = va.open(folder).torch()
    return lambda: sum(tensor.ndim == 3 and index >= 0 for tensor, index in pictures)


def by_datasets(folder: str) -> Callable[[], int]:
    """The same by `datasets`, whose cache is filled before anything is timed."""
    import datasets

    rows = datasets.load_dataset(folder, split="test").select_columns(["jpg", "cls"]).with_format("torch")
    return lambda: sum(row["jpg"].ndim == 3 and int(row["cls"]) >= 0 for row in rows)


def by_webdataset(folder: str, decoder: str) -> Callable[[], int]:
    """The same by one of `webdataset`'s decoders."""
    import webdataset

    def count() -> int:
        samples = webdataset.WebDataset(read_shards.shards(folder), shardshuffle=False)
        return sum(index >= 0 for _, index in samples.decode(decoder).to_tuple("jpg", "cls"))

    return count


def alone(folder: str) -> Callable[[], object]:
    """Decode the same pictures from memory, and nothing else."""
    import simplejpeg

    held = [one["jpg"] for file in read_shards.shards(folder) for one in read_shards.read(file)]
    return lambda: [simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False) for data in held]


if __name__ == "__main__":
    main()
