"""Views of 3-D objects: natural ones, random ones, and those that a search found a classifier to be wrong about.

After ViewFool (Dong et al., NeurIPS 2022) and GMVFool (Ruan et al., ICCV 2023, arXiv 2307.10235): what is found is a
distribution of viewpoints, not a single one, by natural evolution strategies, which need only the classifier's answers.
Views that cut an object off, lose it or show gaps between its points don't count, or the search would find those.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
from pydantic import Field

from variorum.generators.viewpoint.mixture import Box, Mixture, begun, drawn, moved
from variorum.kit.attacks.opponents import Opponent, opponent, with_classes, with_outputs
from variorum.kit.gates import gates
from variorum.kit.surfels import MEMBER, SURFEL, Rendered, View, render
from variorum.models.device import one_thread
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.lookup import cut
from variorum.schemas.sample import CREATED, Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Singles

VARIANTS = ("natural", "random", "adversarial")
LEAST, MOST = 0.03, 0.8
"""Share of the picture that the object covers."""
CUT_OFF = 0.02
"""Share of the object outside the part of the picture that classifiers see, at most."""
HOLES = 0.001
"""Share of the silhouette that is gaps between points, at most."""
RECOGNISED = 0.25
"""Share of its natural views on which the classifier is right, at least, for an object to be searched."""
SPREAD = -6.0
"""Least entropy of a mixture in nats; a box of which each side is 2 has 4.16."""
TRIES = 24
"""Draws for a view that passes the checks. If none does, the last one is quarantined."""
FINALISTS = 3
"""Mixtures that are drawn from anew to choose one: the last, and the best by their own draws."""
REACH = (-180.0, 180.0), (-70.0, 70.0), (-30.0, 30.0), (4.0, 6.0), (-0.25, 0.25), (-0.25, 0.25)
"""Of yaw, pitch (`lowest` to 70), roll, distance and both shifts, as of `View`."""


class Judged(NamedTuple):
    """A view of an object, what the classifier says of it (`p` of the label, likeliest output), and its gates."""

    view: View
    shown: Rendered
    p_label: float
    top1: int
    right: bool
    checks: dict[str, Gate]

    @property
    def counts(self) -> bool:
        """Return whether it passes the checks."""
        return all(one["passed"] for one in self.checks.values())


@dataclass(slots=True)
class Subject:
    """An object in front of a classifier, some of whose `outputs` `[K]` are its label; `queries` counts the views."""

    surfels: Array
    side: int
    model: Opponent
    outputs: Bools
    box: Box
    queries: int = field(default=0)

    def judged(self, views: list[View]) -> list[Judged]:
        """The views rendered and judged together."""
        shown = [render(self.surfels, view, self.side) for view in views]
        with one_thread():
            said: Singles = self.model.answers([one.image for one in shown])
        self.queries += len(views)
        found: list[Judged] = []
        for view, picture, row in zip(views, shown, said, strict=True):
            top1 = int(row.argmax())
            checks = {
                "cut_off": gates.at_most(picture.cut_off, CUT_OFF),
                "object_share": gates.gate(picture.share, LEAST <= picture.share <= MOST, f"in [{LEAST}, {MOST}]"),
                "holes": gates.at_most(picture.holes, HOLES),
            }
            p_label = float(row[self.outputs].sum())
            found.append(Judged(view, picture, p_label, top1, bool(self.outputs[top1]), checks))
        return found

    def drawn(self, mixture: Mixture | None, number: int, rng: np.random.Generator) -> list[tuple[Judged, int, int]]:
        """Views from a mixture or the whole box, drawn until they pass; each with its component and number of draws."""
        found: list[tuple[Judged, int, int]] = []
        component = np.full(number, -1) if mixture is None else drawn(mixture, number, rng)[1]
        for one in component.tolist():
            tries, shown = 0, None
            while tries < TRIES and not (shown and shown.counts):
                inner = rng.uniform(-1, 1, 6)
                if mixture is not None:
                    inner = np.tanh(mixture.means[one] + mixture.sigmas[one] * rng.standard_normal(6))
                (shown,), tries = self.judged([self.box.view(inner)]), tries + 1
            found.append((cast(Judged, shown), one, tries))
        return found


class AdversarialViewpoint(Generator):
    """Views of each object: `natural` from a ring about it, `random` from anywhere about it, and `adversarial`.

    `random` is the control: it passes the same checks and follows nothing. `adversarial` are draws from the mixture
    that the search found. The classifier is asked and gives no gradients, so any ONNX file will do. Samples need the
    member `surfels.npy` of the source `objects_3d`.
    """

    digital_source_type: ClassVar[str] = CREATED

    classifier: str = "classifier_gate"
    """The attacked model: an alias, or the name of a user's own model."""
    views: int = Field(default=16, ge=1, le=1000)
    """Views of each kind."""
    components: int = Field(default=3, ge=1, le=15)
    """Of the mixture."""
    population: int = Field(default=16, ge=8, le=200, multiple_of=2)
    """Views of each iteration of the search, half of them opposite to the others."""
    iterations: int = Field(default=10, ge=1, le=100)
    """Steps of the search."""
    entropy: float = Field(default=0.05, ge=0, le=10)
    """How much the width of the mixture counts, in nats of loss for each of entropy."""
    lowest: float = Field(default=-70.0, ge=-90, le=60)
    """Least degrees above the horizontal; 0 for no view from below."""
    frame: int = Field(default=256, ge=32, le=1024)
    """Side of the pictures."""

    def uses(self) -> list[Use]:
        """Return the attacked model. Which views are made depends on it."""
        return [Use(self.classifier, "classifier", decides=True, batch=self.population)]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if a user's own model isn't a classifier."""
        if ctx.models.role(self.classifier) is None:
            opponent(self.classifier, ctx, f"{self.component_name()}.classifier", gradients=False)

    def _box(self) -> Box:
        """All viewpoints, in the order of `View`."""
        low, high = np.array(REACH).T
        low[1] = self.lowest
        return Box((low + high) / 2, (high - low) / 2)

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The views, or a Failure for each variant that can't be made."""

        def skipped(names: tuple[str, ...], reason: str, detail: str, **more: Any) -> Iterator[Failure]:
            for name in names:
                yield of.skipped(reason, detail, variant=name, requested=self._asked(name, -1), **more)

        try:
            surfels = read_surfels(sample)
        except ValueError as error:
            yield from skipped(VARIANTS, "no_surfels", str(error))
            return
        blank = np.full((self.frame, self.frame, 3), 255, np.uint8)
        model = Opponent(None, of.model(self.classifier), self.classifier)
        model = with_outputs(model, blank, with_classes(of.ctx))
        outputs, names = model.outputs(sample.labels), model.names
        if not outputs.any():
            labels = cut(", ".join(sample.labels) or "there is none")
            yield from skipped(VARIANTS, "no_such_class", f"{self.classifier} has no output for the label ({labels})")
            return
        subject = Subject(surfels, self.frame, model, outputs, self._box())
        ring = subject.judged([View(round(360 * turn / self.views, 4), 20) for turn in range(self.views)])
        for number, one in enumerate(ring):
            yield self._made(of, "natural", number, one, names, {})
        for number, (one, _, draws) in enumerate(subject.drawn(None, self.views, of.rng("random"))):
            yield self._made(of, "random", number, one, names, {"draws": draws})

        share = float(np.mean([one.right for one in ring]))
        if share < RECOGNISED:
            detail = f"{self.classifier} is right on {share:.0%} of its natural views"
            checks = {"recognised": gates.at_least(share, RECOGNISED)}
            yield from skipped(("adversarial",), "never_recognised", detail, gates=checks)
            return
        subject.queries = 0
        found = self._search(subject, of.rng("search"))
        if found is None or found[1]["entropy"] < SPREAD:
            reason = "no_view" if found is None else "collapsed"
            detail = "no view passes the checks" if found is None else f"its entropy is {found[1]['entropy']} nats"
            yield from skipped(("adversarial",), reason, detail, status="failed")
            return
        for number, (one, part, draws) in enumerate(subject.drawn(found[0], self.views, of.rng("adversarial"))):
            more: dict[str, Json] = {"draws": draws, "component": part, "search": found[1]}
            yield self._made(of, "adversarial", number, one, names, more)

    def _asked(self, variant: str, number: int) -> dict[str, Json]:
        more: dict[str, Json] = {} if variant == "natural" else {"source": self.classifier}
        return {"attack": "viewpoint" if variant == "adversarial" else variant, "view": number, **more}

    def _made(
        self, of: Edit, variant: str, number: int, one: Judged, names: Sequence[str], more: Mapping[str, Json]
    ) -> Sample:
        return of.made(
            one.shown.image,
            variant=variant,
            requested=self._asked(variant, number),
            achieved={**one.view._asdict(), "p_label": round(one.p_label, 6), "top1": names[one.top1], **more},
            gates=one.checks,
            purpose=variant,
        )

    def _search(self, subject: Subject, rng: np.random.Generator) -> tuple[Mixture, dict[str, Any]] | None:
        """The mixture whose fresh draws have the highest loss, of those that didn't collapse if any, and its record.

        None if no draw passes the checks.
        """
        now, tried, losses = begun(self.components, rng), list[tuple[bool, float, Mixture]](), list[Json]()
        for _ in range(self.iterations):
            u, component = drawn(now, self.population, rng, pairs=True)
            loss, allowed = self._losses(subject, u)
            density = now.density(u)
            mean = float(loss[allowed].mean()) if allowed.any() else -np.inf
            tried.append((-float(density.mean()) >= SPREAD, mean, now))
            losses.append(round(mean, 4) if allowed.any() else None)
            now = moved(now, u, component, loss - self.entropy * density, allowed)
        best: tuple[bool, float, Mixture, float] | None = None
        for _, _, mixture in [*sorted(tried, key=lambda one: one[:2], reverse=True)[: FINALISTS - 1], (True, 0.0, now)]:
            u, _ = drawn(mixture, self.population, rng)
            loss, allowed = self._losses(subject, u)
            if not allowed.any():
                continue
            entropy = -float(mixture.density(u).mean())
            value = entropy >= SPREAD, float(loss[allowed].mean()) + self.entropy * entropy
            if best is None or value > best[:2]:
                best = (*value, mixture, entropy)
        if best is None:
            return None
        record = {name: np.round(values, 4).tolist() for name, values in best[2]._asdict().items()}
        return best[2], {**record, "entropy": round(best[3], 4), "losses": losses, "queries": subject.queries}

    def _losses(self, subject: Subject, u: Floats) -> tuple[Floats, Bools]:
        """Cross-entropy at points u `[N, 6]`, and whether the views there pass the checks."""
        found = subject.judged([subject.box.view(one) for one in np.tanh(u)])
        loss = -np.log(np.maximum([one.p_label for one in found], 1e-12))
        return np.asarray(loss, np.float64), np.array([one.counts for one in found])


def read_surfels(sample: Sample) -> Array:
    """The points on a sample's object. Raises ValueError if it has none, or they aren't as `SURFEL` says."""
    member = sample.extras.get(MEMBER)
    if not isinstance(member, bytes):
        raise ValueError(f"there is no member {MEMBER}; the source objects_3d has it")
    try:
        found = np.lib.format.read_array(io.BytesIO(member), allow_pickle=False)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, EOFError, MemoryError) as error:
        raise ValueError(f"{MEMBER} can't be read ({cut(str(error))})") from None
    if found.dtype != SURFEL or found.ndim != 1 or not len(found):
        raise ValueError(f"{MEMBER} isn't a row of points, each with normal and colour")
    if not (np.square(found["point"].astype(float)).sum(axis=1) <= 1.001).all():
        raise ValueError(f"{MEMBER} has points outside the unit ball")
    return found
