"""Looking pictures up among known ones: hashes a second, time for one picture, memory, and the cost of an index.

Queries are random hashes in 8 orientations, and some that are 10, 20 or 31 bits away from a known one. The peers find
the same: faiss's IndexBinaryFlat, which compares all in compiled code, and the same comparison in NumPy, as tools that
use `pdqhash` or `imagehash` without an index do it; both on one thread. The limit is one pass over the known hashes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from timing import peak_mb

from variorum.arrays import Array
from variorum.curation.copies.parts import WIDTHS, About, Part
from variorum.kit.copies.join import RADIUS, hamming_join

NEAR = (10, 20, 31)
"""Bits between a query and the known picture that it is a copy of."""


def known_hashes(n: int) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (n, width), dtype=np.uint8) for name, width in WIDTHS.items()}


def queries(stored: Array, n: int) -> Array:
    """Random `[n, 8, 32]`; every second one is near the stored hash of its number, in one orientation."""
    rng = np.random.default_rng(1)
    turns = rng.integers(0, 256, (n, 8, 32), dtype=np.uint8)
    for row in range(0, n, 2):
        bits = np.unpackbits(stored[row])
        chosen = rng.permutation(256)[: NEAR[row // 2 % len(NEAR)]]
        bits[chosen] ^= 1
        turns[row, rng.integers(8)] = np.packbits(bits)
    return turns


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def brute(turns: Array, stored: Array) -> Array:
    words, table = turns.view(np.uint64).reshape(-1, 4), stored.view(np.uint64)
    best = np.full(len(words), 257)
    for row, word in enumerate(words):
        best[row] = np.bitwise_count(table ^ word).sum(axis=1, dtype=np.uint16).min()
    return best.reshape(turns.shape[:2]).min(axis=1)


def look(n: int, asked: int, rounds: int) -> dict[str, Any]:
    hashes = known_hashes(n)
    turns = queries(hashes["pdq"], asked)
    folder = Path(tempfile.mkdtemp())
    try:
        about = About(kind="list", name="random", content="0" * 64, pictures=n)
        built, part = seconds(lambda: Part.of(about, {name: (values, np.arange(n)) for name, values in hashes.items()}))
        part.save(folder / "part")
        del part
        opened, part = seconds(lambda: Part.load(folder / "part"))
        size = sum(file.stat().st_size for file in (folder / "part").iterdir())
        first, _ = seconds(lambda: part.near(turns[:1]))
        bits, rows = part.near(turns)
        near = np.arange(0, asked, 2)
        wanted = np.array(NEAR)[near // 2 % len(NEAR)]
        assert (rows[near] == near).all()
        assert (bits[near] == wanted).all()
        assert (bits[1::2] > RADIUS).all()
        index = faiss.IndexBinaryFlat(256)
        index.add(hashes["pdq"])
        some, few = min(asked, 64), min(asked, 4)
        work: dict[str, tuple[int, Callable[[], Any]]] = {
            "variorum": (asked, lambda: part.near(turns)),
            "variorum_one_by_one": (some, lambda: [part.near(turns[row : row + 1]) for row in range(some)]),
            "variorum_same_pixels": (asked, lambda: part.same("pixels", hashes["pixels"][:asked])),
            "variorum_join_without_index": (asked, lambda: hamming_join(turns, hashes["pdq"], exact=True)),
            "faiss_flat": (some, lambda: index.range_search(turns[:some].reshape(-1, 32), RADIUS + 1)),
            "numpy_flat": (few, lambda: brute(turns[:few], hashes["pdq"])),
            "limit_one_pass_over_the_hashes": (1, lambda: np.bitwise_count(hashes["pdq"].view(np.uint64)).sum()),
        }
        times: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(rounds):
            for name, (number, function) in work.items():
                times[name].append(seconds(function)[0] / number)
        ours = times["variorum"]
        return {
            "known": n,
            "queries": asked,
            "build_s": round(built, 2),
            "open_ms": round(opened * 1e3, 2),
            "first_query_ms": round(first * 1e3, 2),
            "bytes_a_hash_on_disk": round(size / n, 1),
            "peak_memory_mb": round(peak_mb()),
            "found_of_near": f"{len(near)} of {len(near)}",
            "ms_a_picture": {name: round(statistics.median(some) * 1e3, 4) for name, some in times.items()},
            "pictures_a_second": {name: round(1 / statistics.median(some), 1) for name, some in times.items()},
            "times_ours": {
                name: round(statistics.median(b / a for a, b in zip(ours, some, strict=True)), 2)
                for name, some in times.items()
            },
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    report = {
        "what": "PDQ hashes at most 31 of 256 bits apart in any of 8 orientations; wall time on one thread",
        "looked_up": [look(n, arguments.queries, arguments.rounds) for n in arguments.known],
        "versions": {name: version(name) for name in ("faiss-cpu", "numpy")},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
