"""Published panels, recomputed: the reviewed mistakes of two ImageNet models, and the raters of ReaL.

Both datasets are licensed under Apache-2.0 and are not part of this project:

    github.com/google-research/imagenet-mistakes      -> <folder>/imagenet-mistakes/*.json
    github.com/google-research/reassessed-imagenet    -> <folder>/real/{raters,scores,golden}.npz, real.json

The time of the consensus is compared with crowd-kit's Dawid–Skene, if that is installed, and with a limit: the minimum
number of passes over all answers for the same number of EM steps. Rounds are interleaved, times are CPU times, ratios
are medians of ratios within a round.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from people_mistakes import Mistake, read_mistakes

from variorum.arrays import Bools, Floats, Ints
from variorum.kit.raters.agreement import answer_counts, gwet_ac1, krippendorff_alpha
from variorum.kit.raters.dawid_skene import ANSWERS, Consensus, dawid_skene, vote_share

NEEDED = (
    "imagenet-mistakes/vit3b_mistakes.json",
    "imagenet-mistakes/greedy_soups_mistakes.json",
    "imagenet-mistakes/class_confusion_wnids.json",
    "real/raters.npz",
    "real/scores.npz",
    "real/golden.npz",
    "real/real.json",
)
EXPECTED = {
    "vit3b": {
        "fine_grained": 241,
        "fine_grained_oov": 54,
        "spurious_correlation": 52,
        "non_prototypical": 30,
        "fine_grained_multi_label": 1,
    },
    "greedy_soups": {"fine_grained": 172, "fine_grained_oov": 26, "spurious_correlation": 32, "non_prototypical": 19},
}


def counts(mistakes: dict[str, Mistake]) -> dict[str, Any]:
    return {
        "mistakes": len(mistakes),
        "category": dict(Counter(one.category for one in mistakes.values()).most_common()),
        "severity": dict(Counter(one.severity for one in mistakes.values()).most_common()),
    }


def mistakes(folder: Path) -> dict[str, Any]:
    """Categories, severities and overlap of two models' mistakes."""
    vit3b, soups = (read_mistakes(folder / f"{name}_mistakes.json") for name in ("vit3b", "greedy_soups"))
    major_vit, major_soups = (
        {picture for picture, one in found.items() if one.severity == "major"} for found in (vit3b, soups)
    )
    pairs = json.loads((folder / "class_confusion_wnids.json").read_text())
    report = {
        "vit3b": counts(vit3b),
        "greedy_soups": counts(soups),
        "common": len(vit3b.keys() & soups.keys()),
        "major_in_both": len(major_vit & major_soups),
        "major_of_vit3b_no_mistake_of_soups": len(major_vit - soups.keys()),
        "confused_pairs": [len(pairs), sum(pair[2] for pair in pairs)],
    }
    return {**report, "categories_as_published": all(report[name]["category"] == EXPECTED[name] for name in EXPECTED)}


