"""Accuracy of classifiers on pictures that may show several classes, by the labels that people reviewed.

The measures are multi-label accuracy (Shankar et al. 2020, arXiv 2005.10430; Vasudevan et al. 2022, arXiv 2205.04596)
and ReaL accuracy (Beyer et al. 2020, arXiv 2006.07159), beside top-1 accuracy against the given labels on the same
pictures. An edition has such labels after a release with `consensus`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from variorum.curation.people.outputs import OUTSIDE, predicted_classes
from variorum.curation.people.panel.label_sets import LABELS, LabelSet, read_label_set
from variorum.evaluation.people.by_class import Shares, shares
from variorum.kit.predicted.drops import pairs
from variorum.kit.predicted.fields import OfClassifiers
from variorum.kit.predicted.offered import by_model
from variorum.kit.raters.accuracy import collapsed_classes
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import ClassInfo, Context, Row
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.schemas.vote import CATEGORIES, SEVERITIES

UNREVIEWED = "unreviewed"
"""State of a prediction that nobody has judged."""
SAID = ("correct", "unclear", "collapsed", "wrong", UNREVIEWED, "outside")
"""What a prediction can be: judged so, right because people can't tell the class from a right one, not judged, or no
class of the edition."""
NOT_REVIEWED = "no picture with labels that people reviewed and could judge"
MEASURES = {"top1": "top-1, given labels", "multi_label": "multi-label accuracy", "real": "ReaL accuracy"}


class MultiLabelAccuracy(OfClassifiers):
    """Top-1, multi-label and ReaL accuracy by picture and by class, and people's word on the mistakes."""

    offers: ClassVar[Mapping[str, Figure]] = {
        "multi_label": Figure("accuracy, right or unclear to people"),
        "real": Figure("accuracy, right to people"),
    }
    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence", "collapsed"})

    collapsed: Literal["imagenet", ""] = ""
    """Classes that people can't tell apart: if one is right, so are those. `imagenet` for ImageNet's."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier; a picture that nobody reviewed isn't looked at.

        Raises:
            RecipeError: a classifier knows none of the edition's classes.
            CorruptShard: a picture's reviewed labels can't be read.
        """
        known = [label_set(sample) for sample in samples]
        rows = [number for number, one in enumerate(known) if one and one.reviewed]
        for alias in self.classifiers:
            predicted: dict[int, str] = {}
            outputs, preprocessing = 0, ""
            if rows:
                model = ctx.models.get(alias)
                p = model([samples[number].image for number in rows])
                outputs, preprocessing = p.shape[1], str(getattr(model, "preprocessing", ""))
                names = predicted_classes(alias, model, ctx.classes, outputs)
                predicted = {number: names[int(row.argmax())] for number, row in zip(rows, p, strict=True)}
            for number, sample in enumerate(samples):
                yield {
                    "id": sample.id,
                    "classifier": alias,
                    "reviewed": number in predicted,
                    **judged(known[number] or LabelSet(), predicted.get(number, OUTSIDE)),
                    "outputs": outputs,
                    "preprocessing": preprocessing,
                }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Accuracies in percent, and counts of predictions by what people said of them.

        Top-1 and multi-label accuracy are over the reviewed pictures that can be judged, ReaL accuracy over those of
        them that have a right label. A prediction that nobody judged counts as wrong; `unreviewed` says how many.
        """
        names = tuple(dict.fromkeys(self.classifiers))
        found: dict[str, Json] = {
            "confidence": self.confidence,
            "collapsed": self.collapsed,
            "names": list(names),
            "pictures": 0,
            "reviewed": 0,
            "problematic": 0,
            "without_right_label": 0,
            "several_right_labels": 0,
            "classes": 0,
            "classifiers": {},
            "differences": [],
        }
        also = self._also(ctx.classes)
        rows = {name: Rows.of(table, name, also) for name in names} if len(table) else {}
        if not rows:
            return found
        one = rows[names[0]]
        counted, labelled = ~one.problematic, ~one.problematic & one.labelled
        hits = [
            pair
            for name in names
            for mine in [rows[name]]
            for pair in ((mine.right, counted), (mine.accepted, counted), (mine.real, labelled))
        ]
        measured = shares(one.classes, hits, self.bootstrap, derive_seed(ctx.seed, "multi_label_accuracy"))
        of = {
            name: dict(zip(MEASURES, measured[3 * place : 3 * place + 3], strict=True))
            for place, name in enumerate(names)
        }
        return found | {
            "pictures": len(set(table.column("id").to_pylist())),
            "reviewed": len(one.problematic),
            "problematic": int(one.problematic.sum()),
            "without_right_label": int((counted & ~one.labelled).sum()),
            "several_right_labels": int((counted & one.several).sum()),
            "classes": len(np.unique(one.classes[counted])),
            "classifiers": {name: self._of(rows[name], of[name]) for name in names},
            "differences": [
                {"of": [names[a], names[b]], **self._differences(of[names[a]], of[names[b]])}
                for a, b in pairs(len(names))
            ],
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Yield every model's `multi_label` and `real` accuracy over the photographs that people reviewed.

        Raises:
            CorruptShard: a picture's reviewed labels can't be read.
        """
        for asked in by_model(table):
            texts, ids = asked.table["reviewed"].tolist(), asked.table["id"].tolist()
            sets = {row: read_label_set(text.encode(), ids[row]) for row, text in enumerate(texts) if text}
            known = {row: one for row, one in sets.items() if one.reviewed}
            chosen = np.array(list(known), np.int64)
            guesses = asked.table["prediction"][chosen].tolist()
            facts = [judged(one, guess) for one, guess in zip(known.values(), guesses, strict=True)]
            rows = Rows(facts, self._also(ctx.classes))
            for figure, right, counted in (
                ("multi_label", rows.accepted, ~rows.problematic),
                ("real", rows.real, ~rows.problematic & rows.labelled),
            ):
                if not counted.any():
                    yield Answers(figure, asked.model, why_not=NOT_REVIEWED)
                    continue
                column = np.zeros(int(counted.sum()), np.int64)
                found = asked.share(figure, chosen[counted], right[counted], column, ["reviewed"])
                shown = found.pictures and replace(found.pictures, right=right[counted])
                yield replace(found, pictures=shown)

    def _also(self, classes: Sequence[ClassInfo]) -> dict[str, list[str]]:
        """By class, those that people can't tell from it."""
        also = collapsed_classes(self.collapsed, [(one.id, one.name) for one in classes])
        return {classes[key].id: [classes[one].id for one in others] for key, others in also.items()}

    def _of(self, rows: Rows, measured: Mapping[str, Shares]) -> dict[str, Json]:
        counted = ~rows.problematic
        states = Counter(rows.states(counted))
        total = max(int(counted.sum()), 1)
        mistakes = [
            row for row in np.flatnonzero(counted).tolist() if rows.state[row] == "wrong" and not rows.accepted[row]
        ]
        kinds = {"category": (rows.category, CATEGORIES), "severity": (rows.severity, SEVERITIES)}
        said: dict[str, Json] = {}
        for kind, (values, listed) in kinds.items():
            counts = Counter(values[row] for row in mistakes)
            said[kind] = {value: counts[value] for value in listed if counts[value]}
        return {
            "outputs": rows.outputs,
            "preprocessing": rows.preprocessing,
            **{name: one.figures(self.confidence) for name, one in measured.items()},
            "multi_label_less_top1": (measured["multi_label"] - measured["top1"]).figures(self.confidence),
            "predictions": {name: states[name] for name in SAID},
            "unreviewed": round((states[UNREVIEWED] + states["outside"]) / total, 4),
            "mistakes": {"judged": len(mistakes), **said},
        }

    def _differences(self, one: Mapping[str, Shares], other: Mapping[str, Shares]) -> dict[str, Json]:
        return {name: (one[name] - other[name]).figures(self.confidence) for name in MEASURES}

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`accuracy`: the three measures, averaged over classes, of each classifier."""
        if not figures.get("reviewed"):
            return {}
        series = {
            name: tuple(point(figures["classifiers"][name][measure]["by_class"]) for measure in MEASURES)
            for name in figures["names"]
        }
        title = "Accuracy by given and by reviewed labels"
        return {"accuracy": IntervalPlot(title, "accuracy in percent", tuple(MEASURES.values()), series)}


class Rows:
    """A classifier's predictions on the n reviewed pictures, in the order of their ids.

    Attributes:
        classes: `[n]` number of the class that a picture counts for: its first given label.
        right: `[n]` whether the prediction is a given label.
        accepted: `[n]` whether it is right or unclear to people.
        real: `[n]` whether it is right.
        labelled, several: `[n]` whether there is a right label, and more than one.
        problematic: `[n]` whether the picture can't be judged.
        state, category, severity: `[n]` what people said of the prediction.
        outside: `[n]` whether it is no class of the edition.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], also: Mapping[str, Sequence[str]]) -> None:
        given, correct, unclear = ([json.loads(row[name]) for row in rows] for name in ("given", "correct", "unclear"))
        prediction = [row["prediction"] for row in rows]
        first = [labels[0] if labels else "" for labels in given]
        self.classes = np.unique(first, return_inverse=True)[1].reshape(-1).astype(np.int64)
        accepted = [
            {other for label in (*yes, *maybe) for other in (label, *also.get(label, ()))}
            for yes, maybe in zip(correct, unclear, strict=True)
        ]
        self.right, self.real, self.accepted = (
            np.array([one in found for one, found in zip(prediction, sets, strict=True)], bool)
            for sets in (given, correct, accepted)
        )
        self.labelled = np.array([bool(labels) for labels in correct], bool)
        self.several = np.array([len(labels) > 1 for labels in correct], bool)
        self.problematic = np.array([row["problematic"] for row in rows], bool)
        self.state, self.category, self.severity = (
            [row[name] for row in rows] for name in ("state", "category", "severity")
        )
        self.outside = np.array([one == OUTSIDE for one in prediction], bool)
        self.outputs = max((row.get("outputs", 0) for row in rows), default=0)
        self.preprocessing = next((row["preprocessing"] for row in rows if row.get("preprocessing")), "")

    @classmethod
    def of(cls, table: Table, classifier: str, also: Mapping[str, Sequence[str]]) -> Rows:
        """The reviewed rows of a classifier."""
        import pyarrow.compute as pc

        kept = pc.and_(pc.equal(table.column("classifier"), classifier), table.column("reviewed"))
        names = [name for name in table.arrow.column_names if name not in ("classifier", "reviewed")]
        rows = table.arrow.select(names).filter(kept).sort_by("id").to_pylist()
        return cls(rows, also)

    def states(self, counted: Any) -> Iterator[str]:
        """Return people's answers about the predictions on the pictures that count."""
        for row in np.flatnonzero(counted).tolist():
            if self.outside[row]:
                yield "outside"
            else:
                also = self.accepted[row] and self.state[row] not in ("correct", "unclear")
                yield "collapsed" if also else self.state[row]


def judged(found: LabelSet, guess: str) -> dict[str, Any]:
    """Columns of a table: what people said of a picture's labels, and of a prediction."""
    one = found.by_label.get(guess)
    return {
        "given": json.dumps(found.given, ensure_ascii=False),
        "correct": json.dumps(found.of("correct"), ensure_ascii=False),
        "unclear": json.dumps(found.of("unclear"), ensure_ascii=False),
        "problematic": found.problematic,
        "prediction": guess,
        "state": one.state if one and one.state != "unchecked" else UNREVIEWED,
        "category": one.category if one else "",
        "severity": one.severity if one else "",
    }


def label_set(sample: Sample) -> LabelSet | None:
    """Return people's answers about a picture's labels; None if it has no such member."""
    data = sample.extras.get(LABELS)
    return read_label_set(data, sample.id) if isinstance(data, bytes) else None
