"""How much accuracy ImageNet classifiers lose on each variant of an edition, against the same pictures' originals.

The measure of ImageNet-E (Li et al., CVPR 2023, arXiv 2303.17096): drop = accuracy(original) - accuracy(edited), in
percentage points. It is paired by source picture, so one whose edit was refused counts on neither side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generators.sources.imagenet import index_of
from schemas.canonical import Json, derive_seed
from schemas.component import Context, Evaluation
from schemas.sample import BASELINES, Sample

if TYPE_CHECKING:
    import pyarrow as pa

    Floats = NDArray[np.float64]

ORIGINAL = "original"
UNSCORED = -1
"""Label index of a picture that has no label, or none that is one of ImageNet's classes."""
BATCH = 32


class AccuracyDrop(Evaluation):
    """Top-1 accuracy drops, with bootstrap intervals over the source pictures.

    Attributes:
        classifiers: aliases of ImageNet-1k classifiers; none of them may have filtered the edition.
        bootstrap: resamples behind each interval.
        confidence: of the intervals.
    """

    measured_by: ClassVar[frozenset[str]] = frozenset({"classifiers"})

    classifiers: tuple[str, ...] = Field(default=("classifier_small", "classifier"), min_length=1)
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    confidence: float = Field(default=0.95, gt=0, lt=1)

    def aliases(self) -> tuple[str, ...]:
        """The judges."""
        return self.classifiers

    def measure(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """A row a picture and classifier: the label's ImageNet index, the top-1 index, the label's probability."""
        stream = iter(samples)
        while batch := list(islice(stream, BATCH)):
            images = [sample.image for sample in batch]
            for alias in self.classifiers:
                probabilities = ctx.models.get(alias)(images)
                for sample, row in zip(batch, probabilities, strict=True):
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

    def summarise(self, table: pa.Table, seed: int) -> dict[str, Json]:
        """Accuracies and drops in percent and percentage points, by classifier and variant.

        `unscored` counts pictures without an ImageNet label, `unpaired` edited ones whose original isn't there.
        `average_drop` is over the edits, without the baselines. `drop_vs_reference` is the drop from another variant
        that an edit started from, over the sources that have both.
        """
        rows = table.to_pylist()
        scored = [row for row in rows if row["label"] != UNSCORED]
        root = roots({row["id"]: row["parent"] for row in rows})
        figures: dict[str, Json] = {}
        unpaired = 0
        for alias in self.classifiers:
            mine = [row for row in scored if row["classifier"] == alias]
            of_source = {root[row["id"]]: float(row["correct"]) for row in mine if row["variant"] == ORIGINAL}
            edited = [row for row in mine if row["variant"] != ORIGINAL and root[row["id"]] in of_source]
            unpaired += sum(row["variant"] != ORIGINAL for row in mine) - len(edited)
            figures[alias] = self._figures(of_source, edited, root, seed)
        judges = len(self.classifiers)
        return {
            "confidence": self.confidence,
            "unscored": (len(rows) - len(scored)) // judges,
            "unpaired": unpaired // judges,
            "classifiers": figures,
        }

    def _figures(
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
    """ImageNet's index of the first label that has one, given as wnid or name; UNSCORED when none has."""
    return next((index for label in labels if (index := index_of(label)) is not None), UNSCORED)


def reference(sample: Sample) -> str:
    """The variant that the sample's last edit started from, for those that start from an edit; else empty."""
    value = sample.ops[-1]["requested"].get("reference") if sample.ops else None
    return value if isinstance(value, str) else ""


def roots(parents: Mapping[str, str]) -> dict[str, str]:
    """The oldest known ancestor of every id: what edits of one picture have in common, however many steps it took.

    Args:
        parents: id to its parent's id, empty for none. A parent need not be listed itself.
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
    """Bootstrap resamples of `n` sources, the same ones for every figure, so that figures stay comparable.

    Args:
        n: number of sources.
        draws: number of resamples.
        confidence: of the percentile intervals (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).
        seed: of the resampling.
    """

    def __init__(self, n: int, draws: int, confidence: float, seed: int) -> None:
        self._n, self._draws, self._seed = n, draws, seed
        self._tails = (1 - confidence) / 2, (1 + confidence) / 2

    def mean_of_ratios(self, top: Floats, bottom: Floats) -> dict[str, Json]:
        """Mean over columns of sum(top) / sum(bottom), with its interval: `value`, `low`, `high` in percent.

        Args:
            top: `[n, V]`, what each source lost in each variant.
            bottom: `[n, V]`, how many pictures it has there; every column has some.
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


def ratio_means(weights: NDArray[np.int64] | Floats, top: Floats, bottom: Floats) -> Floats:
    """`mean_v (W top)_v / (W bottom)_v` for each row of W `[R, n]`; columns that a resample emptied are left out."""
    tops, bottoms = weights @ top, weights @ bottom
    filled = bottoms > 0
    ratios = np.divide(tops, bottoms, out=np.zeros_like(tops), where=filled)
    columns = filled.sum(axis=1)
    return np.where(columns > 0, ratios.sum(axis=1) / np.maximum(columns, 1), np.nan)


def percent(value: float) -> float:
    """A share as percent, to two decimals."""
    return round(100 * float(value), 2)
