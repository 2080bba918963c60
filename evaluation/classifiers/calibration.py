"""Measure whether classifiers' probabilities are right, before and after temperature scaling.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599. A temperature is fitted on half
of the photographs and scored on the other half, both ways, so that it has seen no picture that it is scored on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from variorum.kit.predicted.answers import DISTRIBUTION, LIKELIEST, WHOLE, SharedAnswers
from variorum.kit.predicted.calibration import (
    BINS,
    adaptive_calibration_error,
    bin_of,
    errors_by_chance,
    reliability,
    whole_error,
)
from variorum.kit.predicted.fields import OfClassifiers
from variorum.kit.predicted.offered import NO_ORIGINALS, Asked, by_model
from variorum.kit.predicted.pairing import ORIGINAL
from variorum.kit.predicted.resamples import Resamples, percent
from variorum.kit.resampling.separation import Draws, Separation
from variorum.reports.profile.statistics import interval
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import NestedSource
from variorum.schemas.plot import Bin, Plot, ReliabilityPlot
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.statistics import at_edge, best_temperature, log_total

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

CLEAN = "clean_label"
"""Key of the metadata with a label from before it was changed, as the source `label_overlap` has it."""
CLOSE = 1e-3
"""How far from 1 the sum of a picture's probabilities may be."""
HALF = 2.0**-11
"""Rounding of float16, relative."""
LEAST = float(np.finfo(np.float32).tiny)
"""Probability of a label below which its logarithm is taken to be that of this."""
SCALES = {
    "expected_calibration_error": 100,
    "average_calibration_error": 100,
    "negative_log_likelihood": 1,
    "brier_score": 1,
}
"""Figures with what they are multiplied by: errors are in percent."""
NOT_KEPT = "maximum logit and energy need logits, and models give probabilities"


