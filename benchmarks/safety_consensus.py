"""Weigh opinions on unsafe pictures: 100,000 pictures, six labelers, eleven categories.

Timed is all that `safety` does after the labelers have been asked: probabilities, states, questions to people and the
member of each picture. Answers are drawn from known tables, so how often the result is right is known too. Peers:
crowd-kit's Dawid–Skene, if that is installed, on one category, times eleven; and the share of the votes for the same
pictures. Limit: comparing every score with its threshold and hashing every row of answers once. Rounds are interleaved,
times are CPU times, ratios are medians of ratios within a round. Memory is that of a process of its own, for a tenth of
the pictures and for all.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from timing import median, peak_mb, ratio, rounds

from variorum.arrays import Bools
from variorum.curation.safety.harms.weighing import Weighing, weighed
from variorum.curation.safety.safety import Safety
from variorum.kit.harms.categories import unsafebench
from variorum.schemas.component import Context
from variorum.schemas.safety import Category, Labeler, Opinion, Shown
from variorum.schemas.table import Table

os.environ.setdefault("OMP_NUM_THREADS", "1")
MOST_SECONDS = 5.0
LABELERS = ((0.98, 0.85), (0.95, 0.8), (0.9, 0.9), (0.97, 0.6), (0.8, 0.7), (0.7, 0.6))
"""Share of right answers where the truth is no, and where it is yes."""
UNSAFE, SILENT = 0.05, 0.1
"""Share of unsafe pictures of each category, and of answers that are missing."""


class Drawn(Labeler):
    """A labeler whose answers are drawn."""

    number: int = 0

    def scored(self) -> tuple[str, ...]:
        """All categories."""
        return tuple(one.id for one in unsafebench())

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """Not asked."""
        raise NotImplementedError


def drawn(pictures: int, categories: Sequence[Category]) -> tuple[tuple[Drawn, ...], Table, Bools]:
    """Labelers, the table of their scores, and the truths `[N, K]`."""
    rng = np.random.default_rng(0)
    truth = rng.random((pictures, len(categories))) < UNSAFE
    ids = [f"{row:032x}" for row in range(pictures)]
    columns: dict[str, Any] = {"id": pa.array(ids), "sha256": pa.array(ids)}
    labelers = tuple(Drawn(label=f"labeler_{number}", number=number) for number in range(len(LABELERS)))
    for one, (on_no, on_yes) in zip(labelers, LABELERS, strict=True):
        for place, category in enumerate(categories):
            right = rng.random(pictures) < np.where(truth[:, place], on_yes, on_no)
            score = np.where(right == truth[:, place], 0.9, 0.1)
            score[rng.random(pictures) < SILENT] = np.nan
            columns[f"safety.{one.called}.{category.id}"] = pa.array(score)
        columns[f"safety.{one.called}.heard"] = pa.array(["ok"] * pictures)
    return labelers, Table(pa.table(columns), "safety"), truth


def limit(table: Table) -> int:
    """Every score compared with its threshold, every row of answers hashed once."""
    found = 0
    for one in unsafebench():
        packed = np.zeros(len(table), np.int64)
        for number in range(len(LABELERS)):
            scores = table[f"labeler_{number}.{one.id}"]
            packed |= np.where(np.isnan(scores), 0, 1 + (scores >= 0.5)).astype(np.int64) << (2 * number)
        found += len(np.unique(packed))
    return found


def peer(table: Table, steps: int) -> Any:
    """crowd-kit on one category."""
    import pandas as pd
    from crowdkit.aggregation.classification.dawid_skene import DawidSkene

    category = unsafebench()[0].id
    scores = np.stack([table[f"labeler_{number}.{category}"] for number in range(len(LABELERS))], axis=1)
    task, worker = np.nonzero(~np.isnan(scores))
    frame = pd.DataFrame({"task": task, "worker": worker, "label": (scores[task, worker] >= 0.5).astype(int)})
    return DawidSkene(n_iter=steps, tol=0).fit_predict_proba(frame)


def right(p: Any, truth: Any) -> float:
    """Share of cells on the right side of a half."""
    return round(float(((p >= 0.5) == truth).mean()), 5)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-memory", action="store_true", help="weigh once, and print the peak memory")
    options = parser.parse_args()
    categories = unsafebench()
    labelers, table, truth = drawn(options.pictures, categories)
    step, ctx = Safety(labelers=labelers), Context(0, None, None)  # type: ignore[arg-type]
    if options.only_memory:
        before = peak_mb()
        step.score(table, ctx)
        print(json.dumps({"table_mb": round(before), "peak_mb": round(peak_mb())}))
        return
    work: dict[str, Any] = {"variorum": lambda: step.score(table, ctx), "limit": lambda: limit(table)}
    if importlib.util.find_spec("crowdkit"):
        work["crowdkit_one_category"] = lambda: peer(table, 10)
    timed = rounds(work, options.rounds)
    found = weighed(labelers, categories, table, None, Weighing())
    p, share = (np.stack([getattr(one, name)[one.cell] for one in found], axis=1) for name in ("p", "share"))
    seconds = median(timed, "variorum")
    result = {
        "pictures": options.pictures,
        "labelers": len(labelers),
        "categories": len(categories),
        "cpu_seconds": round(seconds, 3),
        "goal_seconds": MOST_SECONDS,
        "goal_met": seconds <= MOST_SECONDS,
        "times_limit": ratio(timed, "variorum", "limit"),
        "weighed_by": sorted({one.by for one in found}),
        "right": {"variorum": right(p, truth), "share_of_votes": right(share, truth)},
    }
    if "crowdkit_one_category" in work:
        times = len(categories) * ratio(timed, "crowdkit_one_category", "variorum")
        result["crowdkit_times_ours"] = round(times, 1)
        result["right_one_category"] = {
            "variorum": right(p[:, 0], truth[:, 0]),
            "crowdkit": right(np.asarray(peer(table, 10)[1].sort_index()), truth[:, 0]),
        }
    memory = [
        json.loads(
            subprocess.run(
                [sys.executable, __file__, "--only-memory", "--pictures", str(number)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for number in (options.pictures // 10, options.pictures)
    ]
    print(json.dumps({**result, "memory": memory}, indent=2))


if __name__ == "__main__":
    main()
