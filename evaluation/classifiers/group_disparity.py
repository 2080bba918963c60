"""Compare a classifier's accuracy between groups of pictures, such as regions or incomes.

Groups are what the data says of its pictures: a column of a metadata file, or a key of a dataset's records. None is
guessed from pixels. The question is that of De Vries et al., Does Object Recognition Work for Everyone? (CVPR Workshops
2019, arXiv 1906.02659), and of the fairness indicators of Goyal et al. (FAccT 2022, arXiv 2202.07603), which SEER
(arXiv 2202.08360) reports. By class the gap is the accuracy disparity of Hu et al. (ICML 2023, arXiv
2211.15762).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from variorum.evaluation.classifiers.group_gaps import changes, disparity, pairs, resampled, scored
from variorum.evaluation.classifiers.groups import alike, answers_of, cells_of, equal_shares, gathered
from variorum.evaluation.classifiers.worst_group import worst_group
from variorum.kit.predicted import drops
from variorum.kit.predicted.answers import answers, reference, said
from variorum.kit.predicted.fields import OfClassifiers
from variorum.kit.predicted.offered import by_model
from variorum.kit.predicted.pairing import UNSCORED, Paired, paired
from variorum.kit.predicted.resamples import Resamples
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import each_once
from variorum.schemas.lookup import cut
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers as Told
from variorum.schemas.rows import Figure
from variorum.schemas.sample import Sample, is_baseline
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints
    from variorum.evaluation.classifiers.groups import Cells

TOP = {"top1": 1, "top5": 5}
MOST = 50
"""Groups of one key that are compared; more are values such as numbers, which belong into a few classes first."""
LISTED = 100
"""Groups with too few households that are listed."""


class GroupDisparity(OfClassifiers):
    """Rates by group, gaps and tests of all pairs, for the pictures and for what edits of them cost.

    Attributes:
        by: what makes groups: an `attribute`, one or more keys of the metadata, or the `label`, a group for each class.
        groups: keys of the samples' metadata, such as columns of a folder's `groups.csv` or `metadata.csv`.
        metric: a prediction is right if a label is the first output, or among the first five.
        least: groups with fewer households are listed and not compared.
        household: key of the metadata that says which pictures belong together, such as those of one family; null for
            the photograph that they were made of.
    """

    revision = 2
    offers: ClassVar[Mapping[str, Figure]] = {
        "worst": Figure("accuracy on the worst group", "least"),
        "spread": Figure("accuracy on the best group less that on the worst", "whole", "lower"),
    }
    late: ClassVar[frozenset[str]] = frozenset({"least", "bootstrap", "confidence"})

    by: Literal["attribute", "label"] = "attribute"
    groups: tuple[str, ...] = Field(default=("group",), min_length=1)
    metric: Literal["top1", "top5"] = "top1"
    least: int = Field(default=20, ge=2)
    household: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the groupings."""
        return self.groups if self.by == "attribute" else ("label",)

    _each_once = field_validator("groups")(each_once("must be names of metadata, each once", bool))

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, as `accuracy_drop`'s, with the picture's groups, household and class.

        `correct` is by the metric. `groups` is a JSON list with a text for each key, `""` where the picture has none.

        Raises:
            RecipeError: as `accuracy_drop`, or the metric is `top5` and a classifier has at most five outputs.
        """
        first, called = TOP[self.metric], {one.id: one.name for one in ctx.classes}
        for sample, alias, model, labels, row in answers(samples, self.classifiers, ctx):
            if first > 1 and len(row) <= first:
                raise RecipeError(
                    f"{cut(repr(alias))} has {len(row)} outputs, so top5 is always right; set metric to top1"
                )
            best = np.argsort(-row, kind="stable")[:first]
            groups = [said(sample.metadata, key) for key in self.groups]
            groups = groups if self.by == "attribute" else [called.get(one, one) for one in (*sample.labels, "")][:1]
            yield {
                "id": sample.id,
                "parent": sample.parent,
                "variant": sample.variant,
                "reference": reference(sample),
                "classifier": alias,
                "label": labels[0] if labels else UNSCORED,
                "class": sample.labels[0] if sample.labels else "",
                "correct": bool(np.isin(best, labels).any()),
                "confidence": float(row.max()),
                "outputs": len(row),
                "preprocessing": str(getattr(model, "preprocessing", "")),
                "groups": json.dumps(groups, ensure_ascii=False),
                "household": said(sample.metadata, self.household) if self.household else sample.photograph,
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By classifier and key: rates in percent of groups of originals, their gap, and tests of all pairs.

        `groups` has `n`, `households`, `rate`, with edits `drop`, and `equal_classes`, the rate with equal weights of
        the `classes` that occur in every group; `gaps` has the same three, as `disparity` gives them. The last two are
        left out if a group has fewer than `least` households for them. `few` are the groups that aren't compared, with
        their households; `unknown` counts the originals without the key. `why_not` says why nothing is compared.
        `differences` are those of two classifiers' worst rates and gaps, in percentage points, on what both scored.
        """
        names = tuple(dict.fromkeys(self.classifiers))
        common: dict[str, Json] = {
            "confidence": self.confidence,
            "metric": self.metric,
            "least": self.least,
            "household": self.household or "",
            "by": list(self.keys),
            "names": list(names),
        }
        if not len(table):
            return {**common, "classifiers": {}}
        data = paired(table, names)
        sources, found = _Sources(table, data, len(self.keys)), dict[str, Json]()
        seeds = [derive_seed(ctx.seed, "group_disparity", key) for key in self.keys]
        for number, alias in enumerate(names):
            of_keys: dict[str, Json] = {
                key: self._compared(data, number, sources, place, seeds[place]) for place, key in enumerate(self.keys)
            }
            found[alias] = {
                "outputs": data.outputs[number],
                "preprocessing": data.preprocessing[number],
                "by": of_keys,
            }
        differences: list[Json] = [
            {"of": [names[one], names[other]], "by": key, **changed}
            for one, other in drops.pairs(len(names))
            for place, key in enumerate(self.keys)
            if (changed := self._changed(data, (one, other), sources, place, seeds[place]))
        ]
        return {**common, "classifiers": found, "differences": differences}

    def rows(self, table: Table, ctx: Context) -> Iterator[Told]:
        """Each model's top-1 accuracy on the originals of its `worst` group, and the `spread` over groups.

        Groups are those of one of the keys of `groups`, else of another key, else the classes; see `worst_group`.
        """
        for asked in by_model(table):
            seed = derive_seed(ctx.seed, "group_disparity")
            yield from worst_group(asked, self.groups, self.least, MOST, ctx.classes, seed)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`groups_1` and so on: the rate of each group, by classifier, one plot for each key."""
        found: dict[str, Plot] = {}
        for number, key in enumerate(figures["by"], 1):
            of = {name: one["by"][key]["groups"] for name, one in figures["classifiers"].items()}
            rows = tuple(dict.fromkeys(group for groups in of.values() for group in groups))
            if rows:
                series = {
                    name: tuple(point(groups.get(row, {}).get("rate")) for row in rows) for name, groups in of.items()
                }
                found[f"groups_{number}"] = IntervalPlot(
                    f"Accuracy by {key}", f"top-{TOP[figures['metric']]} accuracy in percent", rows, series
                )
        return found

    def _ranked(self, there: Bools, sources: _Sources, place: int) -> tuple[list[int], list[int], Ints]:
        """By group its households, the groups with enough of them, and each source's place among these or -1."""
        names, group = sources.names[place], np.where(there, sources.group[:, place], -1)
        both = np.unique(np.stack([group, sources.household])[:, group >= 0], axis=1)
        held = np.bincount(both[0], minlength=len(names)).tolist()
        ranked = [one for one, n in enumerate(held) if n >= self.least]
        renumbered = np.full(len(held) + 1, -1)
        renumbered[ranked] = np.arange(len(ranked))
        return held, ranked, renumbered[group]

    def _changed(
        self, data: Paired, pair: tuple[int, int], sources: _Sources, place: int, seed: int
    ) -> dict[str, dict[str, Json]]:
        """The differences of two classifiers; none if there aren't two groups to compare."""
        (one, first), (other, second) = (data.originals(number) for number in pair)
        there = one & other
        _, ranked, group = self._ranked(there, sources, place)
        if _why_not(len(ranked), 1, self.least):
            return {}
        cells, cell = cells_of(sources.household, group, [sources.names[place][number] for number in ranked])
        tops = [gathered(right.astype(np.float64), cell, cells) for right in (first, second)]
        resamples = Resamples(cells.households, self.bootstrap, self.confidence, seed)
        return changes(tops, gathered(there.astype(np.float64), cell, cells), cells, resamples, self.confidence)

    def _compared(self, data: Paired, number: int, sources: _Sources, place: int, seed: int) -> dict[str, Json]:
        """The figures of one classifier and key."""
        there, right = data.originals(number)
        names = sources.names[place]
        held, ranked, group = self._ranked(there, sources, place)
        few = {names[one]: n for one, n in enumerate(held) if 0 < n < self.least}
        result: dict[str, Json] = {
            "unknown": int((there & (sources.group[:, place] < 0)).sum()),
            "few": dict(sorted(few.items(), key=lambda item: (-item[1], item[0]))[:LISTED]),
            "more_few": max(0, len(few) - LISTED),
            "groups": {},
        }
        if why := _why_not(len(ranked), len(few), self.least):
            return {**result, "why_not": why}
        cells, cell = cells_of(sources.household, group, [names[one] for one in ranked])
        weights, classes = equal_shares(sources.classes, group, len(ranked))
        equal, hits = there.astype(np.float64), right.astype(np.float64)
        answers = answers_of(hits, equal, cell, cells)
        correlations = alike(answers, cells)
        gaps: dict[str, dict[str, Any]] = {}
        for name, weight in (("rate", equal), ("equal_classes", weights)):
            weighted = answers_of(hits, weight, cell, cells)
            if self._enough(weighted.weight, cells):
                rates = scored(weighted, cells, correlations.by_group, level=self.confidence)
                rng = np.random.default_rng(seed)
                gaps[name] = disparity(weighted.right, weighted.weight, cells, rates=rates, rng=rng)
        if (lost := _drops(data, number)) is not None:
            top, bottom = (gathered(part, cell, cells) for part in lost)
            if self._enough(bottom, cells):
                resamples = Resamples(cells.households, self.bootstrap, self.confidence, seed)
                rates, rng = resampled(top, bottom, cells, resamples), np.random.default_rng(seed)
                gaps["drop"] = disparity(top, bottom, cells, rates=rates, rng=rng)
        tests = pairs(answers, cells, correlations)
        groups: dict[str, Json] = {}
        for one, name in enumerate(cells.names):
            of_group: dict[str, Json] = {kind: gap["rates"][name] for kind, gap in gaps.items()}
            groups[name] = {"n": int((group == one).sum()), "households": held[ranked[one]], **of_group}
        found: dict[str, Json] = {
            kind: {key: value for key, value in gap.items() if key != "rates"} for kind, gap in gaps.items()
        }
        significant = sum(bool(test["significant"]) for test in tests)
        more: dict[str, Json] = {"classes": classes, "pairs": [*tests], "significant": significant}
        return {**result, "groups": groups, "gaps": found, **more}

    def _enough(self, bottom: Floats, cells: Cells) -> bool:
        """Return whether a figure is about at least `least` households in each group."""
        held = np.bincount(cells.group[bottom > 0], minlength=len(cells.names))
        return bool((held >= self.least).all())