def real(folder: Path, rounds: int) -> dict[str, Any]:
    """ReaL's published labels from its published scores, and the scores from the raters' answers."""
    scores, raters = np.load(folder / "scores.npz"), np.load(folder / "raters.npz")
    names, labels, published = scores["info"][:, 0].tolist(), scores["info"][:, 1].astype(int), scores["tensor"]
    assert (scores["info"] == raters["info"]).all()
    who, cell, answer = np.nonzero(raters["tensor"])
    kept = json.loads((folder / "real.json").read_text())
    truth = {f"ILSVRC2012_val_{i + 1:08d}.JPEG": sorted(found) for i, found in enumerate(kept)}

    def match(p: Floats, threshold: float = 0.8) -> float:
        """Share of pictures with exactly the published labels."""
        sets: dict[str, list[int]] = {name: [] for name in names}
        for row in np.flatnonzero(p >= threshold):
            sets[names[row]].append(int(labels[row]))
        return sum(truth[name] == sorted(found) for name, found in sets.items()) / len(sets)

    found, times = timed(cell, who, answer, rounds)
    merged = np.where(answer == 1, 2, answer)
    golden = np.load(folder / "golden.npz")
    counted = answer_counts(cell, answer, len(labels), ANSWERS)
    votes = counted.sum(axis=1)
    place = {tuple(key): i for i, key in enumerate(map(tuple, scores["info"].tolist()))}
    experts = vote_share(*reversed_nonzero(golden["tensor"]), len(golden["info"])) >= 0.5
    there = np.array([place.get(tuple(key), -1) for key in golden["info"].tolist()])
    known = there >= 0
    return {
        "answers": len(answer),
        "cells": len(labels),
        "pictures": len(set(names)),
        "shares_no_maybe_yes": [round(float(share), 4) for share in np.bincount(answer) / len(answer)],
        "labels_from_published_scores_at_0.8": f"{round(match(published) * len(set(names)))}/{len(set(names))}",
        "consensus": {
            "steps": found.steps,
            "prior": round(found.prior, 4),
            "pearson_with_published": round(float(np.corrcoef(found.p, published)[0, 1]), 4),
            "mean_absolute_difference": round(float(np.abs(found.p - published).mean()), 4),
            "cells_alike_at_0.8": round(float(((found.p >= 0.8) == (published >= 0.8)).mean()), 4),
            "pictures_with_the_same_labels": round(match(found.p), 4),
            "after_3_steps": round(match(dawid_skene(cell, who, answer, max_steps=3).p), 4),
            "with_maybe_merged_into_yes": round(match(dawid_skene(cell, who, merged).p), 4),
            "with_maybe_merged_into_yes_after_2_steps": round(match(dawid_skene(cell, who, merged, max_steps=2).p), 4),
            "with_a_uniform_prior": round(match(dawid_skene(cell, who, answer, share=0.5).p), 4),
        },
        "pictures_with_the_same_labels_by_counting": {
            "yes_and_half_of_maybe_at_0.4": round(match(vote_share(cell, answer, len(labels)), 0.4), 4),
            "yes_or_maybe_majority": round(match(counted[:, 1:].sum(axis=1) / votes, 0.5), 4),
            "yes_by_two_of_five": round(match(counted[:, 2] / votes, 0.4), 4),
            "yes_majority": round(match(counted[:, 2] / votes, 0.5), 4),
        },
        "experts": {
            "cells_in_common": int(known.sum()),
            "consensus_agrees_at_0.5": agreement(found.p, experts, there, known),
            "published_agrees_at_0.5": agreement(published, experts, there, known),
        },
        "raters_agree": {
            "krippendorff_alpha": round(krippendorff_alpha(counted), 4),
            "gwet_ac1": round(gwet_ac1(counted), 4),
        },
        **times,
    }


def reversed_nonzero(tensor: Floats) -> tuple[Ints, Ints]:
    """Cells and answers of a tensor `[raters, cells, answers]`."""
    _, cell, answer = np.nonzero(tensor)
    return cell, answer


def agreement(p: Floats, truth: Bools, there: Ints, known: Bools) -> float | None:
    return round(float(((p[there[known]] >= 0.5) == truth[known]).mean()), 4) if known.any() else None


def timed(cell: Ints, who: Ints, answer: Ints, rounds: int) -> tuple[Consensus, dict[str, Any]]:
    """The consensus, and its CPU time with those of the peer and the limit."""
    found = dawid_skene(cell, who, answer)
    habit, logs = who * ANSWERS + answer, np.zeros((2, (who.max() + 1) * ANSWERS))

    def limit() -> None:
        for _ in range(found.steps):
            np.bincount(habit, weights=found.p[cell])
            for of_habit in logs:
                np.bincount(cell, weights=of_habit[habit])

    work: dict[str, Callable[[], Any]] = {"variorum": lambda: dawid_skene(cell, who, answer), "limit_passes": limit}
    if importlib.util.find_spec("crowdkit"):
        import pandas as pd
        from crowdkit.aggregation.classification.dawid_skene import DawidSkene

        frame = pd.DataFrame({"task": cell, "worker": who, "label": answer})
        work["crowdkit"] = lambda: DawidSkene(n_iter=found.steps, tol=0).fit(frame)
    names, times = list(work), {name: list[float]() for name in work}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            began = time.process_time()
            work[name]()
            times[name].append(time.process_time() - began)
    return found, {
        "cpu_seconds": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "times_ours": {
            name: round(statistics.median(b / a for a, b in zip(times["variorum"], values, strict=True)), 2)
            for name, values in times.items()
        },
        "steps_of_each": found.steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("panels"), help="folder with the two datasets")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    missing = [name for name in NEEDED if not (options.folder / name).is_file()]
    if missing:
        print(f"{options.folder} lacks {', '.join(missing)}; --help says where to get them", file=sys.stderr)
        print(json.dumps({"skipped": f"no published panels in {options.folder}", "missing": missing}))
        return
    report = {
        "what": "published panels: mistakes of two models (arXiv 2205.04596), raters of ReaL (arXiv 2006.07159)",
        "rounds": options.rounds,
        "mistakes": mistakes(options.folder / "imagenet-mistakes"),
        "real": real(options.folder / "real", options.rounds),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
