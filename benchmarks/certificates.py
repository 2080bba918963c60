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


def main() -> None:
    """Print the ratio of CPU times as JSON; the goal is 1.05."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50)
    asked = parser.parse_args()
    source: Any = build_component("source", {"name": "fashion_mnist", "part": "test"}, "source")
    ctx = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute())
    ctx = replace(ctx, classes=source.classes(ctx))
    samples, judge = list(source.read(0, asked.pictures, ctx)), ctx.models.get("judge")
    evaluation = CertifiedAccuracy(classifiers=("judge + smoothed sigma=.25",))

    def votes() -> None:
        for place, sample in enumerate(samples):
            rng, clean = np.random.default_rng(place), sample.image[..., 0] / np.float32(255)
            for count in (64, 36, *[64] * 15, 40):
                noisy = clean + np.float32(0.25) * rng.standard_normal((count, 28, 28), np.float32)
                levels = (noisy.clip(0, 1) * 255).round().astype(np.uint8)
                np.bincount(judge([np.repeat(one[..., None], 3, 2) for one in levels]).argmax(1), minlength=10)

    with one_thread():
        timed = rounds({"certificates": lambda: list(evaluation.measure(samples, ctx)), "votes": votes}, 3)
    seconds = round(median(timed, "certificates"), 2)
    found = {"pictures": len(samples), "ratio": ratio(timed, "certificates", "votes"), "cpu_seconds": seconds}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
