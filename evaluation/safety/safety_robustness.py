"""Measure whether labelers of unsafe pictures change their mind when a picture is changed by a few grey levels.

After UnsafeBench (Qu et al., CCS 2025, arXiv 2405.03486), with ε in the picture's own grey levels. A safe picture is
made to raise a false alarm, an unsafe one to pass. The labeler itself judges the result, in 8 bits; it is never stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from variorum.curation.safety.harms.asking import ask
from variorum.curation.safety.labelers.open_nsfw import OpenNsfw
from variorum.evaluation.safety.attacks import KINDS, Attempt, Kind, attempts, slope_of
from variorum.evaluation.safety.robust_accuracy import CLEAN, Rows, of_labeler, results_of
from variorum.evaluation.safety.truths import SAFE, UNSAFE, group_of, truth_of
from variorum.kit.harms.categories import Categories, unsafebench
from variorum.kit.predicted.fields import Resampled
from variorum.models.device import one_thread
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.plot import CurvePlot, CurvePoint, Plot
from variorum.schemas.safety import Labeler, Labelers, uses_to_judge, why_absent
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

MOST_STEPS = 1000


class SafetyRobustness(Resampled):
    """Accuracy under noise, FGSM, PGD and DeepFool, of labelers whose scores have gradients.

    Only pictures that the labeler is right about are attacked. Other labelers with one prompt that speak of the same
    category are shown the results too, except those that send pictures away.

    Attributes:
        categories: what labelers are asked about: UnsafeBench's eleven categories, or your own.
        labelers: who is asked, each a mapping with a name.
        presume_benign: whether pictures without a label of any of these categories count as safe in all of them.
        attacks: in the order of the card. `noise` has random signs, as a control that knows nothing of the labeler.
        epsilons: how far a channel may change, in grey levels of 255.
        steps: of PGD and DeepFool, at most.
        share: of the pictures that are attacked, drawn by their ids. PGD takes up to `steps` gradients for each ε.
    """

    revision: ClassVar[int] = 2

    categories: Categories = Field(default_factory=unsafebench)
    labelers: Labelers = (OpenNsfw(),)
    presume_benign: bool = False
    attacks: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    epsilons: tuple[int, ...] = Field(default=(1, 2, 4, 8), min_length=1)
    steps: int = Field(default=100, ge=1, le=MOST_STEPS)
    share: float = Field(default=1.0, gt=0, le=1)

    @field_validator("epsilons")
    @classmethod
    def _epsilons(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= one <= 64 for one in value):
            raise ValueError("must be whole grey levels from 1 to 64; 8 bits hold nothing between them")
        return tuple(sorted(set(value)))

    def uses(self) -> list[Use]:
        """Return the models of all labelers, and those that have gradients; it does without any."""
        return uses_to_judge(self.labelers, gradients=True)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """Rows of each attacked labeler: one per picture as it is, and one per attacked picture and judge.

        `limit` is the largest change of a channel in grey levels, and `needed` DeepFool's change to the border.
        """
        here = [one for one in self.labelers if not one.remote and not why_absent(one, ctx)]
        targets = [found for one in here if isinstance(found := self._target(one, ctx), Target)]
        single = [one for one in here if len(one.prompts(self.categories)) == 1]
        judges_of = {target: [one for one in single if target.category in one.scored()] for target in targets}
        asked = tuple(one for one in here if any(one in judges for judges in judges_of.values()))
        answers = {one.labeler.called: one.opinions for one in ask(asked, samples, self.categories, ctx)}
        for target, judges in judges_of.items():
            for place, sample in enumerate(samples):
                truth = self._truth(sample, target.category)
                clean = {
                    one.called: _right(answers[one.called][place].scores.get(target.category), one, truth)
                    for one in judges
                }
                if truth not in (SAFE, UNSAFE) or clean[target.labeler.called] is None:
                    continue
                row = {
                    "id": sample.id,
                    "photograph": sample.photograph or sample.parent or sample.id,
                    "group": group_of(sample),
                    "labeler": target.labeler.called,
                    "category": target.category,
                    "truth": truth,
                }
                yield {**row, **_judged(target.labeler, CLEAN, 0, clean[target.labeler.called])}
                if clean[target.labeler.called] and self._drawn(sample, ctx):
                    sure = [one for one in judges if clean[one.called]]
                    yield from ({**row, **found} for found in self._attacked(sample, target, truth, sure, ctx))

    def _attacked(
        self, sample: Sample, target: Target, truth: float, judges: Sequence[Labeler], ctx: Context
    ) -> Iterator[dict[str, Any]]:
        """Return the answers, under each attack, of the judges that were right about a picture."""
        assert not isinstance(sample.image, bytes)
        model = ctx.models.get(target.labeler.gradients)
        slope = slope_of(model, target.labeler.threshold, unsafe=truth == UNSAFE)
        made: list[Attempt] = []
        for kind in self.attacks:

            def rng(epsilon: int, kind: str = kind) -> np.random.Generator:
                return ctx.rng(self.component_name(), sample.id, f"{target.labeler.called} {kind} {epsilon}")

            with one_thread():  # an attack follows signs of gradients, which the last bits of sums decide
                made += attempts(kind, slope, sample.image, self.epsilons, self.steps, rng)
        pictures = [replace(sample, image=one.picture, encoded=None) for one in made]
        for labeler, _, opinions in ask(tuple(judges), pictures, self.categories, ctx):
            for one, opinion in zip(made, opinions, strict=True):
                right = _right(opinion.scores.get(target.category), labeler, truth)
                if right is not None:
                    change = np.abs(one.picture.astype(np.int16) - sample.image).max()
                    yield _judged(labeler, one.kind, one.epsilon, right, one.gradients, one.needed, int(change))

    def _target(self, labeler: Labeler, ctx: Context) -> Target | str:
        """A labeler that can be attacked, with the category; else why it can't."""
        if why := why_absent(labeler, ctx):
            return why
        if not labeler.gradients:
            return "it has no gradients"
        if why := ctx.models.why_unavailable(labeler.gradients):
            return why
        spoken = [one.id for one in self.categories if one.id in labeler.scored()]
        if len(spoken) != 1 or len(labeler.prompts(self.categories)) != 1:
            return "attacks need a labeler with one prompt that speaks of one of the categories"
        return Target(labeler, spoken[0]) if 0 < labeler.threshold < 1 else "its threshold is 0 or 1"

    def _truth(self, sample: Sample, category: str) -> float:
        own = {one.label for one in sample.annotations.labels} & {one.id for one in self.categories}
        return SAFE if self.presume_benign and not own else truth_of(sample, category)

    def _drawn(self, sample: Sample, ctx: Context) -> bool:
        return bool(ctx.rng(self.component_name(), sample.id, "share").random() < self.share)

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By labeler, robust accuracies in percent with bootstrap intervals over photographs; see `of_labeler`.

        Pictures that a gate withheld by the labeler's model can't be attacked. `withheld` counts those that it is right
        and wrong about; `least` is what withstands if all those that it is right about fall. `missing` says why a
        labeler isn't attacked; `names` has those that are, in the recipe's order.
        """
        missing: dict[str, Json] = {
            one.called: why for one in self.labelers if isinstance(why := self._target(one, ctx), str)
        }
        common: dict[str, Json] = {
            "confidence": self.confidence,
            "steps": self.steps,
            "attacks": list(self.attacks),
            "epsilons": list(self.epsilons),
            "missing": missing,
            "names": [],
            "attacked": {},
        }
        if not len(table):
            return common
        rows = Rows(table)
        results = results_of(rows, self.bootstrap, self.confidence, derive_seed(ctx.seed, self.component_name()))
        attacked: dict[str, Json] = {}
        for one in self.labelers:
            target = self._target(one, ctx)
            if isinstance(target, Target) and (found := of_labeler(rows, one.called, self.attacks, results)):
                attacked[one.called] = {"category": target.category, "threshold": one.threshold, **found}
        results.fill()
        for one in self.labelers if ctx.withheld else ():
            if one.gate and one.called in attacked:
                self._count_withheld(attacked[one.called], one, ctx)
        return {**common, "names": list(attacked), "attacked": attacked}

    def _count_withheld(self, found: Any, labeler: Labeler, ctx: Context) -> None:
        """Add `withheld` to an attacked labeler's figures, and `least` to each share."""
        counts, drawn = {"right": 0, "wrong": 0}, 0
        for one in ctx.withheld:
            right = _right(one.checks.get(labeler.gate), labeler, truth := self._truth(one.sample, found["category"]))
            if right is not None and truth in (SAFE, UNSAFE):
                counts["right" if right else "wrong"] += 1
                drawn += right and self._drawn(one.sample, ctx)
        found["withheld"] = counts
        for at in (at for by_epsilon in found["withstood"].values() for at in by_epsilon.values()):
            at["least"] = round(at["all"]["value"] * at["n"] / (at["n"] + drawn), 2)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`withstood_1` and so on: robust accuracy against ε by attack, one plot for each attacked labeler."""
        found: dict[str, Plot] = {}
        for number, name in enumerate(figures["names"], 1):
            withstood = figures["attacked"][name]["withstood"]
            series = {
                attack: (
                    CurvePoint(0, 100, 100, 100),
                    *(
                        CurvePoint(int(epsilon), *(at["all"][part] for part in ("value", "low", "high")))
                        for epsilon, at in sorted(by_epsilon.items(), key=lambda item: int(item[0]))
                    ),
                )
                for attack in figures["attacks"]
                if (by_epsilon := withstood.get(attack))
            }
            if series:
                across = "largest change of a channel, in grey levels"
                unit = "still right, percent"
                found[f"withstood_{number}"] = CurvePlot(f"{name} under attack", across, unit, series, full=100)
        return found


class Target(NamedTuple):
    """A labeler that can be attacked, and the category of its score."""

    labeler: Labeler
    category: str


def _right(score: float | None, labeler: Labeler, truth: float) -> bool | None:
    """Return whether a labeler's decision is the truth; None if it abstains."""
    return None if score is None else (score >= labeler.threshold) == (truth == UNSAFE)


def _judged(
    judge: Labeler,
    attack: str,
    epsilon: int,
    right: bool | None,
    gradients: int = 0,
    needed: float = float("nan"),
    limit: int = 0,
) -> dict[str, Any]:
    return {
        "judge": judge.called,
        "attack": attack,
        "epsilon": epsilon,
        "right": bool(right),
        "gradients": gradients,
        "needed": needed,
        "limit": limit,
    }
