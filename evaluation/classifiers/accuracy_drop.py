"""How much accuracy classifiers lose on each variant of an edition, compared with the originals.

The measure of ImageNet-E (Li et al., CVPR 2023, arXiv 2303.17096): drop = accuracy(original) - accuracy(edited), in
percentage points. It is paired by source picture, so a picture whose edit was rejected counts on neither side.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from variorum.kit.labels.matching import columns
from variorum.kit.predicted.drops import Results, calibrations, difference, of_classifier, pairs, unpaired
from variorum.kit.predicted.pairing import ORIGINAL, UNSCORED, paired, roots
from variorum.kit.predicted.resamples import Resamples, ratio_means
from variorum.models.brought import BroughtModel
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Role, Row
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.plot import Bin, IntervalPlot, Plot, Point, ReliabilityPlot
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.sources.imagenet import index_of

if TYPE_CHECKING:
    from variorum.arrays import Singles

__all__ = ["ORIGINAL", "UNSCORED", "AccuracyDrop", "Resamples", "label_index", "ratio_means", "reference", "roots"]

IN_TWO = 3
"""Classifiers whose originals and edits are both in the reliability plot; with more, it has the edits alone."""
AVERAGE = "average over edits"
"""The last row of the plot of drops."""


class AccuracyDrop(Evaluation):
    """Top-1 accuracy drops, calibration and differences between classifiers, with bootstrap intervals over the sources.

    Attributes:
        classifiers: aliases of classifiers, or names of models that a user brings; none may have filtered the edition.
            Their outputs are matched to the edition's classes by `curation/labels/matching.py`.
        bootstrap: number of resamples per interval.
        confidence: level of the intervals, in (0, 1).
    """

    revision = 2
    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence"})
    roles: ClassVar[Mapping[str, Role]] = {"classifiers": "classifier"}

    classifiers: tuple[str, ...] = Field(default=("classifier_small", "classifier"), min_length=1)
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    confidence: float = Field(default=0.95, gt=0, lt=1)

    def aliases(self) -> tuple[str, ...]:
        """The classifiers."""
        return self.classifiers

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier.

        `label` and `top1` are outputs of the classifier. With several labels a prediction of any of them is right,
        `label` is the first one, and `p_label` the sum of their probabilities. A picture without a label that the
        classifier knows has the label `UNSCORED`.

        Raises:
            RecipeError: a model is a detector, or a picture's class is no output of a classifier that says what its
                outputs are.
        """
        for sample, alias, model, labels, row in answers(samples, self.classifiers, ctx):
            top1 = int(row.argmax())
            yield {
                "id": sample.id,
                "parent": sample.parent,
                "variant": sample.variant,
                "reference": reference(sample),
                "classifier": alias,
                "label": labels[0] if labels else UNSCORED,
                "labels": len(labels),
                "top1": top1,
                "correct": top1 in labels,
                "confidence": float(row[top1]),
                "p_label": float(row[list(labels)].sum()) if labels else None,
                "outputs": len(row),
                "preprocessing": str(getattr(model, "preprocessing", "")),
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Accuracies in percent and drops in percentage points, by classifier and variant.

        `unscored` counts pictures that have no label that a classifier knows, `unpaired` edited pictures whose original
        is missing, `several_labels` pictures with more than one. `average_drop` and `average_accuracy` average over the
        edits, without the baselines. `drop_vs_reference` is the drop relative to the variant that an edit started from,
        over the sources that have both. `differences` are those of two classifiers, on the pictures that both scored.
        All intervals are of the same resamples. `names` and `variants` are in the order of the recipe and the edition.
        """
        names = tuple(dict.fromkeys(self.classifiers))
        common: dict[str, Json] = {"confidence": self.confidence, "unscored": 0, "unpaired": 0, "several_labels": 0}
        if not len(table):
            nothing: dict[str, Json] = {alias: {"n": 0, "variants": {}} for alias in names}
            return {**common, "names": list(names), "variants": [], "classifiers": nothing}
        data, seed = paired(table, names), derive_seed(ctx.seed, "accuracy_drop")
        results = Results(Resamples(data.sources, self.bootstrap, self.confidence, seed))
        classifiers: dict[str, Json] = {}
        for number, alias in enumerate(names):
            classifiers[alias] = {
                "outputs": data.outputs[number],
                "preprocessing": data.preprocessing[number],
                **of_classifier(data, number, results),
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
        }

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


class Answer(NamedTuple):
    """What a classifier says of a picture.

    Attributes:
        sample: the picture.
        alias: of the classifier.
        model: the classifier.
        labels: the outputs that are right; empty if the classifier knows none of the picture's labels.
        probabilities: `[outputs]`.
    """

    sample: Sample
    alias: str
    model: Any
    labels: tuple[int, ...]
    probabilities: Singles


def answers(samples: Sequence[Sample], classifiers: Sequence[str], ctx: Context) -> Iterator[Answer]:
    """What each classifier says of each picture of a batch, classifier by classifier.

    Raises:
        RecipeError: a model is a detector, or a picture's class is no output of a classifier that says what its outputs
            are.
    """
    images = [sample.image for sample in samples]
    occurring = {label for sample in samples for label in sample.labels}
    for alias in classifiers:
        model = ctx.models.get(alias)
        if hasattr(model, "knows"):
            raise RecipeError(f"{cut(repr(alias))} is a detector; name a classifier, such as classifier_small")
        outputs_of(alias, model, ctx, occurring)  # refused before it sees a picture
        probabilities = model(images)
        output_of = outputs_of(alias, model, ctx, occurring, probabilities.shape[1])
        for sample, row in zip(samples, probabilities, strict=True):
            labels = label_indices(sample.labels) if output_of is None else known(sample.labels, output_of)
            yield Answer(sample, alias, model, labels, row)


def point(interval: Mapping[str, Any] | None) -> Point | None:
    """A figure with its interval, for a plot."""
    return Point(interval["value"], interval["low"], interval["high"]) if interval else None


def outputs_of(
    alias: str, model: Any, ctx: Context, occurring: Container[str], outputs: int | None = None
) -> dict[str, int] | None:
    """Output of each class id of the edition, as far as the model has one.

    None for this project's ImageNet classifiers, which take any label.

    Args:
        alias: of the model, for messages.
        model: a classifier.
        ctx: has the edition's classes.
        occurring: ids of those that pictures have.
        outputs: number of the model's outputs; by default as it says itself, if it does.

    Raises:
        RecipeError: a class that occurs is none of the model's outputs.
    """
    classes = getattr(model, "classes", ())
    if not classes and not isinstance(model, BroughtModel):
        return None
    try:
        found = columns(ctx.classes, classes, outputs or getattr(model, "outputs", 0) or None, needed=occurring)
    except RecipeError as error:
        raise RecipeError(f"model {cut(alias)!r}: {error}") from None
    return {one.id: int(output) for one, output in zip(ctx.classes, found, strict=True) if output >= 0}


def known(labels: Sequence[str], output_of: Mapping[str, int]) -> tuple[int, ...]:
    """Outputs of the labels that are classes of the edition."""
    return tuple(dict.fromkeys(output_of[label] for label in labels if label in output_of))


def label_indices(labels: Sequence[str]) -> tuple[int, ...]:
    """ImageNet's indices of the labels that are ImageNet wnids or names."""
    return tuple(dict.fromkeys(index for label in labels if (index := index_of(label)) is not None))


def label_index(labels: Sequence[str]) -> int:
    """ImageNet index of the first label that is an ImageNet wnid or name; UNSCORED if there is none."""
    return next(iter(label_indices(labels)), UNSCORED)


def reference(sample: Sample) -> str:
    """The variant that the sample's last edit started from; empty if it started from the original."""
    value = sample.ops[-1]["requested"].get("reference") if sample.ops else None
    return value if isinstance(value, str) else ""
