"""Measure which share of its accuracy a classifier keeps on pictures that an oracle still recognises.

FMR = PA / SA (Zhang et al., ICLR 2024, arXiv 2308.10632): accuracy on the pushed pictures over that on their controls,
which went the same way through the space without a change. Sets that were made against different models can't be
compared, so each says what it is made against, and beside it stands a set that is made against none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.kit.predicted.answers import answers, contents_named, last_of, number_in, predicted
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import OfFamilies
from variorum.kit.predicted.offered import NO_EDITS, Asked, axes_of, by_model
from variorum.kit.predicted.pairing import Paired, paired
from variorum.kit.predicted.resamples import Resamples, percent
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.lookup import cut
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.statistics import FEW, paired_interval

if TYPE_CHECKING:
    from variorum.arrays import Floats

CONTROL = "control"
LEAST = 10
"""Controls that a model must be right about; with fewer there is no FMR."""
PART = "it decided which pictures were made"
PARTS = {"adversary": "made_against", "oracle": "oracles"}
"""By part, the request that names the models."""


class OracleRobustness(OfFamilies):
    """SA, PA and FMR of each classifier, with intervals over photographs, and how often an oracle stopped the pushing.

    It reads editions of the generator `oracle_perturbation`.
    """

    offers: ClassVar[Mapping[str, Figure]] = {
        "kept": Figure("right on pushed pictures, of the photographs whose control it is right about", filtered=PART)
    }

    classifiers: tuple[str, ...] = ("classifier_small",)
    """Classifiers that took no part, or only as the audit."""
    makers: tuple[str, ...] = ("classifier_gate", "classifier")
    """Classifiers with the weights of the adversary or of an oracle: they decided what was made and are shown apart."""

    def uses(self) -> list[Use]:
        """Return the classifiers; the makers only describe the pictures."""
        return [*super().uses(), *(Use(alias, "classifier", describes=True) for alias in self.makers)]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, as `accuracy_drop`'s, with what the picture's record says.

        `part` is `adversary` or `oracle` where the classifier has the weights of that model, else `""`.
        """
        for answer in answers(samples, list(dict.fromkeys([*self.asked(ctx), *self.makers])), ctx):
            part = _part(answer.sample, ctx.models.pin(answer.alias))
            yield {**predicted(answer, ctx), **made(answer.sample), "part": part}

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Figures in percent by set and by classifier.

        `order` names the sets. `sets` has of each what it is `against`, its `budget`, the share of pictures that an
        oracle `stopped`, the share on which the `audit` agrees with the label, and the median `ssim`. `classifiers` has
        by set `sa`, accuracy on the controls, `pa`, accuracy on the set's pictures, over the `n` photographs that have
        both, and `fmr`, their ratio with a paired bootstrap interval. A model that is right about fewer than 10 of the
        controls has no `fmr`. `idle` are models under `makers` that took no part, and are left out.
        """
        names = list(dict.fromkeys([*self.named(table), *self.makers]))
        found: dict[str, Json] = {**self.common(table), "order": [], "sets": {}, "classifiers": {}, "idle": []}
        if not len(table):
            return found
        data = paired(table, names)
        resamples = self.resamples(data.sources, ctx)
        results, sets = Results(resamples), _sets(table)
        part = dict(sorted(set(zip(table["classifier"].tolist(), table["part"].tolist(), strict=True))))
        order = sorted(sets, key=lambda name: (not sets[name]["against"], sets[name]["budget"]))
        classifiers: dict[str, Json] = {}
        idle = [alias for alias in self.makers if not part.get(alias) and alias not in self.classifiers]
        for number, alias in ((number, alias) for number, alias in enumerate(names) if alias not in idle):
            own = _of_model(data, number, order, results, resamples, self.confidence)
            classifiers[alias] = {"part": part.get(alias, ""), "preprocessing": data.preprocessing[number], "sets": own}
        results.fill()
        found["order"], found["idle"] = [*order], [*idle]
        return {**found, "sets": sets, "classifiers": classifiers}

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """What each model has `kept` of the controls that it is right about."""
        for asked in by_model(table):
            yield _kept(asked)


# ── what records say ─────────────────────────────────────────────────────────────────────────────────────────────────


def made(sample: Sample) -> Row:
    """Columns of how a picture was made: the steps that were asked for, against whom, and what came of it.

    `budget` is 0 for a control without a change, -1 for a picture of another generator. `audit` says whether the
    audit's first answer is the label. What a record doesn't say is NaN.
    """
    requested, achieved, _ = last_of(sample)
    budget, against = _request(requested)
    top1, alias, ssim = achieved.get("top1"), requested.get("audit"), number_in(achieved.get("ssim"))
    said = top1.get(alias) if isinstance(top1, dict) and isinstance(alias, str) else None
    return {
        "budget": budget,
        "against": " + ".join(against),
        "stopped": achieved.get("stopped_by") == "oracle",
        "audit": float(said in sample.labels) if isinstance(said, str) else math.nan,
        "ssim": ssim if abs(ssim) <= 1 else math.nan,
    }


def _request(asked: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Budget and adversaries of a request."""
    budget, against = asked.get("budget"), asked.get("made_against")
    if type(budget) is not int or not 0 <= budget <= 200:
        return -1, []
    return budget, [cut(one) for one in against if isinstance(one, str)] if isinstance(against, list) else []


