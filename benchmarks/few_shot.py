"""Scoring of few-shot episodes: CPU seconds beside scikit-learn, an episode at a time, and beside a multiplication.

600 episodes of five classes, one and five supports, 15 queries in each of five difficulties, as the evaluation scores
them. The embeddings are random clusters: what is timed doesn't depend on them, but for the steps of scikit-learn's
logistic regression. `limit` multiplies as many queries with as many weights, gathered beforehand. `per_query` is a fit
for each query, as RD-FSL's published program does it, measured on a few episodes. `figures` is the whole evaluation of
an edition, from the listing to all figures with their intervals, without the encoder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import NearestCentroid
from threadpoolctl import threadpool_limits

from variorum.arrays import Ints, Singles
from variorum.evaluation.few_shot.few_shot_accuracy import FewShotAccuracy
from variorum.generators.few_shot.drawing import Picture, draw, stock
from variorum.kit.embeddings.episodes import METHODS, predictions, unit
from variorum.schemas.component import Context
from variorum.schemas.table import Table

SIZE, CLASSES, WAY, QUERIES, DIFFICULTIES, SHOTS = 1280, 8, 5, 15, 5, (1, 5)
PHOTOGRAPHS = 30
NAMES = ("clean", "camouflaged", "small", "blurred", "low_light")
PENALTY = 1.0
GOAL = 30.0


def clusters(rng: np.random.Generator) -> Singles:
    """Embeddings `[classes * photographs * difficulties, d]` of length 1, by class, photograph and difficulty."""
    middles = rng.standard_normal((CLASSES, 1, 1, SIZE))
    photographs = middles + rng.standard_normal((CLASSES, PHOTOGRAPHS, 1, SIZE)) * 2
    pictures = photographs + rng.standard_normal((CLASSES, PHOTOGRAPHS, DIFFICULTIES, SIZE))
    return unit(pictures.reshape(-1, SIZE).astype(np.float32))


def episodes(count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows of supports `[E, W, K]` and of queries `[E, D * W * Q]`."""
    supports = np.empty((count, WAY, max(SHOTS)), np.int64)
    queries = np.empty((count, DIFFICULTIES, WAY, QUERIES), np.int64)
    for number in range(count):
        for place, label in enumerate(rng.choice(CLASSES, WAY, replace=False)):
            drawn = (label * PHOTOGRAPHS + rng.permutation(PHOTOGRAPHS)[: max(SHOTS) + QUERIES]) * DIFFICULTIES
            supports[number, place] = drawn[: max(SHOTS)]
            queries[number, :, place] = drawn[max(SHOTS) :] + np.arange(DIFFICULTIES)[:, None]
    return supports, queries.reshape(count, -1)


def timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def ours(embeddings: Singles, supports: Ints, queries: Ints) -> dict[int, dict[str, Ints]]:
    return {shot: dict(predictions(embeddings, supports[:, :, :shot], queries, PENALTY)) for shot in SHOTS}


def peer(embeddings: Singles, supports: Ints, queries: Ints, model: Callable[[], object]) -> dict[int, Ints]:
    """A model of scikit-learn, fitted once an episode."""
    found = {}
    for shot in SHOTS:
        labels = np.repeat(np.arange(WAY), shot)
        taken = []
        for given, asked in zip(supports[:, :, :shot], queries, strict=True):
            fitted = model().fit(embeddings[given.ravel()], labels)  # type: ignore[attr-defined]
            taken.append(fitted.predict(embeddings[asked]))
        found[shot] = np.array(taken)
    return found


def per_query(embeddings: Singles, supports: Ints, queries: Ints) -> None:
    for shot in SHOTS:
        labels = np.repeat(np.arange(WAY), shot)
        for given, asked in zip(supports[:, :, :shot], queries, strict=True):
            for one in asked:
                LogisticRegression().fit(embeddings[given.ravel()], labels).predict(embeddings[[one]])


