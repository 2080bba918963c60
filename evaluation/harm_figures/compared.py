"""How far labelers agree beyond chance, whoever is right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from variorum.curation.panel.agreement import krippendorff_alpha
from variorum.evaluation.harm_figures.judged import Answerer
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Bools


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
                pairs.append(
                    {
                        "of": [there[one].name, there[other].name],
                        "n": int(both.sum()),
                        "same": round(100 * float((first == second).mean()), 2),
                        "kappa": _number(cohen_kappa(first, second)),
                    }
                )
        found[name] = {"labelers": len(there), "alpha": _number(krippendorff_alpha(counts)), "pairs": pairs}
    return found


def cohen_kappa(first: Bools, second: Bools) -> float:
    """Cohen's κ of two raters' answers `[n]`: 1 for full agreement, 0 for chance (Cohen 1960).

    NaN if both always give the same one answer, or without answers.
    """
    if not len(first):
        return float("nan")
    one, other, same = float(first.mean()), float(second.mean()), float((first == second).mean())
    chance = one * other + (1 - one) * (1 - other)
    return (same - chance) / (1 - chance) if chance < 1 else float("nan")


def _number(value: float) -> float | None:
    return round(value, 4) + 0.0 if np.isfinite(value) else None