def _part(sample: Sample, pin: str) -> str:
    """Whether a model of this pin is the picture's adversary or one of its oracles; `""` for neither."""
    own = contents_of(pin)
    return next((part for part, key in PARTS.items() if contents_named(sample, key) & own), "")


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sets(table: Table) -> dict[str, dict[str, Any]]:
    """What each set of pictures is, by variant; the control and pictures of other generators are left out."""
    variant, found = table["variant"].astype(str), {}
    for name in np.unique(variant[table["budget"] > 0]).tolist():
        rows = np.flatnonzero(variant == name)
        rows = rows[np.unique(table["id"][rows].astype(str), return_index=True)[1]]  # each picture once
        ssim, audit = (np.asarray(table[one], np.float64)[rows] for one in ("ssim", "audit"))
        found[name] = {
            "against": str(table["against"][rows[0]]),
            "budget": int(table["budget"][rows[0]]),
            "n": len(rows),
            "stopped": percent(float(table["stopped"][rows].mean())),
            "audit": percent(float(np.nanmean(audit))) if np.isfinite(audit).any() else None,
            "ssim": round(float(np.nanmedian(ssim)), 3) if np.isfinite(ssim).any() else None,
        }
    return found


def _of_model(
    data: Paired, number: int, order: Sequence[str], results: Results, resamples: Resamples, confidence: float
) -> dict[str, Json]:
    """Figures of one model by set, which `results` completes."""
    mine, at = data.edits(number, np.ones(data.sources, bool)), {name: n for n, name in enumerate(data.variants)}
    there, right = data.cells(mine) > 0, data.cells(mine, data.right[number]) > 0
    found: dict[str, Json] = {}
    for name in (one for one in order if {one, CONTROL} <= at.keys()):
        both = there[:, at[CONTROL]] & there[:, at[name]]
        if not both.any():
            continue
        before, after = ((right[:, at[one]] & both).astype(np.float64) for one in (CONTROL, name))
        counted = both[:, None].astype(np.float64)
        figure: dict[str, Json] = {"n": int(both.sum()), "right": int(before.sum())}
        figure |= {"sa": results.told(before[:, None], counted), "pa": results.told(after[:, None], counted)}
        if before.sum() >= LEAST:
            alike = before.sum() == both.sum()  # right about every control, so FMR is PA
            figure["fmr"] = figure["pa"] if alike else ratio(before, after, int(both.sum()), resamples, confidence)
        found[name] = figure
    return found


def ratio(before: Floats, after: Floats, n: int, resamples: Resamples, confidence: float) -> dict[str, Json]:
    """FMR in percent with its interval over photographs: a paired bootstrap, and exact where fewer than ten differ.

    Args:
        before: of each photograph, whether the model is right on its control, 0 or 1, `[S]`.
        after: the same on the pushed picture.
        n: photographs that have both pictures.
        resamples: of the photographs.
        confidence: level of the interval.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.concatenate([(part @ after) / (part @ before) for part in resamples.weights()])
    low, high = np.nanquantile(drawn[np.isfinite(drawn)], resamples.tails)
    lost, gained = int((before > after).sum()), int((after > before).sum())
    if lost + gained < FEW:
        least, most = (end * n / before.sum() for end in paired_interval(lost, gained, n, confidence))
        low, high = min(low, max(1 - most, 0)), max(high, 1 - least)
    return {"value": percent(after.sum() / before.sum()), "low": percent(low), "high": percent(high), "photographs": n}


def _kept(asked: Asked) -> Answers:
    """One model's row of a report. Pictures belong together by their oldest ancestor."""
    requests = asked.requests()
    budgets = {name: _request(all_of[0]) for name, all_of in requests.items()}
    against = {name: one for name, (_, one) in budgets.items() if one}
    rows = np.flatnonzero(asked.edit & np.isin(asked.variant, list(against)))
    sure = asked.beside(rows, (asked.variant == CONTROL) & asked.right)
    if not len(sure):
        why_not = "it is right about no control of a pushed photograph" if len(rows) else NO_EDITS
        return Answers("kept", asked.model, why_not=why_not)
    names, column = asked.variants(sure)
    random = [name for name, (steps, one) in budgets.items() if steps > 0 and not one]
    beside = asked.beside(np.flatnonzero(np.isin(asked.variant, random) & asked.scored), sure)
    said = [f"made against {' and '.join(sorted({one for named in against.values() for one in named}))}"]
    said += [f"{asked.model}: {100 * np.mean(asked.right[beside]):.1f} % in random directions"] if len(beside) else []
    note, axes = ", ".join(said), axes_of(names, requests)
    return asked.share("kept", sure, asked.right[sure], column, names, axes=axes, note=note)
