"""Accuracy, drops and differences between models, computed from their answers.

The measures are those of `accuracy_drop`: accuracy(original) - accuracy(edited) in percentage points, paired by
photograph, with percentile intervals of a bootstrap over the photographs (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993, ch. 13). Two models are compared over the pictures that both were scored on, in the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.evaluation.predicted.resamples import Resamples, percent
from variorum.evaluation.results.pictures import Pictures
from variorum.report.results import Figures, Interval, Method, VariantFigures
from variorum.schemas.canonical import derive_seed

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints


class Given(NamedTuple):
    """A model's answers: `[N]` whether each picture was scored, and whether the answer was right."""

    scored: Bools
    correct: Bools


class Counts(NamedTuple):
    """Of the photographs that count: pictures and right answers.

    Attributes:
        sources: `[n]`, their numbers.
        original: `[n]`, 1 where the answer on the original is right; None if no original was scored.
        pictures: `[n, V]`, scored pictures of each variant.
        right: `[n, V]`, right answers.
    """

    sources: Ints
    original: Floats | None
    pictures: Floats
    right: Floats


def figures(pictures: Pictures, given: Given, method: Method) -> Figures:
    """A model's figures.

    Args:
        pictures: of the edition.
        given: its answers.
        method: level of the intervals, number of resamples, and their seed.
    """
    counts = counts_of(pictures, given)
    filled = [place for place in range(len(pictures.variants)) if counts.pictures[:, place].any()]
    edits = [place for place in pictures.edits if place in filled]
    accuracy = {place: counts.right[:, place].sum() / counts.pictures[:, place].sum() for place in filled}
    found: dict[str, VariantFigures] = {}
    drops = _drops(counts, [[place] for place in filled] + ([edits] if edits else []), method)
    for number, place in enumerate(filled):
        before = None
        if counts.original is not None:
            weight = counts.pictures[:, place]
            before = percent((counts.original * weight).sum() / weight.sum())
        found[pictures.variants[place]] = VariantFigures(
            n=int(counts.pictures[:, place].sum()),
            accuracy=percent(accuracy[place]),
            original_accuracy=before,
            drop=drops[number] if drops else None,
        )
    originals = counts.original
    return Figures(
        n=0 if originals is None else len(originals),
        original_accuracy=None if originals is None else percent(originals.mean()),
        accuracy=percent(float(np.mean([accuracy[place] for place in edits]))) if edits else None,
        average_drop=drops[-1] if drops and edits else None,
        variants=found,
    )


def differences(pictures: Pictures, best: Given, others: Sequence[Given], method: Method) -> list[Interval | None]:
    """How much better the best model is than each other, in the average accuracy over the edits.

    Without edits it is the accuracy on the originals. None where no picture was scored for both.
    """
    found: list[Interval | None] = [None] * len(others)
    groups: dict[bytes, dict[int, tuple[Floats, Floats]]] = {}
    for number, other in enumerate(others):
        scored = best.scored & other.scored
        if (pair := _lead(pictures, scored, best, other)) is not None:
            groups.setdefault(scored.tobytes(), {})[number] = pair
    for group in groups.values():  # the same photographs, so the same resamples, which are drawn once
        for number, one in zip(group, _intervals(list(group.values()), method), strict=True):
            found[number] = one
    return found


def _lead(pictures: Pictures, scored: Bools, best: Given, other: Given) -> tuple[Floats, Floats] | None:
    """By photograph and variant, right answers of the best model more than the other's, and pictures, `[n, V]`."""
    first, second = (counts_of(pictures, Given(scored, one.correct)) for one in (best, other))
    edits = [place for place in pictures.edits if first.pictures[:, place].any()]
    if edits:
        return first.right[:, edits] - second.right[:, edits], first.pictures[:, edits]
    if first.original is None or second.original is None:
        return None
    lead = (first.original - second.original)[:, None]
    return lead, np.ones_like(lead)


def _drops(counts: Counts, groups: Sequence[Sequence[int]], method: Method) -> list[Interval]:
    """The mean drop over each group of variants; empty without originals."""
    if counts.original is None:
        return []
    lost = counts.original[:, None] * counts.pictures - counts.right
    pairs = [(lost[:, list(group)], counts.pictures[:, list(group)]) for group in groups]
    return _intervals(pairs, method)


def _intervals(ratios: Sequence[tuple[Floats, Floats]], method: Method) -> list[Interval]:
    """The mean over columns of Σ top / Σ bottom `[n, V]` for each pair, in the same resamples as `accuracy_drop`."""
    if not ratios:
        return []
    seed = derive_seed(method.seed, "accuracy_drop")
    draws = Resamples(len(ratios[0][0]), method.bootstrap, method.confidence, seed)
    return [Interval.model_validate(one) for one in draws.means_of_ratios(ratios)]


def counts_of(pictures: Pictures, given: Given) -> Counts:
    """Pictures and right answers by photograph and variant.

    If originals were scored, only photographs whose original was scored count, as in `accuracy_drop`.
    """
    is_original = pictures.variant < 0
    scored, correct = given.scored, given.correct & given.scored
    answered = np.full(pictures.sources, -1)
    answered[pictures.source[scored & is_original]] = correct[scored & is_original]
    chosen = scored & ~is_original
    if paired := bool((answered >= 0).any()):
        chosen &= answered[pictures.source] >= 0
    sources = np.flatnonzero(answered >= 0) if paired else np.unique(pictures.source[chosen])
    row = np.full(pictures.sources, -1)
    row[sources] = np.arange(len(sources))
    cell = row[pictures.source[chosen]], pictures.variant[chosen]
    count, right = (np.zeros((len(sources), len(pictures.variants))) for _ in range(2))
    np.add.at(count, cell, 1)
    np.add.at(right, cell, correct[chosen])
    return Counts(sources, answered[sources].astype(float) if paired else None, count, right)
