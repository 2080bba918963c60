"""The source `webdataset` on img2dataset tars, undecoded, compared with webdataset, tarfile and plain reads of them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import webdataset
from timing import median, ratio, rounds

SETS = {"2 kB": (20_000, 2_000), "100 kB": (2_000, 100_000)}
"""Number of samples, and bytes of a picture."""
ROUNDS = 5


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    os.environ["VARIORUM_CACHE"] = str(place / "cache")
    try:
        found = {
            name: compare(place / f"{size}.tar", int(scale * number), size) for name, (number, size) in SETS.items()
        }
    finally:
        shutil.rmtree(place)
    limits = {
        "peer": "webdataset.WebDataset, undecoded",
        "limit": "reads of 1 MiB of the same file, discarded",
        "index_peer": "tarfile.getmembers",
        "goal": "samples_per_cpu_second_to_peer >= 5",
    }
    print(json.dumps({**found, **limits}, indent=1))


def compare(path: Path, number: int, size: int) -> dict[str, object]:
    from variorum.schemas.component import Context
    from variorum.sources.tars.bytes import LocalTar
    from variorum.sources.tars.index import build_index
    from variorum.sources.webdataset import Webdataset

    noise = os.urandom(size + 4096)
    with webdataset.TarWriter(str(path), encoder=False) as writer:
        for position in range(number):
            picture = noise[position % 4096 :][:size]
            record = json.dumps({"key": f"{position:09d}", "url": "https://example.org/a.jpg", "status": "success"})
            writer.write(
                {
                    "__key__": f"{position:09d}",
                    "jpg": picture,
                    "json": record.encode(),
                    "txt": b"a caption of a picture",
                }
            )
    ctx = Context(0, None, None)  # type: ignore[arg-type] - the source asks nothing of it
    source = Webdataset(shards=str(path))
    assert source.size(ctx) == number
    assert source.captioned(ctx)

    def ours() -> None:
        assert sum(len(item.image) for item in source.read(0, number, ctx)) == number * size

    def theirs() -> None:
        data = webdataset.WebDataset(str(path), shardshuffle=False)
        assert sum(len(sample["jpg"]) for sample in data) == number * size

    def raw() -> None:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass

    def outline() -> None:
        assert sum(1 for _ in source.outline(0, number, ctx)) == number

    def index() -> None:
        with LocalTar(str(path)) as tar:
            assert len(build_index(tar)) == number

    def by_tarfile() -> None:
        with tarfile.open(path) as tar:
            assert len(tar.getmembers()) == 3 * number

    read = rounds({"ours": ours, "webdataset": theirs, "raw": raw, "outline": outline}, ROUNDS)
    indexed = rounds({"ours": index, "tarfile": by_tarfile}, ROUNDS)
    return {
        "samples": number,
        "samples_per_cpu_second": round(number / median(read, "ours")),
        "samples_per_cpu_second_to_peer": ratio(read, "webdataset", "ours"),
        "mb_per_cpu_second": round(path.stat().st_size / median(read, "ours") / 1e6),
        "cpu_to_limit": ratio(read, "ours", "raw"),
        "peer_cpu_to_limit": ratio(read, "webdataset", "raw"),
        "outline_samples_per_cpu_second": round(number / median(read, "outline")),
        "index_members_per_cpu_second": round(3 * number / median(indexed, "ours")),
        "index_members_per_cpu_second_to_peer": ratio(indexed, "tarfile", "ours"),
    }


if __name__ == "__main__":
    main()
