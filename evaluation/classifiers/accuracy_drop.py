"""Measure the accuracy that classifiers lose on each variant of an edition, compared with the originals.

The measure of ImageNet-E (Li et al., CVPR 2023, arXiv 2303.17096): drop = accuracy(original) - accuracy(edited), in
percentage points. It is paired by source picture, so a picture whose edit was rejected counts on neither side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.predicted.answers import predictions
from variorum.kit.predicted.calibration import whole_error
from variorum.kit.predicted.drops import (
    TOGETHER,
    Results,
    calibrations,
    difference,
    of_classifier,
    ordering,
    pairs,
    unpaired,
)
from variorum.kit.predicted.fields import OfFamilies
from variorum.kit.predicted.offered import NO_EDITS, NO_ORIGINALS, Asked, axes_of, by_model
from variorum.kit.predicted.pairing import ORIGINAL, paired
from variorum.kit.predicted.resamples import Resamples
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row
from variorum.schemas.plot import Bin, IntervalPlot, Plot, ReliabilityPlot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

IN_TWO = 3
"""Classifiers whose originals and edits are both in the reliability plot; with more, it has the edits alone."""
AVERAGE = "average over edits"
"""The last row of the plot of drops."""


class AccuracyDrop(OfFamilies):
    """Top-1 accuracy drops, calibration and differences between classifiers, with bootstrap intervals over the sources.

    Attributes:
        families: by name, variants that are compared with each other, with `*` and `?` as wildcards. The figures of a
            family are over the photographs that have all of its variants; a plate is in none.
    """

    revision = 3
    offers: ClassVar[Mapping[str, Figure]] = {
        "originals": Figure("accuracy"),
        "edits": Figure("accuracy, mean over edits"),
        "calibration": Figure("calibration error of its confidence", "whole", "lower"),
    }
    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence", "families"})

    families: dict[str, tuple[str, ...]] = Field(default=TOGETHER, min_length=1)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier.

        `label` and `top1` are outputs of the classifier. With several labels a prediction of any of them is right,
        `label` is the first one, and `p_label` the sum of their probabilities. A picture without a label that the
        classifier knows has the label `UNSCORED`.

        Raises:
            RecipeError: a model is a detector, or a picture's class is no output of a classifier that says what its
                outputs are.
        """
        return predictions(samples, self.asked(ctx), ctx)

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Accuracies in percent and drops in percentage points, by classifier and variant.

        `unscored` counts pictures that have no label that a classifier knows, `unpaired` edited pictures whose original
        is missing, `several_labels` pictures with more than one, and `photographs` those that a figure is over.
        `families` has the figures over the photographs that have all variants of a family. `average_drop` and
        `average_accuracy` average over the edits in `averaged`: those of 30 photographs, or all if none has as many;
        baselines are left out. `drop_vs_reference` is the drop relative to the pictures that edits started from.
        `differences` are those of two classifiers, on the pictures that both scored. `ordering` has the classifiers by
        falling average accuracy, each with its difference to the one before. `missing` are further ones that weren't
        measured. All intervals are of the same resamples. `names` and `variants` are in the order of the recipe and the
        edition.
        """
        names = self.named(table)
        common: dict[str, Json] = {"confidence": self.confidence, "unscored": 0, "unpaired": 0, "several_labels": 0}
        common["missing"] = [alias for alias in self.further if alias not in names]
        if not len(table):
            nothing: dict[str, Json] = {alias: {"n": 0, "variants": {}} for alias in names}
            return {**common, "names": list(names), "variants": [], "classifiers": nothing}
        data, seed = paired(table, names), derive_seed(ctx.seed, "accuracy_drop")
        results = Results(Resamples(data.sources, self.bootstrap, self.confidence, seed, data.units))
        classifiers: dict[str, Json] = {}
        for number, alias in enumerate(names):
            classifiers[alias] = {
                "outputs": data.outputs[number],
                "preprocessing": data.preprocessing[number],
                **of_classifier(data, number, results, self.families),
                "calibration": calibrations(data, number, seed),
            }
        differences: list[Json] = [
            {"of": [names[one], names[other]], **difference(data, one, other, results)}
            for one, other in pairs(len(names))
        ]
        results.fill()
        return {
            **common,
            "unscored": int((~data.scored).sum(axis=1).max()),
            "unpaired": max(unpaired(data, number) for number in range(len(names))),
            "several_labels": len(np.unique(table["id"][table["labels"] > 1])),
            "names": list(names),
            "variants": [data.variants[one] for one in data.order],
            "classifiers": classifiers,
            "differences": differences,
            "ordering": ordering(classifiers, differences),
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Accuracy on `originals` and on `edits`, as in `figures`, and `calibration` over both.

        An edit counts if its original was scored; where no original was, every edit does.
        """
        for asked in by_model(table):
            yield originals(asked)
            yield edits(asked)
            yield calibration(asked, derive_seed(ctx.seed, "accuracy_drop", "calibration"))

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`drops` by variant and classifier; `reliability`: accuracy against confidence, on originals and edits."""
        found: dict[str, Plot] = {}
        classifiers = {name: figures["classifiers"][name] for name in figures.get("names", figures["classifiers"])}
        there = {variant for one in classifiers.values() for variant in one["variants"]}
        rows = [
            variant for variant in dict.fromkeys([*figures.get("variants", []), *sorted(there)]) if variant in there
        ]
        if rows:
            averaged = any("average_drop" in one for one in classifiers.values())
            series = {
                alias: tuple(point(one["variants"].get(variant, {}).get("drop")) for variant in rows)
                + ((point(one.get("average_drop")),) if averaged else ())
                for alias, one in classifiers.items()
            }
            labels = (*rows, AVERAGE) if averaged else tuple(rows)
            found["drops"] = IntervalPlot(
                "Accuracy drop by variant", "accuracy drop in percentage points", labels, series
            )
        sets = ("originals", "edits") if len(classifiers) <= IN_TWO else ("edits",)
        curves = {
            f"{alias}, {name}" if len(sets) > 1 else alias: tuple(Bin(**one) for one in calibration[name]["bins"])
            for alias, figure in classifiers.items()
            for calibration in [figure.get("calibration", {})]
            for name in sets
            if name in calibration
        }
        if curves:
            title = "Accuracy against confidence" + ("" if len(sets) > 1 else ", on the edits")
            found["reliability"] = ReliabilityPlot(title, curves)
        return found


def originals(asked: Asked) -> Answers:
    """A model's accuracy on the originals."""
    rows = np.flatnonzero(asked.original & asked.scored)
    if not len(rows):
        return Answers("originals", asked.model, why_not=NO_ORIGINALS)
    column = np.zeros(len(rows), np.int64)
    return asked.share("originals", rows, asked.right[rows], column, [ORIGINAL], floor=1 / asked.outputs)


def edits(asked: Asked) -> Answers:
    """A model's accuracy by edit."""
    rows = np.flatnonzero(asked.edit)
    if not len(rows):
        return Answers("edits", asked.model, why_not=NO_EDITS)
    names, column = asked.variants(rows)
    axes = axes_of(names, asked.requests())
    return asked.share("edits", rows, asked.right[rows], column, names, axes=axes, floor=1 / asked.outputs)


def calibration(asked: Asked, seed: int) -> Answers:
    """A model's calibration error over originals and edits; `floor` is the mean error if its confidences were true."""
    rows = np.flatnonzero((asked.original & asked.scored) | asked.edit)
    if not len(rows):
        return Answers("calibration", asked.model, why_not=NO_ORIGINALS)
    return whole_error("calibration", asked, rows, asked.table["confidence"][rows], seed)
