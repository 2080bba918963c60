"""Finding copies among many pictures: CPU time and memory of the join, its recall, and what a fingerprint costs.

The join looks up pictures in 8 orientations among random hashes into which pairs are planted. Its peer is faiss's
IndexBinaryFlat, which compares everything: it is timed on a stretch of the queries in the same rounds, and the rest
is counted as so many stretches more, as its work is the product of both sizes. The limit is one pass over the 8
orientations' bytes. Fingerprints are timed on photographs at 512 pixels against PDQ of the full picture and pHash.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import cv2
import faiss
import numpy as np
import pdqhash
from numpy.typing import NDArray
from png import photographs

from curation.fingerprints.detail import detail
from curation.fingerprints.join import CROWD, RADIUS, band_recall, hamming_pairs
from curation.fingerprints.pdq import pdq, pixel_digest

PLANTED = (10, 20, 31)
"""Differing bits of the planted pairs."""


def hashes(n: int, planted: int) -> NDArray[np.uint8]:
    """`[N, 8, 32]`: random, but the last are the first ones with 10, 20 or 31 bits changed, `planted` of each."""
    rng = np.random.default_rng(0)
    turns = rng.integers(0, 256, (n, 8, 32), dtype=np.uint8)
    for number, bits in enumerate(PLANTED):
        rows = np.arange(number * planted, (number + 1) * planted)
        changed = np.unpackbits(turns[rows, 0], axis=1)
        chosen = rng.random(changed.shape).argsort(axis=1)[:, :bits]
        np.put_along_axis(changed, chosen, 1 - np.take_along_axis(changed, chosen, axis=1), axis=1)
        turns[n - 1 - rows, 0] = np.packbits(changed, axis=1)
    return turns


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and the result."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def join(n: int, planted: int, stretch: int, *, exact: bool) -> dict[str, Any]:
    turns = hashes(n, planted)
    index = faiss.IndexBinaryFlat(256)
    index.add(np.ascontiguousarray(turns[:, 0]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, found = cpu(lambda: hamming_pairs(turns, exact=exact, crowd=CROWD))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    queries = np.ascontiguousarray(turns[:stretch].reshape(-1, 32))
    flat = cpu(lambda: index.range_search(queries, RADIUS + 1))[0] * n / stretch
    limit, _ = cpu(lambda: np.bitwise_count(turns.view(np.uint64)).sum())
    pairs = set(zip(found.i.tolist(), found.j.tolist(), strict=True))
    recall = {
        str(bits): sum((row, n - 1 - row) in pairs for row in range(number * planted, (number + 1) * planted)) / planted
        for number, bits in enumerate(PLANTED)
    }
    return {
        "hashes": n,
        "orientations": 8,
        "exact": exact,
        "cpu_s": round(seconds, 2),
        "peak_memory_grew_mib": round(grown),
        "hashes_mib": round(turns.nbytes / 2**20),
        "recall_at_bits": recall,
        "recall_expected": {str(bits): 1.0 if exact else round(band_recall(bits, 2), 3) for bits in PLANTED},
        "pairs_not_planted": len(pairs) - round(sum(recall.values()) * planted),
        "faiss_flat_cpu_s_extrapolated": round(flat, 1),
        "faiss_flat_times_ours": round(flat / seconds, 1),
        "ours_times_one_pass_over_the_bytes": round(seconds / limit, 1),
    }


def fingerprints(rounds: int) -> dict[str, Any]:
    pictures = photographs()
    work: dict[str, Callable[[NDArray[np.uint8]], Any]] = {
        "variorum": lambda pixels: (pixel_digest(pixels), pdq(pixels), detail(pixels)),
        "variorum_pdq_8_orientations": pdq,
        "pdqhash_full_size": pdqhash.compute,
        "limit_one_reduction_to_64": lambda pixels: cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA),
    }
    if importlib.util.find_spec("imagehash"):
        import imagehash
        from PIL import Image

        work["imagehash_phash"] = lambda pixels: imagehash.phash(Image.fromarray(pixels))
    names, times = list(work), {name: list[float]() for name in work}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds, _ = cpu(lambda name=name: [work[name](pixels) for pixels in pictures])
            times[name].append(seconds * 1e3 / len(pictures))
    ours = times["variorum"]
    return {
        "pictures": f"{len(pictures)} RGB photographs, 512 x 512, decoded",
        "rounds": rounds,
        "cpu_ms": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "times_ours": {
            name: round(statistics.median(b / a for a, b in zip(ours, values, strict=True)), 2)
            for name, values in times.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hashes", type=int, default=200_000)
    parser.add_argument("--planted", type=int, default=2000)
    parser.add_argument("--stretch", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--exact", action="store_true", help="the exact join at this size too")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    cv2.setNumThreads(1)
    sizes = [(50_000, True), (arguments.hashes, False)] + ([(arguments.hashes, True)] if arguments.exact else [])
    report = {
        "what": "near pairs among PDQ hashes, at most 31 of 256 bits apart in any of 8 orientations",
        "joins": [join(n, min(arguments.planted, n // 8), arguments.stretch, exact=exact) for n, exact in sizes],
        "fingerprints": fingerprints(arguments.rounds),
        "versions": {
            name: version(name) for name in ("faiss-cpu", "pdqhash", "numpy", "opencv-contrib-python-headless")
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
