"""Measure how many pictures a model stays right about under attacks on itself, with all its defences.

A defence that was only attacked through another model, or through gradients that it hides, looks better than it is
(Athalye et al., ICML 2018, arXiv 1802.00420; Tramèr et al., NeurIPS 2020, arXiv 2002.08347). So each model is attacked
as it is defended, by PGD (Madry et al., ICLR 2018, arXiv 1706.06083), along every route that it offers: its own
gradient, and where a defence may hide that, another that leads around it. The worst of them counts. A stronger attack
may find more, so every share is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.evaluation.defences.drawn import originals
from variorum.kit.attacks import ascent, budget
from variorum.kit.attacks.losses import Victim
from variorum.kit.predicted.answers import answers
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import Classifiers, Resampled
from variorum.kit.predicted.offered import NO_ORIGINALS
from variorum.kit.predicted.pairing import UNSCORED
from variorum.models.defended import called
from variorum.models.device import float32, one_thread
from variorum.models.gradients import adversary
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Pixels

STEP = 2.5
"""Budgets that all steps together could go, so that an attack can leave any start (Madry et al.)."""
JOINED = "; "
OWN = "its own gradient"
SHARES = ("clean", "control", "withstood")


class AdaptiveAccuracy(Resampled):
    """Share of pictures that a model is right about under white-box attacks on the model as it is defended.

    An attacked picture is stored in whole grey levels, and the model's own answer to it counts.
    """

    offers: ClassVar[Mapping[str, Figure]] = {
        "clean": Figure("right on the pictures that are attacked"),
        "control": Figure("right after random signs of the same size"),
        "withstood": Figure("right, and under every attack on itself"),
    }

    classifiers: Classifiers = Field(default=("classifier_small",), min_length=1)
    """Models under attack. Before one behind a defence, the bare one is attacked too."""
    epsilon: int = Field(default=4, ge=1, le=64)
    """Most that a value of a picture may change, in grey levels of 255."""
    steps: int = Field(default=10, ge=2, le=1000)
    """Steps of each attack. A single step is no measure of robustness."""
    most: int = Field(default=100, ge=10, le=100_000)
    """Pictures, as many of each class: originals, or others where there are none."""

    def uses(self) -> list[Use]:
        """Return the classifiers."""
        return [Use(alias, "classifier") for alias in self.classifiers]

    def chosen(self, table: Table, ctx: Context) -> Bools:
        """`most` pictures drawn by the seed, as many of each class."""
        return originals(table, ctx, self.component_name(), self.most)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier.

        `clean` says whether the classifier is right about the picture, `control` whether it is after random signs, and
        `withstood` whether it is both times and under every attack. `routes` are the attacks, and `fooled` those that
        made it wrong. `flat` are those that found no gradient at first, so that only their random start was tried. A
        picture that it is wrong about isn't attacked. `why_not` says why a classifier can't be attacked at all.

        Raises:
            RecipeError: a classifier isn't one, or a picture's class is no output of it.
        """
        name = self.component_name()
        for alias in self.classifiers:
            network, why_not = _network(alias, ctx)
            routes: Mapping[str, Any] = getattr(network, "routes", {OWN: network})
            for sample in samples:
                row: dict[str, Any] = {"id": sample.id, "photograph": sample.photograph, "classifier": alias}
                row |= {"label": UNSCORED, **dict.fromkeys(SHARES, False), "routes": JOINED.join(routes)}
                row |= {"fooled": "", "flat": "", "why_not": why_not}
                if why_not:
                    yield row
                    continue
                with one_thread(), float32():
                    (answer,) = answers([sample], [alias], ctx)
                    if not (right := answer.labels):
                        yield row
                        continue
                    image: Any = sample.image
                    away = np.isin(np.arange(len(answer.probabilities)), right)
                    clean = bool(away[answer.probabilities.argmax()])
                    seen = network.seen(*image.shape[:2]).cpu()
                    noise = ctx.rng(name, sample.id, "control")
                    tried = {"": budget.random_signs(image, self.epsilon, noise, seen.numpy())}
                    flat = []
                    for route, way in routes.items() if clean else ():
                        seed = ctx.seed_for(name, sample.id, route)
                        tried[route], lost = self._attacked(image, way, away, seen, seed)
                        flat += [route] * lost
                    said = {route: int(answer.model([one])[0].argmax()) for route, one in tried.items()}
                fooled = [route for route, top in said.items() if top not in right]
                yield {
                    **row,
                    "label": right[0],
                    "clean": clean,
                    "control": "" not in fooled,
                    "withstood": clean and not fooled,
                    "fooled": JOINED.join(filter(None, fooled)),
                    "flat": JOINED.join(flat),
                }

    def _attacked(
        self, image: Pixels, way: Callable[[Any], Any], away: Bools, seen: Any, seed: int
    ) -> tuple[Pixels, bool]:
        """What PGD makes of a picture along one route, and whether there was no gradient to follow."""
        import torch

        picture = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
        grey, draws = torch.tensor([budget.is_grey(image)]), [torch.Generator().manual_seed(seed)]
        low, high = (picture - self.epsilon).clamp_min(0), (picture + self.epsilon).clamp_max(255)
        victim: Any = Victim(way, torch.from_numpy(away)[None])  # type: ignore[arg-type]
        slope = ascent.Slope([victim], "ce", grey)
        start = ascent.random_start(picture, self.epsilon, draws, seen, grey)
        end = ascent.climb(start, low, high, slope, steps=self.steps, step=STEP * self.epsilon / self.steps)
        return budget.inside(image, end[0].numpy().transpose(1, 2, 0), self.epsilon), bool(slope.flat[0])

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By classifier, in percent of its `n` pictures, with intervals over photographs.

        `clean`, `control` and `withstood` are as in `measure`; `routes` has the share that is right under each attack
        alone, and `flat` by route how many pictures gave it no gradient. `unscored` pictures have no label that the
        model knows. `why_not` has by name why a classifier wasn't attacked.
        """
        found: dict[str, Json] = {}
        why_not: dict[str, Json] = {}
        for alias in self.classifiers if len(table) else ():
            own = _Attacked(table, alias)
            if own.why_not:
                why_not[alias] = own.why_not
                continue
            results = Results(self.resamples(len(own.photographs), ctx))
            told: dict[str, Json] = {share: results.told(own.by(own.of(share)), own.by()) for share in SHARES}
            told["routes"] = {
                route: results.told(own.by(own.of("clean") & ~own.among("fooled", route)), own.by())
                for route in own.routes
            }
            results.fill()
            flat: dict[str, Json] = {route: int(own.among("flat", route).sum()) for route in own.routes}
            found[alias] = {"n": own.n, "unscored": own.unscored, **told, "flat": flat}
        terms: dict[str, Json] = {"confidence": self.confidence, "epsilon": self.epsilon, "steps": self.steps}
        return {**terms, "classifiers": found, "why_not": why_not}

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """What each model is right about `clean`, after the `control`, and under all attacks (`withstood`)."""
        for alias in self.classifiers if len(table) else ():
            own = _Attacked(table, alias)
            if own.why_not:
                yield from (Answers(share, alias, why_not=own.why_not) for share in SHARES)
                continue
            size = f"ε = {self.epsilon} of 255"
            told = f"PGD, ℓ∞, {size}, {self.steps} steps, along every route of a model"
            if blind := {*JOINED.join(own.of("flat")).split(JOINED)} - {""}:
                told += f"; {called(alias)}: on some pictures there is no gradient along {' and '.join(sorted(blind))}"
            notes = {"clean": "", "control": f"random signs, {size}", "withstood": told}
            for share in SHARES:
                earned = own.by(own.of(share))
                yield Answers(share, alias, own.photographs, earned, own.by(), (share,), note=notes[share])


def _network(alias: str, ctx: Context) -> tuple[Any, str]:
    """The model with gradients, or why there is none."""
    try:
        return adversary(called(alias), ctx.models.get(ctx.models.steering(alias))), ""
    except RecipeError as error:
        return None, str(error).partition("; ")[0]


class _Attacked:
    """What a table holds of one classifier's `n` scored pictures, of `photographs` in the order of their ids.

    `unscored` is how many have no label that it knows, `why_not` why there is nothing.
    """

    def __init__(self, table: Table, alias: str) -> None:
        mine = table["classifier"] == alias
        scored = mine & (table["label"] != UNSCORED)
        reasons = table["why_not"][mine]
        self.why_not = str(reasons[0]) if len(reasons) and reasons[0] else "" if scored.any() else NO_ORIGINALS
        self._columns = {name: table[name][scored] for name in (*SHARES, "fooled", "flat")}
        names, place = np.unique(table["photograph"][scored].astype(str), return_inverse=True)
        self.photographs, self._place = names.tolist(), place.reshape(-1)
        self.n, self.unscored = int(scored.sum()), int((mine & ~scored).sum())
        self.routes = str(table["routes"][mine][0]).split(JOINED) if mine.any() else []

    def of(self, name: str) -> Any:
        """A column, `[n]`."""
        return self._columns[name]

    def among(self, name: str, route: str) -> Bools:
        """Whether a picture's texts of a column name this route, `[n]`."""
        return np.array([route in text.split(JOINED) for text in self._columns[name]], bool)

    def by(self, values: Any = None) -> Floats:
        """Sums by photograph, `[P, 1]`; numbers of pictures without values."""
        return np.bincount(self._place, values, len(self.photographs)).astype(np.float64)[:, None]
