"""Intrinsic dimension of 10,000 embeddings: CPU seconds beside scikit-dimension, and beside the neighbour search alone.

The points are those of a plane with noise, in as many dimensions as an encoder's embeddings. All that the evaluation
`intrinsic_properties` computes of one space is timed: copies, the estimate, TwoNN, 20 subsamples, the Gaussian and the
label sharpness of 1,000 points. The peer computes the estimate and TwoNN, each with its own search. The limit is
faiss's exact search for the neighbours, once. The second part holds the estimates against Gaussians of known dimension.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import faiss
import numpy as np

from variorum.arrays import Singles
from variorum.evaluation.intrinsic.dimension import maximum_likelihood, neighbours, two_nearest
from variorum.evaluation.intrinsic.sharpness import label_sharpness
from variorum.evaluation.intrinsic.spaces import dimensions, sharpness

K = 20


def on_a_plane(n: int, flat: int, ambient: int) -> Singles:
    rng = np.random.default_rng(0)
    turned = rng.standard_normal((n, flat), np.float32) @ rng.standard_normal((flat, ambient), np.float32)
    return np.asarray(turned + 0.1 * rng.standard_normal((n, ambient), np.float32), np.float32)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def searched(points: Singles) -> None:
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    index.search(points, K + 1)


def ours(points: Singles) -> dict[str, Any]:
    labels = [(str(row % 10),) for row in range(len(points))]
    figures, _ = dimensions(points, K, 1000, 0)
    return {**figures, "sharpness": sharpness(points[:1000], labels[:1000])}


def known(repeats: int) -> dict[str, dict[str, float]]:
    """Mean estimates for Gaussians of known dimension."""
    found = {}
    for flat in (2, 5, 20):
        for n in (200, 1000):
            draws = [np.random.default_rng(seed).standard_normal((n, flat), np.float32) for seed in range(repeats)]
            near = [neighbours(points, K)[1] for points in draws]
            found[f"{flat}-d, n = {n}"] = {
                "maximum_likelihood": round(float(np.mean([maximum_likelihood(one) for one in near])), 2),
                "two_nearest": round(float(np.mean([two_nearest(one) for one in near])), 2),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    try:
        import skdim
    except ModuleNotFoundError:
        raise SystemExit("the peer isn't installed: pip install scikit-dimension") from None
    faiss.omp_set_num_threads(1)
    points = on_a_plane(options.points, 12, options.width)
    limit, _ = seconds(lambda: searched(points))
    mine, figures = seconds(lambda: ours(points))
    estimate, peer = seconds(lambda: skdim.id.MLE(K=K).fit(points, n_neighbors=K, comb="mle"))
    twonn, other = seconds(lambda: skdim.id.TwoNN(discard_fraction=0.1).fit(points))
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 224 * 224 * 3), np.uint8)
    labels = [(str(row % 2),) for row in range(1000)]
    of_pixels, _ = seconds(lambda: label_sharpness(pixels, labels, 1 / 255))
    report = {
        "what": f"{options.points} points of width {options.width}, {K} neighbours, one thread",
        "cpu_seconds": {
            "all figures": round(mine, 2),
            "search alone (limit)": round(limit, 2),
            "scikit-dimension MLE": round(estimate, 2),
            "scikit-dimension TwoNN": round(twonn, 2),
            "label sharpness of 1,000 pictures at 224 px": round(of_pixels, 2),
        },
        "goal_seconds": 20,
        "ratio_to_peer": round((estimate + twonn) / mine, 2),
        "ratio_to_limit": round(mine / limit, 2),
        "estimates": {
            "ours": [figures["dimension"]["value"], figures["dimension"]["two_nearest"]],
            "peer": [round(float(peer.dimension_), 2), round(float(other.dimension_), 2)],
        },
        "known": known(options.repeats),
        "versions": {name: version(name) for name in ("scikit-dimension", "faiss-cpu", "numpy")},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