class _Sources:
    """The originals' own facts.

    Attributes:
        household: number of each source's household, `[S]`.
        classes: number of its class, -1 for none, `[S]`.
        names: by key, the names of the groups in order.
        group: number of its group by key, -1 for none, `[S, K]`.
    """

    def __init__(self, table: Table, data: Paired, keys: int) -> None:
        first = np.sort(np.unique(table["id"].astype(str), return_index=True)[1])  # pictures, in the order of `data`
        rows, source = first[data.original & (data.source >= 0)], data.source[data.original & (data.source >= 0)]
        ids, said_of = table["id"][rows], [json.loads(one) for one in table["groups"][rows]]
        owners = np.array([name or f"\0{own}" for name, own in zip(table["household"][rows], ids, strict=True)], object)
        self.household = self._placed(np.unique(owners.astype(str), return_inverse=True)[1], source, data.sources)
        classes = np.unique(table["class"][rows].astype(str), return_inverse=True)
        self.classes = self._placed(np.where(classes[0][classes[1]] == "", -1, classes[1]), source, data.sources)
        self.names: list[list[str]] = []
        columns = []
        for key in range(keys):
            values = [one[key] for one in said_of]
            names = sorted(set(values) - {""})
            number = {name: place for place, name in enumerate(names)}
            columns.append(
                self._placed(np.array([number.get(one, -1) for one in values], np.int64), source, data.sources)
            )
            self.names.append(names)
        self.group = np.stack(columns, axis=1)

    @staticmethod
    def _placed(values: Ints, source: Ints, sources: int) -> Ints:
        found = np.full(sources, -1, np.int64)
        found[source] = values
        return found


def _drops(data: Paired, number: int) -> tuple[Floats, Floats] | None:
    """By source, what edits lose and how many there are, each variant with the same weight; None without edits."""
    there, right = data.originals(number)
    edits = data.edits(number, there)
    count, correct = data.cells(edits), data.cells(edits, data.right[number])
    total = count.sum(axis=0)
    kept = [one for one, name in enumerate(data.variants) if not is_baseline(name) and total[one]]
    if not kept:
        return None
    weight = 1 / total[kept]
    lost = right.astype(np.float64)[:, None] * count[:, kept] - correct[:, kept]
    return lost @ weight, count[:, kept] @ weight


def _why_not(ranked: int, few: int, least: int) -> str:
    """Why groups can't be compared; `""` if they can."""
    if not ranked and not few:
        return "no original has this key in its metadata"
    if ranked < 2:
        return f"fewer than two groups have {least} households or more"
    if ranked > MOST:
        return f"there are {ranked} groups; put the values into at most {MOST} first"
    return ""
