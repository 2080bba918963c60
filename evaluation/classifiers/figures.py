"""Accuracy, drops and differences between models, computed from their answers by the functions of `accuracy_drop`.

Figures are paired by photograph. Where a model was scored on no original, there are accuracies and no drops. Two models
are compared over the pictures that both were scored on, in the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.evaluation.classifiers.pictures import Pictures
from variorum.kit.predicted.drops import Results, gains, of_classifier
from variorum.kit.predicted.pairing import Paired, units_of
from variorum.kit.predicted.resamples import Resamples
from variorum.reports.results import Figures, Interval, Method
from variorum.schemas.canonical import derive_seed
from variorum.schemas.sample import is_baseline

if TYPE_CHECKING:
    from variorum.arrays import Bools


class Given(NamedTuple):
    """A model's answers: `[N]` whether each picture was scored, and whether the answer was right."""

    scored: Bools
    correct: Bools


def figures(pictures: Pictures, given: Given, method: Method) -> Figures:
    """A model's figures.

    Args:
        pictures: of the edition.
        given: its answers.
        method: level of the intervals, number of resamples, and their seed.
    """
    data = paired(pictures, given.scored, [given.correct])
    results = _results(data, method)
    found: dict[str, Any] = of_classifier(data, 0, results, {})
    results.fill()
    average = found.pop("average_accuracy", None)
    drops = [one["drop"] for one in found["variants"].values() if "drop" in one]
    for one in [*found["variants"].values(), *drops, found.get("average_drop") or {}]:
        one.pop("photographs", None)
    return Figures.model_validate({**found, "accuracy": average and average["value"]})


def photographs(pictures: Pictures, given: Given) -> int:
    """Number of photographs that the figures over edits are over: an edit was scored, and the original if any was.

    Baselines are no edits.
    """
    original = pictures.variant < 0
    edit = np.array([not is_baseline(name) for name in pictures.variants] + [False])[pictures.variant]
    edited = np.unique(pictures.source[edit & given.scored])
    there = np.unique(pictures.source[original & given.scored])
    return len(np.intersect1d(edited, there)) if len(there) else len(edited)


def differences(pictures: Pictures, best: Given, others: Sequence[Given], method: Method) -> list[Interval | None]:
    """Compare the best model with each other, in the average accuracy over the edits.

    Without edits it is the accuracy on the originals. None where no picture was scored for both.
    """
    found: list[Interval | None] = [None] * len(others)
    groups: dict[bytes, list[int]] = {}
    for number, other in enumerate(others):
        groups.setdefault((best.scored & other.scored).tobytes(), []).append(number)
    for scored, group in groups.items():  # the same photographs, so the same resamples, which are drawn once
        data = paired(
            pictures, np.frombuffer(scored, bool), [best.correct, *(others[number].correct for number in group)]
        )
        results, figures = _results(data, method), {}
        for place, number in enumerate(group, 1):
            gained = gains(data, 0, place)
            if (ratio := gained.get("average_accuracy") or gained.get("original_accuracy")) is not None:
                figures[number] = results.of(*ratio)
        results.fill()
        for number, figure in figures.items():
            found[number] = Interval.model_validate(figure)
    return found


def paired(pictures: Pictures, scored: Bools, correct: Sequence[Bools]) -> Paired:
    """Answers to the same scored pictures. Sources are the photographs that count.

    Args:
        pictures: of the edition.
        scored: `[N]`, whether each picture was scored.
        correct: of each model, `[N]`, whether its answer was right.
    """
    original = pictures.variant < 0
    with_original = np.unique(pictures.source[original & scored])
    known = with_original if len(with_original) else np.unique(pictures.source[scored])
    position = np.full(pictures.sources, -1)
    position[known] = np.arange(len(known))
    right, source = np.stack(correct) & scored, position[pictures.source]
    unit, units = units_of(source, pictures.lender, len(known)) if len(pictures.lender) else (source, None)
    return Paired(
        right,
        np.broadcast_to(scored, right.shape),
        original,
        source,
        pictures.variant,
        len(known),
        pictures.variants,
        alone=not len(with_original),
        start=np.full(len(source), -1),
        unit=unit,
        units=units,
    )


def _results(data: Paired, method: Method) -> Results:
    seed = derive_seed(method.seed, "accuracy_drop")
    return Results(Resamples(data.sources, method.bootstrap, method.confidence, seed, data.units))
