"""The graph of nearest neighbours: ours, exact and among near clusters, against faiss's exact index, on one thread.

Ours computes the whole graph once. faiss searches for a part of the rows in each round, and its time is extrapolated to
all rows, as the time of an exact search is proportional to the number of queries. All neighbours found by faiss are
compared with ours; differing ones must be equally near, to the precision of float32. Limit: the products alone.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy is loaded

import argparse
import json
import statistics
from importlib.metadata import version

import faiss
import numpy as np
from timing import measure

from variorum.kit.embeddings.nearest import BLOCK, clusters, nearest, nearest_in_clusters
from variorum.kit.embeddings.rows import normalised

K, MOST_TIMES_PEER = 10, 1.0


def example(n: int, d: int) -> np.ndarray:
    """Unit vectors in a hundred overlapping clusters."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((100, d), dtype=np.float32)
    return normalised(centres[rng.integers(0, 100, n)] + 1.5 * rng.standard_normal((n, d), dtype=np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--queries", type=int, default=2_000, help="rows that faiss searches for per round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rows = example(options.rows, options.width)
    graph: list[tuple[np.ndarray, np.ndarray]] = []
    flat = faiss.IndexFlatIP(options.width)
    flat.add(rows)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    asked = np.random.default_rng(1).permutation(len(rows))[: options.rounds * options.queries]
    parts = np.array_split(asked, options.rounds)

    def search(part: np.ndarray) -> float:
        return measure(lambda: found.append(flat.search(rows[part], K + 1))).cpu / len(part)

    def products() -> None:
        for start in range(0, len(rows), BLOCK):
            rows[start : start + BLOCK] @ rows[:BLOCK].T

    before = [search(part) for part in parts[: len(parts) // 2]]
    ours = measure(lambda: graph.append(nearest(rows, K))).cpu
    searches = before + [search(part) for part in parts[len(parts) // 2 :]]
    alone = statistics.median(measure(products).cpu for _ in range(options.rounds))
    index, similarity = graph[0]
    same, least = 0, 0.0
    for part, (theirs, numbers) in zip(parts, found, strict=True):
        for row, near, others in zip(part, theirs, numbers, strict=True):
            keep = others != row
            same += len(np.intersect1d(index[row], others[keep][:K]))
            least = max(least, float(np.abs(similarity[row] - near[keep][:K]).max()))
    peer = statistics.median(searches) * len(rows)
    limit = alone / BLOCK * len(rows) / 2
    everything = np.arange(len(rows))
    near: list[tuple[np.ndarray, np.ndarray, float]] = []
    approximate = measure(
        lambda: near.append(nearest_in_clusters(clusters(rows, everything, everything, np.random.default_rng(0)), K))
    ).cpu
    report = {
        "what": f"{K} nearest neighbours of {options.rows} unit vectors of {options.width}, exact, float32",
        "goal": f"cpu_ours_to_faiss <= {MOST_TIMES_PEER}, recall 1",
        "cpu_s": {"ours": round(ours, 1), "faiss_flat": round(peer, 1), "limit_half_the_products": round(limit, 1)},
        "faiss_extrapolated_from_queries": sum(map(len, parts)),
        "cpu_ours_to_faiss": round(ours / peer, 3),
        "cpu_ours_to_limit": round(ours / limit, 3),
        "among_near_clusters": {"cpu_s": round(approximate, 1), "recall": round(near[0][2], 4)},
        "recall": round(same / K / sum(map(len, parts)), 6),
        "largest_difference_of_similarity": least,
        "met": ours <= MOST_TIMES_PEER * peer and least < 1e-5,
        "versions": {name: version(name) for name in ("faiss-cpu", "numpy")},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
