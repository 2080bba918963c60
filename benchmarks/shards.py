"""Writing and reading shards, compared with webdataset and with raw writes (with sha256) and raw reads of the bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import webdataset
from timing import median, ratio, rounds

from variorum.edition.shards import ShardWriter, read_shard

SAMPLES = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
PER_SHARD = 1000
BYTES = 110_000
ROUNDS = 5


def main() -> None:
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        print(json.dumps(compare(place), indent=1))
    finally:
        shutil.rmtree(place)


def compare(place: Path) -> dict[str, object]:
    noise = os.urandom(BYTES + 4096)
    record = json.dumps({"id": "0" * 32, "sha256": "0" * 64, "labels": ["n01440764"], "ops": "[]"}).encode()
    samples = [
        (f"{i:032x}", {"jpg": noise[i % 4096 :][:BYTES], "json": record, "cls": b"%d" % (i % 1000)})
        for i in range(PER_SHARD)  # every shard gets the same thousand samples
    ]
    shards = SAMPLES // PER_SHARD
    ours, theirs, raw = place / "ours.tar", place / "theirs.tar", place / "raw"

    def write_ours() -> None:
        for _ in range(shards):
            ours.unlink(missing_ok=True)
            starts = []
            with ShardWriter(ours) as writer:
                for key, members in samples:
                    starts.append(writer.write(key, members))
            assert writer.sha256
            assert len(starts) == PER_SHARD

    def write_theirs() -> None:
        for _ in range(shards):
            with webdataset.TarWriter(str(theirs), encoder=False) as writer:
                for key, members in samples:
                    writer.write({"__key__": key, **members})

    def write_raw() -> None:
        for _ in range(shards):
            raw.unlink(missing_ok=True)
            digest = hashlib.sha256()
            descriptor = os.open(raw, os.O_WRONLY | os.O_CREAT)
            for _, members in samples:
                for data in members.values():
                    digest.update(data)
                    os.write(descriptor, data)
            os.fsync(descriptor)
            os.close(descriptor)

    def read_ours() -> None:
        for _ in range(shards):
            assert sum(len(members["jpg"]) for _, members in read_shard(ours)) == PER_SHARD * BYTES

    def read_theirs() -> None:
        for _ in range(shards):
            data = webdataset.WebDataset(str(theirs), shardshuffle=False)
            assert sum(len(sample["jpg"]) for sample in data) == PER_SHARD * BYTES

    def read_raw() -> None:
        for _ in range(shards):
            with ours.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass

    written = rounds({"ours": write_ours, "webdataset": write_theirs, "raw": write_raw}, ROUNDS)
    read = rounds({"ours": read_ours, "webdataset": read_theirs, "raw": read_raw}, ROUNDS)
    return {
        "samples": SAMPLES,
        "write": {
            "limit": "os.write and sha256 of the same members, no tar",
            "peer": "webdataset.TarWriter, without any hash",
            "cpu_to_limit": ratio(written, "ours", "raw"),
            "goal": "<= 1.10",
            "peer_cpu_to_limit": ratio(written, "webdataset", "raw"),
            "cpu_ms_per_sample": round(1e3 * median(written, "ours") / SAMPLES, 4),
        },
        "read": {
            "limit": "raw reads of 1 MiB, discarded",
            "peer": "webdataset.WebDataset, undecoded",
            "samples_per_cpu_second_to_peer": ratio(read, "webdataset", "ours"),
            "goal": ">= 5",
            "cpu_to_limit": ratio(read, "ours", "raw"),
            "samples_per_cpu_second": round(SAMPLES / median(read, "ours")),
        },
    }


if __name__ == "__main__":
    main()
