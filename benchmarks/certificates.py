"""What certificates cost beside as many votes in a plain loop: the judge on pictures of Fashion-MNIST, σ = 0.25."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.timing import median, ratio, rounds
from variorum.evaluation.defences.certified_accuracy import CertifiedAccuracy
from variorum.models import ModelTable
from variorum.models.device import one_thread
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component

SIGMA = 0.25


def cost(pictures: int, number: int) -> dict[str, Any]:
    """CPU time of certificates with 1,100 votes each, and its ratio to that of the votes alone."""
    source: Any = build_component("source", {"name": "fashion_mnist", "part": "test"}, "source")
    ctx = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute())
    ctx = replace(ctx, classes=source.classes(ctx))
    samples, judge = list(source.read(0, pictures, ctx)), ctx.models.get("judge")
    evaluation = CertifiedAccuracy(classifiers=(f"judge + smoothed sigma={SIGMA:g}",))

    def votes() -> None:
        for place, sample in enumerate(samples):
            rng, clean = np.random.default_rng(place), sample.image[..., 0].astype(np.float32) / np.float32(255)
            for start in range(0, evaluation.n0 + evaluation.n, 64):
                count = min(64, evaluation.n0 + evaluation.n - start)
                noisy = clean + np.float32(SIGMA) * rng.standard_normal((count, 28, 28), np.float32)
                levels = (noisy.clip(0, 1) * 255).round().astype(np.uint8)
                np.bincount(judge([np.repeat(one[..., None], 3, 2) for one in levels]).argmax(1), minlength=10)

    timed = rounds({"certificates": lambda: list(evaluation.measure(samples, ctx)), "votes": votes}, number)
    seconds = median(timed, "certificates")
    return {
        "pictures": pictures,
        "ratio": ratio(timed, "certificates", "votes"),
        "goal": 1.05,
        "cpu_seconds": round(seconds, 2),
        "ms_per_vote": round(1000 * seconds / pictures / (evaluation.n0 + evaluation.n), 3),
    }


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with one_thread():
        print(json.dumps(cost(asked.pictures, asked.rounds)), flush=True)


if __name__ == "__main__":
    main()
