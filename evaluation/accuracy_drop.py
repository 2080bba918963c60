"""How much accuracy ImageNet classifiers lose on each variant of an edition, compared with the originals.

The measure of ImageNet-E (Li et al., CVPR 2023, arXiv 2303.17096): drop = accuracy(original) - accuracy(edited), in
percentage points. It is paired by source picture, so a picture whose edit was rejected counts on neither side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.sources.imagenet import index_of
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Row
from variorum.schemas.sample import BASELINES, Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

ORIGINAL = "original"
UNSCORED = -1
"""Label index of a picture without an ImageNet label."""


class AccuracyDrop(Evaluation):
    """Top-1 accuracy drops, with bootstrap intervals over the source pictures.

    Attributes:
        classifiers: aliases of ImageNet-1k classifiers; none of them may have filtered the edition.
        bootstrap: number of resamples per interval.
        confidence: level of the intervals, in (0, 1).
    """

    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence"})

    classifiers: tuple[str, ...] = Field(default=("classifier_small", "classifier"), min_length=1)
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    confidence: float = Field(default=0.95, gt=0, lt=1)

    def aliases(self) -> tuple[str, ...]:
        """The classifiers."""
        return self.classifiers

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier: ImageNet indices of label and top-1 class, probability of the label."""
        images = [sample.image for sample in samples]
        for alias in self.classifiers:
            probabilities = ctx.models.get(alias)(images)
            for sample, row in zip(samples, probabilities, strict=True):
                label, top1 = label_index(sample.labels), int(row.argmax())
                yield {
                    "id": sample.id,
                    "parent": sample.parent,
                    "variant": sample.variant,
                    "reference": reference(sample),
                    "classifier": alias,
                    "label": label,
                    "top1": top1,
                    "correct": label == top1,
                    "p_label": None if label == UNSCORED else float(row[label]),
                }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Accuracies in percent and drops in percentage points, by classifier and variant.

        `unscored` counts pictures without an ImageNet label, `unpaired` edited pictures whose original is missing.
        `average_drop` averages over the edits, without the baselines. `drop_vs_reference` is the drop relative to the
        variant that an edit started from, over the sources that have both.
        """
        rows = table.arrow.to_pylist()
        scored = [row for row in rows if row["label"] != UNSCORED]
        root = roots({row["id"]: row["parent"] for row in rows})
        figures: dict[str, Json] = {}
        unpaired = 0
        for alias in self.classifiers:
            mine = [row for row in scored if row["classifier"] == alias]
            of_source = {root[row["id"]]: float(row["correct"]) for row in mine if row["variant"] == ORIGINAL}
            edited = [row for row in mine if row["variant"] != ORIGINAL and root[row["id"]] in of_source]
            unpaired += sum(row["variant"] != ORIGINAL for row in mine) - len(edited)
            figures[alias] = self._of_classifier(of_source, edited, root, ctx.seed)
        judges = len(self.classifiers)
        return {
            "confidence": self.confidence,
            "unscored": (len(rows) - len(scored)) // judges,
            "unpaired": unpaired // judges,
            "classifiers": figures,
        }

    def _of_classifier(
        self, of_source: Mapping[str, float], edited: Sequence[Mapping[str, Json]], root: Mapping[str, str], seed: int
    ) -> Json:
        sources, variants = sorted(of_source), sorted({str(row["variant"]) for row in edited})
        original = np.array([of_source[source] for source in sources])
        row_of = {source: position for position, source in enumerate(sources)}
        column_of = {variant: position for position, variant in enumerate(variants)}
        count, right = (np.zeros((len(sources), len(variants))) for _ in range(2))
        references: dict[str, str] = {}
        for row in edited:
            cell = row_of[root[str(row["id"])]], column_of[str(row["variant"])]
            count[cell] += 1
            right[cell] += bool(row["correct"])
            if row["reference"] in column_of:
                references[str(row["variant"])] = str(row["reference"])
        resamples = Resamples(len(sources), self.bootstrap, self.confidence, derive_seed(seed, "accuracy_drop"))

        lost = original[:, None] * count - right
        figures: dict[str, Json] = {}
        for column, variant in enumerate(variants):
            n = count[:, column].sum()
            figure: dict[str, Json] = {
                "n": int(n),
                "accuracy": percent(right[:, column].sum() / n),
                "original_accuracy": percent((original * count[:, column]).sum() / n),
                "drop": resamples.mean_of_ratios(lost[:, [column]], count[:, [column]]),
            }
            if variant in references:
                start = column_of[references[variant]]
                has_start = count[:, start] > 0
                both = has_start * count[:, column]
                before = right[:, start] / np.maximum(count[:, start], 1)
                if both.any():
                    change = both * before - has_start * right[:, column]
                    vs = resamples.mean_of_ratios(change[:, None], both[:, None])
                    figure["drop_vs_reference"] = {"reference": references[variant], "n": int(both.sum()), **vs}
            figures[variant] = figure
        summary: dict[str, Json] = {"n": len(sources), "variants": figures}
        if sources:
            summary["original_accuracy"] = percent(original.mean())
        if edits := [column_of[variant] for variant in variants if variant not in BASELINES]:
            summary["average_drop"] = resamples.mean_of_ratios(lost[:, edits], count[:, edits])
        return summary


def label_index(labels: Sequence[str]) -> int:
    """ImageNet index of the first label that is an ImageNet wnid or name; UNSCORED if there is none."""
    return next((index for label in labels if (index := index_of(label)) is not None), UNSCORED)


def reference(sample: Sample) -> str:
    """The variant that the sample's last edit started from; empty if it started from the original."""
    value = sample.ops[-1]["requested"].get("reference") if sample.ops else None
    return value if isinstance(value, str) else ""


