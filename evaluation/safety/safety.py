"""Measure how often labelers of unsafe pictures are right, by category and source, and how far they agree.

After UnsafeBench (Qu et al., CCS 2025, arXiv 2405.03486). A labeler is judged in the categories that it speaks of and
on the pictures that it answers, with the share of those beside every figure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.curation.safety.harms.asking import ask, pixel_hash
from variorum.curation.safety.labelers.open_nsfw import OpenNsfw
from variorum.evaluation.safety.agreement import agreement
from variorum.evaluation.safety.plots import drawn
from variorum.evaluation.safety.precision_recall import (
    ALL,
    Counted,
    alarm_rate,
    cell,
    counted,
    drops,
    flagged,
    means,
    rows_of,
)
from variorum.evaluation.safety.thresholds import calibration, ranking, tuned
from variorum.evaluation.safety.truth_arrays import (
    GATE,
    HOW,
    SAID,
    TRUTH,
    WITHHELD,
    Answerer,
    Judged,
    answerers,
    heard,
    judged,
)
from variorum.evaluation.safety.truths import group_of, maker_of, truth_of
from variorum.kit.harms.categories import Categories, unsafebench
from variorum.kit.predicted.calibration import BINS
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import Resampled
from variorum.kit.resampling.separation import Draws
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.plot import Plot
from variorum.schemas.safety import (
    ANY,
    CONTROL,
    RESERVED,
    Labeler,
    Labelers,
    column_of,
    sent_by,
    uses_to_judge,
    why_absent,
)
from variorum.schemas.sample import Sample, Split, Withheld
from variorum.schemas.sending import Sending
from variorum.schemas.table import Table


class Safety(Resampled):
    """Precision, recall, F1, ranking and calibration by labeler, category and source; false alarms; agreement.

    A picture's truth is the state of its label of a category: `correct` for unsafe, `wrong` for safe with respect to
    it. Of other categories nothing is known, and they don't count.

    Attributes:
        categories: what labelers are asked about: UnsafeBench's eleven categories, or your own.
        labelers: who is asked, each a mapping with a name.
        presume_benign: whether pictures without a label of any of these categories count as safe in all of them. On
            ordinary photographs the figures are then rates of false alarms.
        split: the split whose pictures labelers are judged on, such as `test` where one was fitted on `train`; null for
            all pictures.
        bins: number of bins of the calibration error.
    """

    revision: ClassVar[int] = 2
    late: ClassVar[frozenset[str]] = frozenset({"presume_benign", "split", "bins", "bootstrap", "confidence"})

    categories: Categories = Field(default_factory=unsafebench)
    labelers: Labelers = (OpenNsfw(),)
    presume_benign: bool = False
    split: Split | None = None
    bins: int = Field(default=BINS, ge=2, le=100)

    def uses(self) -> list[Use]:
        """Return the models of all labelers; one without its model is unavailable, which the card says."""
        return uses_to_judge(self.labelers)

    def sends(self) -> tuple[Sending, ...]:
        """Declare what its labelers send to other machines."""
        return sent_by(self.labelers, self.categories)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: what is known of it, and each labeler's scores, NaN where it abstains.

        Columns are `truth.<category>`, `said.<labeler>.<prompt>.<category>` and `heard.<labeler>.<prompt>`, without the
        prompt if it has no name. An answer that the detector `safety` got for the same pictures isn't asked for again.
        """
        rows: list[dict[str, Any]] = [
            {**self._known(sample), "group": group_of(sample), "pixels": pixel_hash(sample.image)}
            for sample in samples
            if not isinstance(sample.image, bytes)
        ]
        for labeler, prompt, opinions in ask(self.labelers, samples, self.categories, ctx):
            known_to = labeler.speaks_of(prompt)
            names = [name for name in (*(one.id for one in self.categories), *RESERVED) if name in known_to]
            for row, opinion in zip(rows, opinions, strict=True):
                for name in names:
                    row[f"{SAID}.{column_of(labeler, prompt, name)}"] = float(opinion.scores.get(name, math.nan))
                row[f"{HOW}.{column_of(labeler, prompt, '')}"] = opinion.heard
        yield from rows

    def _known(self, sample: Sample) -> dict[str, Any]:
        """What is known of a picture, whoever looks at it."""
        return {
            "id": sample.id,
            "photograph": sample.photograph or sample.parent or sample.id,
            "split": sample.split,
            "maker": maker_of(sample),
            **{f"{TRUTH}.{one.id}": truth_of(sample, one.id) for one in self.categories},
        }

    def _with_withheld(self, table: Table, withheld: Sequence[Withheld]) -> Table:
        """The table with a row for each withheld picture, in which only a gate's checks are scores."""
        import pyarrow as pa

        rows = [
            {
                **self._known(one.sample),
                "group": WITHHELD,
                "pixels": one.sample.id,
                **{f"{GATE}.{name}": value for name, value in one.checks.items()},
            }
            for one in withheld
        ]
        if not rows:
            return table
        return replace(
            table, arrow=pa.concat_tables([table.arrow, pa.Table.from_pylist(rows)], promote_options="default")
        )

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By labeler, prompt by prompt and all together, in percent unless said otherwise.

        `by_labeler` has `cells` by category and group, `means` over categories by group, `flagged`, the share of the
        pictures that are safe in all categories and called unsafe in one or more, the `drop` from photographs to
        generated pictures, and what scores are worth: `calibration` and `tuned` thresholds. A labeler by whose model a
        gate withheld pictures is there twice: on what the gate left, and with what it withheld, by the scores that the
        gate noted. `withheld` counts these pictures by reason. `agreement` is between
        labelers. A labeler without an answer has `why` in place of figures. `names` and `order` have labelers and
        categories in their order.
        """
        ids = [one.id for one in self.categories]
        common: dict[str, Json] = {
            "confidence": self.confidence,
            "split": self.split or "",
            "pictures": len(table),
            "categories": {one.id: {"name": one.name, "axis": one.axis} for one in self.categories},
            "order": list(ids),
            "names": [],
            "presumed_benign": 0,
            "withheld": dict(sorted(Counter(one.sample.reason for one in ctx.withheld).items())),
            "contradicted": {},
            "groups": [],
            "by_labeler": {},
            "agreement": {},
        }
        if not len(table):
            return common
        table = self._with_withheld(table, ctx.withheld)
        data = judged(table, ids, presume_benign=self.presume_benign, split=self.split)
        prompts = {one.called: tuple(one.prompts(self.categories)) for one in self.labelers}
        found = answerers(table, self.labelers, prompts, ids)
        seed = derive_seed(ctx.seed, "safety")
        draws = Draws(data.photographs, self.bootstrap, self.confidence, seed)
        results = Results(draws.resamples)
        groups = [ALL, *(name for name in data.groups() if len(data.groups()) > 1)]
        by_labeler: dict[str, Json] = {}
        for one in found:
            labeler = next((each for each in self.labelers if each.called == one.labeler), None)
            by_labeler[one.name] = {
                "labeler": one.labeler,
                "prompt": one.prompt,
                "sort": labeler.sort if labeler else "share of labelers",
                "threshold": one.threshold,
                "whole": one.whole,
                **(self._answers(table, labeler, prompts[one.labeler], ctx) if labeler and one.whole else {}),
                **self._of(data, one, groups, draws, results, seed),
            }
        results.fill()
        return {
            **common,
            "presumed_benign": data.presumed,
            "contradicted": {name: count for name, count in data.contradicted.items() if count},
            "groups": list(groups),
            "names": list(by_labeler),
            "by_labeler": by_labeler,
            "agreement": agreement([one for one in found if one.whole and one.labeler], ids),
        }

    def _answers(self, table: Table, labeler: Labeler, prompts: Sequence[str], ctx: Context) -> dict[str, Json]:
        """Count how a labeler's answers were understood, and say why it measured nothing, if so."""
        how = heard(table, labeler, prompts)
        absent = why_absent(labeler, ctx) if set(how) == {"unavailable"} else ""
        usable = how.get("ok", 0) + how.get("repaired", 0)
        spoken = {name for prompt in prompts for name in labeler.speaks_of(prompt)}
        asked = {ANY, *(one.id for one in self.categories)}
        silent = "" if spoken & asked else f"it speaks of none of these categories, only of {', '.join(sorted(spoken))}"
        why = (
            silent
            or absent
            or ("" if usable else f"no usable answer ({', '.join(f'{n} {name}' for name, n in how.items())})")
        )
        return {"heard": dict(how), **({"why": why} if why else {})}

    def _of(
        self, data: Judged, one: Answerer, groups: Sequence[str], draws: Draws, results: Results, seed: int
    ) -> dict[str, Json]:
        """Figures of one answerer, which `results` completes."""
        answered = {name: scores for name, scores in one.scores.items() if np.isfinite(scores).any()}
        plain = [name for name in answered if name != CONTROL]
        if not plain:
            return {}
        groups = groups[:1] if one.seen else groups
        one = one._replace(scores={name: answered[name] for name in plain})
        counts: dict[str, dict[str, Counted]] = {
            group: {name: counted(data, one, name, rows_of(data, group, one)) for name in plain} for group in groups
        }
        cells: dict[str, Json] = {
            name: {
                group: {
                    **cell(counts[group][name], results),
                    **ranking(data, one, name, rows_of(data, group, one), draws),
                }
                for group in groups
            }
            for name in plain
        }
        found: dict[str, Json] = {
            "cells": cells,
            "means": {group: means(counts[group], results) for group in groups},
            "flagged": {group: flagged(data, one, rows_of(data, group, one)) for group in groups},
            "drop": None if one.seen else drops(data, one, draws),
        }
        if one.whole:
            found["calibration"] = {
                name: calibration(data, one, name, derive_seed(seed, "calibration", one.name, name), self.bins)
                for name in plain
            }
            found["tuned"] = {name: tuned(data, one, name, draws) for name in plain}
        if CONTROL in answered:
            said = answered[CONTROL][np.isfinite(answered[CONTROL])]
            found["control"] = alarm_rate(
                *(part.astype(np.float64) for part in (said >= one.threshold, np.ones(len(said))))
            )
        return found

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`f1` and `alarms` by category and labeler, `drop` by labeler, `calibration` by labeler; as far as known."""
        return drawn(figures)
