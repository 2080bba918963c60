"""Measure whether classifiers' probabilities are right, before and after temperature scaling.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599. A temperature is fitted on half
of the photographs and scored on the other half, both ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from variorum.kit.predicted import calibration as kit
from variorum.kit.predicted.answers import LIKELIEST, WHOLE, SharedAnswers
from variorum.kit.predicted.fields import OfClassifiers
from variorum.kit.predicted.offered import NO_ORIGINALS, Asked, by_model
from variorum.kit.predicted.pairing import ORIGINAL
from variorum.kit.predicted.resamples import Ratio, Resamples, percent
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
from variorum.statistics import at_edge, best_temperature

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

CLEAN = "clean_label"  # key of the metadata
CLOSE = 1e-3  # from 1, of the sum of a picture's probabilities, beside the rounding of float16


class Calibration(OfClassifiers):
    """Calibration errors with their floors, likelihood and Brier score, before and after temperature scaling.

    A picture counts if it has one label and the classifier knows it. Of a model with more than 100 outputs the 20
    largest probabilities are kept. Accuracy, confidence, the expected and the average error and the likelihood are
    exact all the same. The Brier score and all that follows a temperature take the others as equally likely, and there
    is no adaptive error.
    """

    whole_answers: ClassVar[bool] = True
    offers: ClassVar[Mapping[str, Figure]] = {
        "ece": Figure("calibration error of its confidence", "whole", "lower"),
        "tempered": Figure("calibration error after temperature scaling", "whole", "lower"),
    }
    late: ClassVar[frozenset[str]] = frozenset({"bins", "ranges", "bootstrap", "confidence"})

    bins: int = Field(default=kit.BINS, ge=5, le=50)
    """Bins of confidence, of equal width."""
    ranges: int = Field(default=kit.BINS, ge=5, le=50)
    """Ranges of the adaptive error, each with as many predictions."""
    against: Literal["given", "clean"] = "given"
    """Labels that count: the edition's, or those that a source has changed and kept as `clean_label`."""
    outside: NestedSource | None = None
    """Pictures of nothing that the classifiers know, to be told from the originals by the largest probability."""

    def references(self) -> Mapping[str, Source]:
        """`outside`, if given."""
        return {} if self.outside is None else {"outside": self.outside}

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, with the columns of the answers that evaluations share in reports."""
        known = {one.id for one in ctx.classes}
        judged = [replace(one, labels=self._labels(one, known)) for one in samples]
        for row in SharedAnswers(classifiers=self.classifiers).measure(judged, ctx):
            wide = np.full(WHOLE, -np.inf, np.float16)  # models with few and with many outputs share a table
            wide[: len(row["logp"])] = row["logp"]
            yield {name: value for name, value in row.items() if name != "logp_of"} | {"logp": wide}

    def _labels(self, sample: Sample, known: set[str]) -> tuple[str, ...]:
        labels = tuple(one for one in sample.labels if one in known)
        clean = sample.metadata.get(CLEAN)
        if self.against == "clean" and labels and not isinstance(clean, str):
            why = f"a picture has no {CLEAN} in its metadata; take the source label_overlap, or against: given"
            raise RecipeError(f"calibration.against: {why}")
        return (clean,) if self.against == "clean" and labels and isinstance(clean, str) else labels

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By classifier and variant; shares and errors in percent, likelihoods in nats, Brier scores in [0, 2].

        A `floor` is the error if labels are drawn from the probabilities themselves. `tempered` is after scaling by the
        `temperatures` of the two halves, fitted on originals, if there are such; at an `edge` of what is tried they are
        no fit. `unscored` pictures don't have one known label; probabilities of `dropped` ones don't add up to 1.
        """
        seed, classifiers = derive_seed(ctx.seed, "calibration"), dict[str, Json]()
        belongs = table["set"] if self.outside is not None and len(table) else np.full(len(table), "")
        own, outside = (by_model(Table(table.arrow.filter(belongs == name), table.step)) for name in ("", "outside"))
        others = {one.model: one for one in outside}
        for asked in own:
            classifiers[asked.model] = self._of_model(asked, seed)
            if asked.model in others and asked.original.any():
                classifiers[asked.model]["outside"] = self._told_apart(asked, others[asked.model], seed)  # type: ignore[index,call-overload]
        common = {name: getattr(self, name) for name in ("confidence", "against", "bins", "ranges")}
        return {**common, "names": list(self.classifiers), "classifiers": classifiers}

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """The expected error over originals and edits, before and after scaling; draws don't change temperatures."""
        seed = derive_seed(ctx.seed, "calibration")
        for asked in by_model(table):
            said = Said.of(asked)
            temperatures, scaled = said.tempered(seed)
            why = "half of the photographs have no picture to fit a temperature on" if len(said.rows) else NO_ORIGINALS
            told = f", from the {LIKELIEST} largest of {asked.outputs} outputs" if asked.outputs > WHOLE else ""
            told += f", {asked.model}: T at an end of what is tried" if any(map(at_edge, temperatures)) else ""
            for figure, one, more in (("ece", said if len(said.rows) else None, ""), ("tempered", scaled, told)):
                if one is None:
                    yield Answers(figure, asked.model, why_not=why)
                else:
                    yield kit.whole_error(figure, asked, one.rows, one.confidence, seed, more)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`reliability`: accuracy against confidence on the originals, before and after scaling."""
        curves: dict[str, tuple[Bin, ...]] = {}
        for alias, one in figures["classifiers"].items():
            first: Any = one["variants"].get(ORIGINAL) or next(iter(one["variants"].values()), {})
            for name, part in ((alias, first), (f"{alias}, tempered", first.get("tempered"))):
                curves |= {name: tuple(Bin(**bin_) for bin_ in part["bins"])} if part else {}
        return {"reliability": ReliabilityPlot("Accuracy against confidence", curves)} if curves else {}

    def _of_model(self, asked: Asked, seed: int) -> dict[str, Json]:
        said = Said.of(asked)
        temperatures, scaled = said.tempered(seed)
        names, column = asked.variants(said.rows)
        variants: dict[str, Any] = {}
        for place, name in enumerate(names):
            mine = column == place
            variants[name] = self._measured(said.only(mine), seed)
            if scaled is not None:
                variants[name]["tempered"] = self._measured(scaled.only(mine), seed)
        return {
            "outputs": asked.outputs,
            "unscored": int((asked.table["labels"] != 1).sum()),
            "dropped": said.dropped,
            "temperatures": [round(t, 4) for t in temperatures],
            "edge": any(map(at_edge, temperatures)),
            "variants": variants,
        }

    def _measured(self, said: Said, seed: int) -> dict[str, Json]:
        right = said.asked.right[said.rows]
        bins = kit.reliability(said.confidence, right, self.bins)
        floors = kit.errors_by_chance(said.confidence, seed, self.bins)
        photograph = np.unique(said.asked.photographs.of_row[said.rows], return_inverse=True)[1].reshape(-1)
        n, column = int(photograph.max()) + 1, kit.bin_of(said.confidence, self.bins)
        resamples = Resamples(n, self.bootstrap, self.confidence, seed)

        def summed(values: Array | None, column: Ints | int = 0, width: int = 1) -> Floats:
            return np.bincount(photograph * width + column, values, n * width).reshape(n, width).astype(np.float64)

        number, gaps = summed(None), summed(right - said.confidence, column, self.bins)
        parts = [weights.astype(np.float64) for weights in resamples.weights()]
        drawn = np.concatenate([np.abs(part @ gaps).sum(axis=1) / (part @ number)[:, 0] for part in parts])
        ece, average = kit.expected_calibration_error(bins), kit.average_calibration_error(bins)
        low, high = interval("whole", ece, drawn, max(n, 2), self.confidence)
        brier = np.exp(2 * said.logp + said.more).sum(axis=1) - 2 * np.exp(said.label) + 1
        ratios = [Ratio(summed(one), number) for one in (right, -said.label, brier)]
        accuracy, *scores = cast("list[Any]", resamples.means_of_ratios(ratios))
        of_p = [{key: round(end / 100, 4) for key, end in one.items()} for one in scores]
        errors: dict[str, dict[str, float]] = {
            "expected": {"value": ece, "low": max(low, 0.0), "high": min(high, 1.0), "floor": floors[0]},
            "average": {"value": average, "floor": floors[1]},
        }
        if said.asked.outputs <= WHOLE:
            label = said.asked.table["label"][said.rows]
            value, floor = kit.adaptive_calibration_error(np.exp(said.logp), label, seed, self.ranges)
            errors["adaptive"] = {"value": value, "floor": floor}
        return {
            **{f"{name}_calibration_error": {k: percent(v) for k, v in one.items()} for name, one in errors.items()},
            **dict(zip(("negative_log_likelihood", "brier_score"), of_p, strict=True)),
            "n": len(said.rows),
            "photographs": n,
            "confidence": percent(said.confidence.mean()),
            "accuracy": accuracy,
            "bins": [Bin(*one)._asdict() for one in zip(*(part.tolist() for part in bins), strict=True)],
        }

    def _told_apart(self, asked: Asked, others: Asked, seed: int) -> dict[str, Json]:
        inside = np.flatnonzero(asked.original)
        near, far = asked.table["confidence"][inside], others.table["confidence"]
        of = [asked.photographs.of_row[inside], others.photographs.of_row + len(asked.photographs.ids)]
        numbers, place = np.unique(np.concatenate(of), return_inverse=True)
        draws = Draws(len(numbers), self.bootstrap, self.confidence, seed)
        places = np.split(place.reshape(-1), [len(near)])
        auroc: dict[str, Any] = Separation(near, far, *places).resampled_auroc(draws)
        return {
            "n": len(near),
            "n_outside": len(far),
            "auroc": {key: percent(end) for key, end in auroc.items()},
            "fpr_at_95_tpr": percent((far >= np.quantile(near, 0.05, method="lower")).mean()),
        }


@dataclass(frozen=True, eq=False)
class Said:
    """One model's confidence, and log probabilities of labels, `[m]`, and of outputs, `[m, k]`.

    They are of the `rows` that count; those that are `dropped` have probabilities that don't add up to 1. `more [k]` is
    the log of how many outputs a column stands for: the last one for all that aren't kept one by one.
    """

    asked: Asked
    rows: Ints
    confidence: Floats
    label: Floats
    logp: Floats
    more: Floats
    dropped: int

    @classmethod
    def of(cls, asked: Asked) -> Said:
        """Those of one model."""
        kept = asked.outputs if asked.outputs <= WHOLE else LIKELIEST
        logp, rest = asked.table["logp"][:, :kept].astype(np.float64), asked.table["log_rest"]
        p = np.exp(logp)
        rounding = -(p * np.maximum(logp, -1e3)).sum(axis=1) * 2.0**-11
        sums = np.abs(p.sum(axis=1) + np.exp(rest) - 1) <= CLOSE + rounding
        counted = ((asked.original & asked.scored) | asked.edit) & (asked.table["labels"] == 1)
        rows = np.flatnonzero(counted & sums)
        label = np.log(np.maximum(asked.table["p_label"][rows], np.finfo(np.float32).tiny))
        others, more = asked.outputs - kept, np.zeros(kept)
        if others:
            more = np.append(more, np.log(others))
            logp = np.column_stack([logp, rest - more[-1]])
        return cls(asked, rows, asked.table["confidence"][rows], label, logp[rows], more, int((counted & ~sums).sum()))

    def only(self, mine: Bools) -> Said:
        """Those of some of the pictures."""
        return replace(self, **{name: getattr(self, name)[mine] for name in ("rows", "confidence", "label", "logp")})

    def tempered(self, seed: int) -> tuple[list[float], Said | None]:
        """The temperatures of the two halves of the photographs, and the probabilities by that of the other half."""
        rng, number = np.random.default_rng(derive_seed(seed, "halves")), len(self.asked.photographs.ids)
        half = (rng.permutation(number) % 2)[self.asked.photographs.of_row[self.rows]]
        original = self.asked.original[self.rows]
        fits = [self.only((half == one) & (original | ~original.any())) for one in (0, 1)]
        if not all(len(one.rows) for one in fits):
            return [], None
        temperatures = [best_temperature(one.logp, one.label, self.more) for one in fits]
        t = np.array(temperatures)[1 - half]
        raised = self.logp / t[:, None]
        total = np.logaddexp.reduce(raised + self.more, axis=1)
        logp, label = raised - total[:, None], self.label / t - total
        return temperatures, replace(self, confidence=np.exp(logp.max(axis=1)).clip(max=1), label=label, logp=logp)