def roots(parents: Mapping[str, str]) -> dict[str, str]:
    """The oldest known ancestor of every id. All edits of one picture share it, however many steps they took.

    Args:
        parents: id to the parent's id, `""` for none. A parent need not have an entry of its own.
    """
    found: dict[str, str] = {}
    for start in parents:
        path, node = [], start
        while node in parents and parents[node] and node not in found:
            path.append(node)
            node = parents[node]
        found.update(dict.fromkeys(path, found.get(node, node)))
        found.setdefault(start, node)
    return found


class Resamples:
    """Bootstrap resamples of `n` sources, the same for every figure, so that figures are comparable.

    Args:
        n: number of sources.
        draws: number of resamples.
        confidence: level of the percentile intervals (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
            ch. 13).
        seed: seed of the resampling.
    """

    def __init__(self, n: int, draws: int, confidence: float, seed: int) -> None:
        self._n, self._draws, self._seed = n, draws, seed
        self._tails = (1 - confidence) / 2, (1 + confidence) / 2

    def mean_of_ratios(self, top: Floats, bottom: Floats) -> dict[str, Json]:
        """Mean over columns of sum(top) / sum(bottom), with its interval: `value`, `low`, `high` in percent.

        Args:
            top: `[n, V]`, the loss of each source in each variant.
            bottom: `[n, V]`, the number of pictures of each source in each variant; no column sums to 0.
        """
        value = ratio_means(np.ones((1, self._n)), top, bottom)[0]
        rng = np.random.default_rng(self._seed)
        step = max(1, 4_000_000 // self._n)
        parts = [
            ratio_means(rng.multinomial(self._n, np.full(self._n, 1 / self._n), size), top, bottom)
            for size in (min(step, self._draws - done) for done in range(0, self._draws, step))
        ]
        low, high = np.nanquantile(np.concatenate(parts), self._tails)
        return {"value": percent(value), "low": percent(low), "high": percent(high)}


def ratio_means(weights: Ints | Floats, top: Floats, bottom: Floats) -> Floats:
    """`mean_v (W top)_v / (W bottom)_v` for each row of W `[R, n]`, without columns that are empty in a resample."""
    tops, bottoms = weights @ top, weights @ bottom
    filled = bottoms > 0
    ratios = np.divide(tops, bottoms, out=np.zeros_like(tops), where=filled)
    columns = filled.sum(axis=1)
    return np.where(columns > 0, ratios.sum(axis=1) / np.maximum(columns, 1), np.nan)


def percent(value: float) -> float:
    """A share in percent, rounded to two decimals."""
    return round(100 * float(value), 2)
