"""Finding copies among many pictures: CPU time, memory and recall of the join, and the cost of the hashes.

The join looks for pairs planted among random hashes, in 8 orientations. Its peer is faiss's IndexBinaryFlat, which
compares all pairs. It is timed on some of the queries, and the time is extrapolated to all, as it is proportional to
their number. The limit is one pass over the bytes of the 8 orientations. Hashes are timed on photographs at 512 pixels,
against PDQ of the full picture and pHash.
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
from png import photographs

from variorum.arrays import Array, Pixels
from variorum.curation.copies.detail import detail
from variorum.kit.copies.join import CROWD, RADIUS, band_recall, hamming_pairs
from variorum.kit.copies.pdq import pdq, pixel_digest

PLANTED = (10, 20, 31)
"""Numbers of differing bits of the planted pairs."""


def hashes(n: int, planted: int) -> Array:
    """Random hashes `[N, 8, 32]` uint8. The last are the first with 10, 20 or 31 bits changed, `planted` of each."""
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
    """CPU seconds of this process, and the result of the work."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def join(n: int, planted: int, queries: int, *, exact: bool) -> dict[str, Any]:
    turns = hashes(n, planted)
    index = faiss.IndexBinaryFlat(256)
    index.add(np.ascontiguousarray(turns[:, 0]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, found = cpu(lambda: hamming_pairs(turns, exact=exact, crowd=CROWD))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    some = np.ascontiguousarray(turns[:queries].reshape(-1, 32))
    flat = cpu(lambda: index.range_search(some, RADIUS + 1))[0] * n / queries
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
    work: dict[str, Callable[[Pixels], Any]] = {
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
    parser.add_argument("--queries", type=int, default=500, help="pictures that faiss searches for")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--exact", action="store_true", help="also run the exact join at this size")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    cv2.setNumThreads(1)
    sizes = [(50_000, True), (arguments.hashes, False)] + ([(arguments.hashes, True)] if arguments.exact else [])
    report = {
        "what": "near pairs among PDQ hashes, at most 31 of 256 bits apart in any of 8 orientations",
        "joins": [join(n, min(arguments.planted, n // 8), arguments.queries, exact=exact) for n, exact in sizes],
        "fingerprints": fingerprints(arguments.rounds),
        "versions": {
            name: version(name) for name in ("faiss-cpu", "pdqhash", "numpy", "opencv-contrib-python-headless")
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
