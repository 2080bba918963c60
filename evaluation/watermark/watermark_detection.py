"""Measure whether watermarks are found: in marked and unmarked pictures, under every attack, at fixed thresholds.

It reads editions of `watermark` and `watermark_attack`, or of any generators that record the same. The measures are
those of WAVES (An et al., ICML 2024, arXiv 2401.08573) and Saberi et al. (ICLR 2024, arXiv 2310.00076). It has nothing
to do with `detection_ap`, which measures detectors of objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from variorum.evaluation.watermark.grid import mark_figures
from variorum.evaluation.watermark.identification import USERS
from variorum.evaluation.watermark.mark_results import mark_results
from variorum.evaluation.watermark.mark_rows import Looks
from variorum.evaluation.watermark.plots import plots_of
from variorum.evaluation.watermark.trading import ranked
from variorum.generators.watermark.strips import mark_strips
from variorum.generators.watermark.watermarking.detecting import looked, row
from variorum.generators.watermark.watermarking.keys import keys_id
from variorum.generators.watermark.watermarking.records import answered
from variorum.kit.predicted.fields import Resampled
from variorum.kit.resampling.separation import Draws
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.fields import each_once
from variorum.schemas.plot import Plot
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.schemas.uses import required_models
from variorum.schemas.watermark import NestedMark


class WatermarkDetection(Resampled):
    """Errors, AUROC, bits and users found by mark, attack and strength, with bootstrap intervals over the photographs.

    Marked pictures are looked at with their own mark and key, and without an attack with a wrong key too. Unmarked ones
    are looked at with every mark of the edition. A picture that was changed by anything but an attack isn't looked at.
    """

    revision: ClassVar[int] = 2
    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence", "false_positive_rates", "sure"})
    location: ClassVar[frozenset[str]] = frozenset({"keys"})
    card_pictures = staticmethod(mark_strips)
    files = staticmethod(mark_results)

    marks: tuple[NestedMark, ...] = ()
    """Marks of the edition that are files of your own; all others are built from what the edition says."""
    keys: Path | None = None
    """The file of secret keys that the pictures were marked with; null is the user's own file."""
    false_positive_rates: tuple[float, ...] = (0.01, 0.001)
    """Rates that thresholds are set for. The first one decides what counts as found."""
    sure: float | None = Field(default=None, ge=0.5, lt=1)
    """Probability with which the rate holds for the unmarked pictures that happen to set a threshold: 0.9 takes 230
    photographs for 1 %. With null it holds on average over such sets of photographs, which takes 99."""

    _rates = field_validator("false_positive_rates")(
        each_once("must be one or more different rates above 0 and below 0.5", lambda rate: 0 < rate < 0.5, least=1)
    )

    @field_validator("marks")
    @classmethod
    def _told_apart(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [mark.called for mark in value]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"two marks are called {twice!r}; give one a label")
        return value

    def identity(self) -> dict[str, Json]:
        """The fields; the hash of the keys stands for their file."""
        return {**super().identity(), "keys": keys_id(self.keys)}

    def uses(self) -> list[Use]:
        """Return the models of the user's own marks. Those of other marks are compared with the edition's records."""
        return [Use(alias, optional=True) for alias in sorted(required_models(*self.marks))]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterable[Row]:
        """A row per picture and mark: score, number of right bits, p-value, how it was attacked, what the attack cost.

        Raises:
            SourceError: the keys are lost, or are those of another edition.
            RecipeError: a mark can't be built again, has other models now, or another revision than the one that has
                looked at attacked pictures that aren't stored.
        """
        own = {mark.called: mark for mark in self.marks}
        found = looked(samples, own, self.keys, "evaluate.watermark_detection", ctx)
        methods = {answer.mark: answer.method for _, answer in found}
        of_records = [row(*one) for sample in samples for one in answered(sample, methods)]
        return [row(look.subject, answer, wrong=look.wrong) for look, answer in found] + of_records

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By mark: its figures without an attack, and those of each attack at each strength.

        Shares are in percent, AUROC and Q aren't. `found` is the share of marked pictures above the fixed threshold:
        the analytic one at the first rate, or the empirical one for a mark without. `ranking` has the attacks by the
        loss of quality at which a mark is lost, the strongest first. `names` and `order` have marks and attacks as the
        edition has them, as JSON objects are sorted by name.
        """
        common: dict[str, Json] = {
            "confidence": self.confidence,
            "rates": [f"{rate:g}" for rate in self.false_positive_rates],
            "users": [str(users) for users in USERS],
        }
        if not len(table):
            return {**common, "photographs": 0, "strengths": [], "names": [], "marks": {}, "ranking": {}}
        names, photograph = np.unique(table["photograph"].astype(str), return_inverse=True)
        draws = Draws(len(names), self.bootstrap, self.confidence, derive_seed(ctx.seed, "watermark_detection"))
        looks, labels = Looks.of(table, photograph.astype(np.int64)), table["mark"].astype(str)
        methods = dict(zip(labels.tolist(), table["method"].tolist(), strict=True))
        marks: dict[str, Any] = {}
        for label in dict.fromkeys(labels[looks.marked & (looks.attack == "")].tolist()):
            method, mine = json.loads(methods[label]), looks.where(labels == label)
            marks[label] = mark_figures(mine, method, self.false_positive_rates, draws, self.confidence, self.sure)
        ranking: dict[str, Json] = {}
        for label, one in marks.items():
            priced = {name: found for name, found in one["attacks"].items() if found.get("mean_p") is not None}
            ranking[label] = list[Json](ranked(priced))
        strengths = sorted({float(strength) for strength in looks.strength if strength > 0})
        return {
            **common,
            "photographs": len(names),
            "strengths": [f"{strength:g}" for strength in strengths],
            "names": list[Json](marks),
            "marks": marks,
            "ranking": ranking,
        }

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`robustness`, a radar; `quality` and `quality_N`, found against quality; `tradeoff_N`, both errors."""
        return plots_of(figures)
