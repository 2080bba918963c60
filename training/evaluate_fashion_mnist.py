"""Measure the packaged Fashion-MNIST models: the figures of their model cards.

The judge's accuracy is measured on the real test set. Agreement is the share of generated pictures whose likeliest
class, by the judge, is the requested one; it isn't expected to exceed that accuracy. Diversity is the mean distance
between two pictures of a class, and novelty the mean distance to the nearest training picture, both relative to real
test pictures; copies of training pictures have a novelty near 0.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.fashion_mnist import CLASSES, DEBIAN, read
from variorum.models import ModelTable
from variorum.schemas.canonical import derive_seed

BATCH = 50


def flat(images: NDArray[Any]) -> NDArray[np.float32]:
    """Grey pictures `[N, 28, 28]` as vectors in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances `[len(a), len(b)]`."""
    sums = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.maximum(sums, 0)


def spread(images: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean distance between two pictures of one class, averaged over classes."""
    vectors = flat(images)
    of_class = [vectors[labels == label] for label in range(len(CLASSES))]
    means = [np.sqrt(squared_distances(v, v)).sum() / (len(v) * (len(v) - 1)) for v in of_class if len(v) > 1]
    return float(np.mean(means))


def nearest(images: NDArray[Any], train: NDArray[np.float32]) -> float:
    """Mean distance to the nearest training picture."""
    vectors = flat(images)
    parts = [squared_distances(vectors[i : i + 200], train).min(1) for i in range(0, len(vectors), 200)]
    return float(np.sqrt(np.concatenate(parts)).mean())


def shares(right: NDArray[np.bool_], labels: NDArray[Any]) -> dict[str, float]:
    """Share that is right, by class."""
    return {name: round(float(right[labels == label].mean()), 3) for label, name in enumerate(CLASSES)}


def evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, by guidance weight."""
    import torch

    torch.set_num_threads(1)
    table = ModelTable("embedded")
    model, judge = table.get(arguments.model), table.get(arguments.judge)
    real, classes = read("t10k", arguments.data)
    right = judge([np.repeat(image[..., None], 3, -1) for image in real]).argmax(1) == classes
    train = flat(read("train", arguments.data)[0])
    labels = np.arange(arguments.n) % len(CLASSES)
    seeds = [derive_seed("evaluate_fashion_mnist", arguments.seed, int(k)) for k in range(arguments.n)]
    real_spread, real_nearest = spread(real[: arguments.n], classes[: arguments.n]), nearest(real[: arguments.n], train)
    found: dict[str, Any] = {
        "model": table.pin(arguments.model),
        "judge": table.pin(arguments.judge),
        "judge_accuracy": round(float(right.mean()), 4),
        "judge_accuracy_per_class": shares(right, classes),
        "n": arguments.n,
        "sampler": arguments.sampler,
        "steps": arguments.steps,
    }
    for weight in arguments.guidance:
        began = time.process_time()
        settings = {"guidance": weight, "steps": arguments.steps, "sampler": arguments.sampler}
        parts = [
            model(labels[i : i + BATCH].tolist(), seeds[i : i + BATCH], **settings)
            for i in range(0, len(labels), BATCH)
        ]
        images = np.concatenate(parts)
        seconds = time.process_time() - began
        agrees = judge(list(images)).argmax(1) == labels
        found[f"guidance_{weight:g}"] = {
            "agreement": round(float(agrees.mean()), 4),
            "per_class": shares(agrees, labels),
            "diversity": round(spread(images[..., 0], labels) / real_spread, 3),
            "novelty": round(nearest(images[..., 0], train) / real_nearest, 3),
            "cpu_ms_a_picture": round(1000 * seconds / len(labels), 1),
        }
    return found


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="class_conditional", help="alias")
    parser.add_argument("--judge", default="judge", help="alias")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    parser.add_argument("--n", type=int, default=1000, help="pictures per guidance weight, evenly over the classes")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--sampler", choices=["ddim", "dpm++"], default="dpm++")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the four IDX files")
    print(json.dumps(evaluate(parser.parse_args()), indent=1))


if __name__ == "__main__":
    main()