def multiplied(embeddings: Singles, queries: Ints) -> float:
    """Seconds of bare multiplications: queries times the weights of two methods and two shots."""
    count, most = queries.shape
    step = max(1, 16_000_000 // (most * SIZE))
    asked, weights = embeddings[queries[:step]], np.ones((step, SIZE, WAY), np.float32)
    began = time.process_time()
    for _ in range(len(METHODS) * len(SHOTS)):
        for start in range(0, count, step):
            part = min(step, count - start)
            _ = asked[:part] @ weights[:part]
    return time.process_time() - began


def figures(embeddings: Singles, count: int, rng: np.random.Generator) -> float:
    """Seconds of the evaluation from a listing of as many episodes."""
    pictures = [
        Picture(
            f"{(label * PHOTOGRAPHS + number) * DIFFICULTIES + place:08d}", *[f"{label} {number}"] * 2, name, f"{label}"
        )
        for label in range(CLASSES)
        for number in range(PHOTOGRAPHS)
        for place, name in enumerate(NAMES)
    ]
    listing = draw(
        stock(pictures, NAMES[0]),
        rng,
        way=WAY,
        shot=SHOTS,
        queries=QUERIES,
        episodes=count,
        clean=NAMES[0],
        difficulties=NAMES,
    )
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), SIZE)
    ids = [picture.id for picture in pictures]
    table = Table(pa.table({"id": ids, "photograph": [one.photograph for one in pictures], "embedding": vectors}))
    columns = {name: np.array(values) for name, values in listing.items()}
    ctx = Context(0, None, None, listings={"episodes": columns})  # type: ignore[arg-type]
    return timed(lambda: FewShotAccuracy().figures(table, ctx))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--few", type=int, default=3, help="episodes that are fitted per query")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    embeddings = clusters(rng)
    supports, queries = episodes(options.episodes, rng)
    with threadpool_limits(1):
        found = ours(embeddings, supports, queries)
        seconds = min(timed(lambda: ours(embeddings, supports, queries)) for _ in range(3))
        limit = min(multiplied(embeddings, queries) for _ in range(3))
        times, agreement = {}, {}
        models: dict[str, tuple[str, Callable[[], object]]] = {
            "NearestCentroid": ("centroid", NearestCentroid),
            "RidgeClassifier": ("ridge", lambda: RidgeClassifier(alpha=PENALTY)),
            "LogisticRegression": ("", LogisticRegression),
        }
        for name, (method, model) in models.items():
            began = time.process_time()
            with np.errstate(invalid="ignore"):  # NearestCentroid divides 0 by 0 for one support
                theirs = peer(embeddings, supports, queries, model)
            times[name] = time.process_time() - began
            if method:
                agreement[name] = float(np.mean([(theirs[shot] == found[shot][method]).mean() for shot in SHOTS]))
        whole = figures(embeddings, options.episodes, rng)
        few = timed(lambda: per_query(embeddings, supports[: options.few], queries[: options.few]))
    both = times["NearestCentroid"] + times["LogisticRegression"]
    report = {
        "what": f"{options.episodes} episodes of {WAY} classes, {'- and '.join(map(str, SHOTS))}-shot, {QUERIES} "
        f"queries in {DIFFICULTIES} difficulties, {SIZE} numbers a picture, both methods",
        "cpu_seconds": round(seconds, 2),
        "figures_cpu_seconds": round(whole, 2),
        "goal_seconds": GOAL,
        "peer_seconds": {name: round(one, 2) for name, one in times.items()},
        "ratio_to_centroid_and_logistic_regression": round(both / seconds, 1),
        "same_answers": {name: round(one, 5) for name, one in agreement.items()},
        "limit_seconds": round(limit, 2),
        "over_limit": round(seconds / limit, 2),
        "per_query_hours": round(few / options.few * options.episodes / 3600, 2),
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