class Calibration(OfClassifiers):
    """Calibration errors with their floors, likelihood and Brier score, before and after temperature scaling.

    A picture counts if the classifier knows its label and it has one alone. Accuracy, confidence, the expected and the
    average error and the likelihood are exact for all models. Of a model with more than 100 outputs the 20 largest
    probabilities are kept. The others are taken to share what is left evenly in the Brier score and in all that follows
    a temperature, and there is no adaptive error, which needs all of them.
    """

    whole_answers: ClassVar[bool] = True
    offers: ClassVar[Mapping[str, Figure]] = {
        "ece": Figure("calibration error of its confidence", "whole", "lower"),
        "tempered": Figure("calibration error after temperature scaling", "whole", "lower"),
    }
    late: ClassVar[frozenset[str]] = frozenset({"bins", "ranges", "bootstrap", "confidence"})

    bins: int = Field(default=BINS, ge=5, le=50)
    """Bins of confidence, of equal width."""
    ranges: int = Field(default=BINS, ge=5, le=50)
    """Ranges of the adaptive error, each with as many predictions."""
    against: Literal["given", "clean"] = "given"
    """Labels that count: those of the edition, or those that a source has changed and kept as `clean_label`."""
    outside: NestedSource | None = None
    """Pictures of nothing that the classifiers know, which their confidence is to tell from the originals."""

    def references(self) -> Mapping[str, Source]:
        """`outside`, if it is given."""
        return {} if self.outside is None else {"outside": self.outside}

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier: the columns of the answers that evaluations share in reports.

        Raises:
            RecipeError: as `accuracy_drop`, or a picture has no clean label where those count.
        """
        known = {one.id for one in ctx.classes}
        judged = [replace(one, labels=tuple(self._labels(one, known))) for one in samples]
        for row in SharedAnswers(classifiers=self.classifiers).measure(judged, ctx):
            beyond = WHOLE - len(row["logp"])  # models with few and with many outputs share a table
            logp = np.pad(row["logp"], (0, beyond), constant_values=-np.inf)
            yield {name: value for name, value in row.items() if name != "logp_of"} | {"logp": logp}

    def _labels(self, sample: Sample, known: set[str]) -> Iterator[str]:
        for label in sample.labels:
            if label in known and self.against == "clean":
                if not isinstance(clean := sample.metadata.get(CLEAN), str):
                    raise RecipeError(
                        f"calibration.against: a picture has no {CLEAN} in its metadata; take the source "
                        "label_overlap, which keeps it, or against: given"
                    )
                yield clean
            elif label in known:
                yield label

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By classifier and variant; shares and errors in percent, likelihoods in nats, Brier scores in [0, 2].

        A variant has `n` pictures of `photographs`, the mean `confidence` and, with intervals, the figures in `SCALES`
        and the `accuracy`. A `floor` is the mean error if labels are drawn from the probabilities themselves.
        `tempered` has the same after scaling by `temperatures`, those of the two halves. They are fitted on originals,
        if there are such; `edge` says that one is an end of what is tried. `unscored` pictures have no label that the
        classifier knows, or several; `dropped` ones have probabilities that don't add up to 1.
        """
        names, classifiers = tuple(dict.fromkeys(self.classifiers)), dict[str, Json]()
        given = table["set"] if self.outside is not None and len(table) else np.full(len(table), "")
        own, outside = (Table(table.arrow.filter(given == name), table.step) for name in ("", "outside"))
        others = {one.model: one for one in by_model(outside)}
        for asked in by_model(own):
            seed = derive_seed(ctx.seed, "calibration")
            found = self._of_model(Said.of(asked), seed)
            if asked.model in others and asked.original.any():
                found["outside"] = self._told_apart(asked, others[asked.model], seed)
            classifiers[asked.model] = found
        common: dict[str, Json] = {"confidence": self.confidence, "against": self.against, "names": list(names)}
        return {**common, "bins": self.bins, "ranges": self.ranges, "classifiers": classifiers}

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Calibration error over originals and edits, as `ece` and after temperature scaling as `tempered`.

        The temperatures are those of `figures`; draws of photographs don't change them.
        """
        seed = derive_seed(ctx.seed, "calibration")
        for asked in by_model(table):
            said = Said.of(asked)
            if not len(said.rows):
                yield from (Answers(name, asked.model, why_not=NO_ORIGINALS) for name in self.offers)
                continue
            yield whole_error("ece", asked, said.rows, said.confidence, seed)
            temperatures, scaled = said.tempered(seed)
            if scaled is None:
                yield Answers("tempered", asked.model, why_not="there is one photograph, and none to fit on")
                continue
            told = whole_error("tempered", asked, said.rows, scaled.confidence, seed)
            yield replace(told, note=f"{told.note}, T {' and '.join(f'{t:.2f}' for t in temperatures)}")

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`reliability`: accuracy against confidence on the first variant, before and after scaling."""
        curves: dict[str, tuple[Bin, ...]] = {}
        for alias, one in figures["classifiers"].items():
            for first in list(one["variants"].values())[:1]:
                for name, part in ((alias, first), (f"{alias}, tempered", first.get("tempered", {}))):
                    curves |= {name: tuple(Bin(**bin_) for bin_ in part["bins"])} if part else {}
        return {"reliability": ReliabilityPlot("Accuracy against confidence", curves)} if curves else {}

    def _of_model(self, said: Said, seed: int) -> dict[str, Json]:
        temperatures, scaled = said.tempered(seed)
        names, column = said.asked.variants(said.rows)
        variants: dict[str, Json] = {}
        for place in sorted(range(len(names)), key=lambda place: names[place] != ORIGINAL):
            mine = column == place
            variants[names[place]] = self._measured(said.only(mine), seed)
            if scaled is not None:
                variants[names[place]]["tempered"] = self._measured(scaled.only(mine), seed)  # type: ignore[index,call-overload]
        return {
            "outputs": said.asked.outputs,
            "preprocessing": str(said.asked.table["preprocessing"][0]),
            "unscored": said.unscored,
            "dropped": said.dropped,
            "temperatures": [round(t, 4) for t in temperatures],
            "edge": any(map(at_edge, temperatures)),
            "variants": variants,
        }

    def _measured(self, said: Said, seed: int) -> dict[str, Json]:
        bins, floors = (
            reliability(said.confidence, said.right, self.bins),
            errors_by_chance(said.confidence, seed, self.bins),
        )
        photograph = np.unique(said.asked.photographs.of_row[said.rows], return_inverse=True)[1].reshape(-1)
        columns, n = bin_of(said.confidence, self.bins), int(photograph.max()) + 1
        resamples = Resamples(n, self.bootstrap, self.confidence, seed)

        def summed(values: Floats | None, column: Ints | int = 0, width: int = 1) -> Floats:
            return np.bincount(photograph * width + column, values, n * width).reshape(n, width).astype(np.float64)

        number = summed(None)
        gaps, counts = (summed(one, columns, self.bins) for one in (said.right - said.confidence, None))

        def told(weights: Floats) -> Floats:
            """Expected and average error, likelihood and Brier score, `[R, 4]`."""
            gap, count, total = np.abs(weights @ gaps), weights @ counts, (weights @ number)[:, 0]
            average = (gap / np.maximum(count, 1)).sum(axis=1) / (count > 0).sum(axis=1)
            scores = ((weights @ summed(one))[:, 0] / total for one in (-said.label, said.brier()))
            return np.stack([gap.sum(axis=1) / total, average, *scores], axis=1)

        values = told(np.ones((1, n)))[0]
        drawn = np.concatenate([told(part.astype(np.float64)) for part in resamples.weights()])
        found: dict[str, Json] = {}
        for one, (name, unit) in enumerate(SCALES.items()):
            low, high = interval("whole", values[one], drawn[:, one], max(n, 2))
            ends = {"value": values[one], "low": max(low, 0.0), "high": min(high, 1.0) if unit == 100 else high}
            floor: dict[str, Json] = {"floor": percent(floors[one])} if unit == 100 else {}
            found[name] = {key: round(unit * float(end), 4) for key, end in ends.items()} | floor
        if not said.others:
            pair = adaptive_calibration_error(np.exp(said.logp), said.output, seed, self.ranges)
            found["adaptive_calibration_error"] = dict(zip(("value", "floor"), map(percent, pair), strict=True))
        return {
            "n": len(said.right),
            "photographs": n,
            "confidence": percent(said.confidence.mean()),
            "accuracy": resamples.mean_of_ratios(summed(said.right), number),
            **found,
            "bins": [
                {"confidence": round(float(sure), 4), "accuracy": round(float(share), 4), "n": int(number)}
                for sure, share, number in zip(*bins, strict=True)
            ],
        }

    def _told_apart(self, asked: Asked, others: Asked, seed: int) -> dict[str, Json]:
        """How well the largest probability tells originals from `outside`."""
        inside = np.flatnonzero(asked.original)
        near, far = asked.table["confidence"][inside], others.table["confidence"]
        both = np.concatenate(
            [asked.photographs.of_row[inside], others.photographs.of_row + len(asked.photographs.ids)]
        )
        numbers, place = np.unique(both, return_inverse=True)
        draws = Draws(len(numbers), self.bootstrap, self.confidence, seed)
        first, second = np.split(place.reshape(-1), [len(near)])
        auroc: dict[str, Any] = Separation(near, far, first, second).resampled_auroc(draws)
        return {
            "n": len(near),
            "n_outside": len(far),
            "auroc": {key: percent(end) for key, end in auroc.items()},
            "fpr_at_95_tpr": percent((far >= np.quantile(near, 0.05, method="lower")).mean()),
            "why_not": NOT_KEPT,
        }


