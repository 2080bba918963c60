"""The figures of an audit: error rates of edition and release, precision, recall, and what flags cost the tail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from variorum.curation.people.panel.estimator import Estimate, Strata, difference_estimate, share_of, stratified_rate
from variorum.curation.people.panel.sampling import TIERS, Population
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints


def audit_rates(
    population: Population, wrong: Floats, new_wrong: Floats, guesses: Floats | None = None
) -> dict[str, Json]:
    """Error rates of edition and release, precision and recall of the flags, and their harm to head, mid and tail.

    A stratum without answers counts as the largest answered one of its kind; the figures list its name.

    Args:
        population: the n pictures.
        wrong: `[n]` answers in [0, 1] on the given label, NaN if missing or not usable.
        new_wrong: `[n]` answers on the new label of relabelled pictures.
        guesses: `[n]` a model's probability that each label is wrong.
    """
    is_flagged = population.where("flagged")
    raw = tally(population, wrong)
    home = merged(raw, is_flagged)
    strata, stratum = combined(raw, home), home[population.stratum]
    flagged, unflagged = strata[is_flagged], strata[~is_flagged]
    total, precision = float(strata.pictures.sum()), stratified_rate(flagged)
    after, new = after_release(population, wrong, new_wrong)
    figures: dict[str, Json] = {
        "error_rate": {
            "before": _figure(stratified_rate(strata)),
            "after": _figure(after),
            "from_flagged_alone": rounded(precision.value * float(flagged.pictures.sum()) / total if total else np.nan),
        },
        "new_labels": new,
        "precision": _figure(precision),
        "recall": _figure(share_of(flagged, unflagged)),
    }
    if guesses is not None:
        answered = ~np.isnan(wrong)
        means = np.bincount(stratum, weights=guesses, minlength=len(home)) / np.maximum(strata.pictures, 1)
        sizes = strata.pictures.astype(np.int64)
        helped = difference_estimate(wrong[answered], stratum[answered], guesses[answered], sizes, means)
        figures["error_rate_with_guesses"] = _figure(helped)
    figures["harm"] = {
        tier: _figure(share_of(raw[is_flagged & here].right(), raw[~is_flagged & here].right()))
        for tier in TIERS
        if (here := population.where(tier)).any()
    }
    value, low, high = raw.rates()
    names = [one.name for one in population.strata]
    figures["strata"] = {
        name: {
            "pictures": int(raw.pictures[h]),
            "answered": int(raw.answered[h]),
            "wrong": float(raw.wrong[h]),
            "rate": _figure(Estimate(value[h], low[h], high[h])),
        }
        for h, name in enumerate(names)
    }
    figures["strata_without_answers"] = [name for name, number in zip(names, raw.answered, strict=True) if not number]
    return figures


def expected_half_width(population: Population, spread: Floats) -> float:
    """Half the length of the interval that answers on all pictures drawn would give the edition's error rate.

    A stratum is taken to have the error rate r that its expected standard deviation √(r(1 - r)) stands for.

    Args:
        population: the pictures, with the numbers that are drawn.
        spread: `[H]` expected standard deviations; those above 1/2 count as 1/2.

    Returns:
        The half, in [0, 0.5]; NaN if nothing is drawn of the flagged or of the unflagged ones, though there are some.
    """
    rate = (1 - np.sqrt(1 - 4 * np.minimum(spread, 0.5) ** 2)) / 2
    drawn = population.drawn.astype(np.float64)
    raw = Strata(population.pictures.astype(np.float64), drawn, drawn * rate)
    found = stratified_rate(combined(raw, merged(raw, population.where("flagged"))))
    return (found.high - found.low) / 2


def after_release(population: Population, wrong: Floats, new_wrong: Floats) -> tuple[Estimate, dict[str, Json]]:
    """The share of wrong labels in the release, which leaves out dropped pictures and uses the new labels.

    It is NaN until every relabelled picture with an answer on its old label also has one on the new label. An old label
    called right settles the new one by itself, so estimating earlier would use these pictures only.

    Returns:
        The estimate; for the new labels their number, how many are answered, how many are still to be asked about, and
        their error rate.
    """
    relabelled, dropped = population.where("relabelled"), population.where("dropped")
    changed = relabelled[population.stratum]
    asked = int((changed & ~np.isnan(wrong)).sum())
    answers = np.where(changed, new_wrong, wrong)
    answered = int((changed & ~np.isnan(answers)).sum())
    raw = tally(population, answers)
    kind = np.where(dropped, 3, np.where(relabelled, 2, population.where("flagged")))
    strata = combined(raw, merged(raw, kind))
    unknown = Estimate(np.nan, np.nan, np.nan)
    new: dict[str, Json] = {
        "pictures": int(changed.sum()),
        "answered": answered,
        "not_yet": asked - answered,
        "wrong": _figure(stratified_rate(strata[relabelled]) if asked == answered else unknown),
    }
    return stratified_rate(strata[~dropped]) if asked == answered else unknown, new


def tally(population: Population, answers: Floats) -> Strata:
    """The strata with their answers `[n]`, NaN if missing."""
    given = ~np.isnan(answers)
    return Strata.of(answers[given], population.stratum[given], population.pictures)


def merged(strata: Strata, kind: NDArray[np.integer[Any]] | Bools) -> Ints:
    """The stratum `[H]` that each one counts with: itself, or without answers the largest answered one of its kind.

    Args:
        strata: H strata.
        kind: `[H]`.
    """
    home = np.arange(len(strata.pictures))
    for one in np.unique(kind):
        answered = np.flatnonzero((kind == one) & (strata.answered > 0))
        if len(answered):
            largest = answered[np.argmax(strata.pictures[answered])]
            home[(kind == one) & (strata.answered == 0)] = largest
    return home


def combined(strata: Strata, home: Ints) -> Strata:
    """The strata, each added to the one `[H]` that it counts with, and empty itself."""
    parts = (strata.pictures, strata.answered, strata.wrong)
    return Strata(*(np.bincount(home, weights=part, minlength=len(home)).astype(np.float64) for part in parts))


def _figure(estimate: Estimate) -> Json:
    if np.isnan(estimate.value):
        return None
    return {"value": rounded(estimate.value), "low": rounded(estimate.low), "high": rounded(estimate.high)}


def rounded(value: float) -> float | None:
    """To six decimals, None for NaN."""
    return None if np.isnan(value) else round(float(value), 6)
