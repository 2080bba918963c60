"""Compute how far labelers agree beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from variorum.evaluation.safety.truth_arrays import Answerer
from variorum.kit.raters.agreement import cohen_kappa, krippendorff_alpha
from variorum.schemas.canonical import Json


def agreement(labelers: Sequence[Answerer], categories: Sequence[str]) -> dict[str, Json]:
    """By category that two or more labelers answer: Krippendorff's α over all of them, and κ of each pair.

    A pair has `of`, the two names, `n`, the number of pictures that both answer, `same`, the percentage on which they
    agree, and `kappa`. α and κ are None where all answers are the same, which leaves chance nothing to differ from.
    """
    found: dict[str, Json] = {}
    for name in categories:
        there = [one for one in labelers if name in one.scores and np.isfinite(one.scores[name]).any()]
        if len(there) < 2:
            continue
        answered = np.stack([np.isfinite(one.scores[name]) for one in there])
        calls = np.stack([one.calls(name) for one in there])
        counts = np.stack([(answered & ~calls).sum(axis=0), (answered & calls).sum(axis=0)], axis=1)
        pairs: list[Json] = []
        for one, other in combinations(range(len(there)), 2):
            both = answered[one] & answered[other]
            if both.any():
                first, second = calls[one, both], calls[other, both]
                table = np.bincount(2 * first + second, minlength=4).reshape(2, 2)
                pairs.append(
                    {
                        "of": [there[one].name, there[other].name],
                        "n": int(both.sum()),
                        "same": round(100 * float((first == second).mean()), 2),
                        "kappa": _number(cohen_kappa(table)),
                    }
                )
        found[name] = {"labelers": len(there), "alpha": _number(krippendorff_alpha(counts)), "pairs": pairs}
    return found


def _number(value: float) -> float | None:
    return round(value, 4) + 0.0 if np.isfinite(value) else None