@dataclass(frozen=True, eq=False)
class Said:
    """One model's probabilities on the pictures that count, `[m]` of them.

    Attributes:
        asked: the model's answers.
        rows: of its table.
        confidence: largest probability.
        right: whether that is of the label.
        label: log probability of the label.
        output: index of the label.
        logp: log probabilities, `[m, k]`.
        rest: log of what further outputs have together.
        others: their number.
        unscored: pictures that don't count, as they have no label that the model knows, or several.
        dropped: those whose probabilities don't add up to 1.
    """

    asked: Asked
    rows: Ints
    confidence: Floats
    right: Bools
    label: Floats
    output: Ints
    logp: Floats
    rest: Floats
    others: int
    unscored: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, asked: Asked) -> Said:
        """Those of one model; columns of `DISTRIBUTION` must be there."""
        kept = asked.outputs if asked.outputs <= WHOLE else LIKELIEST
        logp, rest = (asked.table[name].astype(np.float64) for name in (DISTRIBUTION[0], DISTRIBUTION[2]))
        p = np.exp(logp := logp[:, :kept])
        sums = np.abs(p.sum(axis=1) + np.exp(rest) - 1) <= CLOSE + HALF * -(p * np.maximum(logp, -1e3)).sum(axis=1)
        pictures = (asked.original & asked.scored) | asked.edit
        one = pictures & (asked.table["labels"] == 1)
        rows = np.flatnonzero(one & sums)
        label = np.log(np.maximum(asked.table["p_label"][rows], LEAST))
        return cls(
            asked,
            rows,
            asked.table["confidence"][rows],
            asked.right[rows],
            label,
            asked.table["label"][rows],
            logp[rows],
            rest[rows],
            asked.outputs - kept,
            int((~asked.scored | (asked.scored & (asked.table["labels"] != 1))).sum()),
            int((one & ~sums).sum()),
        )

    def only(self, mine: Bools) -> Said:
        """Those of some of the pictures."""
        parts = ("rows", "confidence", "right", "label", "output", "logp", "rest")
        return replace(self, **{name: getattr(self, name)[mine] for name in parts})

    def brier(self) -> Floats:
        """Σ (p - label)² of each picture, in [0, 2]."""
        evenly = np.exp(2 * self.rest) / max(self.others, 1)
        return np.exp(2 * self.logp).sum(axis=1) + evenly - 2 * np.exp(self.label) + 1

    def tempered(self, seed: int) -> tuple[list[float], Said | None]:
        """The temperatures of the two halves of the photographs, and the probabilities by that of the other half."""
        number = len(self.asked.photographs.ids)
        half = (np.random.default_rng(derive_seed(seed, "halves")).permutation(number) % 2)[
            self.asked.photographs.of_row[self.rows]
        ]
        fits = self.asked.original[self.rows]
        fits = fits if fits.any() else np.ones_like(fits)
        if not all((fits & (half == one)).any() for one in (0, 1)):
            return [], None
        found = []
        for one in (0, 1):
            mine = self.only(fits & (half == one))
            found.append(best_temperature(mine.logp, mine.label, mine.rest, self.others))
        t = np.array(found)[1 - half]
        total = log_total(self.logp, t, self.rest, self.others)
        evenly = np.log(max(self.others, 1))
        confidence = np.exp(self.logp.max(axis=1, initial=-np.inf) / t - total)
        return found, replace(
            self,
            confidence=np.clip(confidence, 0, 1),
            label=self.label / t - total,
            logp=self.logp / t[:, None] - total[:, None],
            rest=evenly + (self.rest - evenly) / t - total,
        )
