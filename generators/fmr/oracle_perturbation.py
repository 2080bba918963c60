"""Photographs pushed along the gradient of one model, as far as others, the oracles, still give the label.

After Zhang et al., ICLR 2024, arXiv 2308.10632. There the oracles are foundation models and the space is that of a
generator; here they are classifiers that the recipe names, and the spaces need no weights. The oracles only answer,
about pictures as they are stored. The audit, a model that takes no part, says whether they were right to accept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from variorum.generators.fmr.ascents import at_random, pushed
from variorum.generators.fmr.spaces import CUTOFFS, STEPS, Kind, space
from variorum.kit.attacks import budget
from variorum.kit.attacks.ascent import Slope
from variorum.kit.attacks.opponents import Opponent, opponent, victims_of, with_classes, with_outputs
from variorum.kit.attacks.subjects import SMALLEST, Problem, Said, Subject, answers_of, begun
from variorum.kit.corrupt.change import Before
from variorum.kit.gates import gates
from variorum.kit.windows import in_windows
from variorum.models.device import float32, one_thread
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import ENHANCED, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class OraclePerturbation(Generator):
    """The `original` in its frame, its `control`, and for each budget a `pushed_20` and a `control_20`.

    `control` is the reconstruction without a change. `pushed_20` is made against `adversary`; `control_20` goes as far
    in a random direction, so it is made against no model. Pictures that `warp` displaces lose their objects and mask.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    space: Kind = "low_frequency"
    """What may change: `low_frequency` adds low frequencies, `colour` maps colours and has a tone curve for each
    channel, `warp` displaces pixels smoothly."""
    budgets: tuple[int, ...] = Field(default=(5, 10, 20), min_length=1, max_length=20)
    """Steps along the gradient, 1 to 200, at most; all pictures come from one ascent."""
    step: float | None = Field(default=None, gt=0, le=64)
    """Length of a step. `low_frequency` (1): root mean square of the change in grey levels; `colour` (1): grey levels
    of each term; `warp` (0.3): root mean square of the displacement in pixels."""
    cutoff: int | None = Field(default=None, ge=1, le=SMALLEST)
    """Number of frequencies in each direction (16); `colour` has none."""
    sparsity: float = Field(default=0.1, ge=0, lt=1)
    """Share of the numbers that stay at 0: those with the largest gradient, which the label needs most."""
    adversary: str = "adversary"
    """The model that is pushed against: an alias, or a network of a user's, such as `timm:resnet50.a1_in1k`."""
    oracles: tuple[str, ...] = Field(default=("classifier",), min_length=1, max_length=8)
    """Classifiers that must all give the label."""
    oracle_p: float = Field(default=0.5, gt=0, lt=1)
    """Least probability of the label that each oracle must give it, beside its first place."""
    audit: str = "classifier_small"
    """A classifier that takes no part, and says of each picture whether it sees the label."""
    frame: int = Field(default=256, ge=SMALLEST, le=1024)
    """Side of the square that the middle of a picture is cut to, with its short side resized to it."""
    batch: int = Field(default=1, ge=1, le=1024)
    """Pictures that are pushed at once. One is fastest on a CPU. The bytes may depend on it."""

    @model_validator(mode="after")
    def _fits(self) -> OraclePerturbation:
        if wrong := [one for one in self.budgets if not 1 <= one <= 200]:
            raise ValueError(f"budgets are 1 to 200 steps; {wrong[0]} isn't")
        if len(set(self.budgets)) < len(self.budgets):
            raise ValueError("budgets must differ from each other")
        if self.cutoff and self.space not in CUTOFFS:
            raise ValueError(f"{self.space} has no cutoff; only {' and '.join(CUTOFFS)} have one")
        named = (self.adversary, *self.oracles, self.audit)
        if len(set(named)) < len(named):
            raise ValueError("adversary, oracles and audit must be different models")
        return self

    def uses(self) -> list[Use]:
        """Return the models. The audit decides nothing."""
        return [
            Use(self.adversary, "adversary", decides=True, batch=self.batch),
            *(Use(alias, "classifier", decides=True) for alias in self.oracles),
            Use(self.audit, "classifier"),
        ]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if a model can't play its part, or two parts have the same weights."""
        for use in self.uses():
            if use.alias == self.adversary or ctx.models.role(use.alias) is None:
                self._opponent(use.alias, ctx)
        pins = {use.alias: contents_of(ctx.models.pin(use.alias)) for use in self.uses()}
        for one, other in combinations(pins, 2):
            if pins[one] & pins[other]:
                raise RecipeError(
                    f"{self.component_name()}: {cut(repr(one))} and {cut(repr(other))} have the same weights; "
                    "adversary, oracles and audit must be different models, so that none confirms itself"
                )

    def _opponent(self, alias: str, ctx: Context) -> Opponent:
        return opponent(alias, ctx, self.component_name(), gradients=alias == self.adversary)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """All pictures of each sample, or a Failure for each."""
        ctx = with_classes(ctx)
        models: list[Opponent] = []

        def make(window: list[Sample]) -> list[list[Sample | Failure]]:
            subjects = [begun(self, one, ctx, self.frame, self._wanted()) for one in window]
            usable = [one for one in subjects if isinstance(one, Subject)]
            with one_thread(), float32():  # answers go into records, and their last digits depend on the threads
                if usable and not models:
                    found = [self._opponent(use.alias, ctx) for use in self.uses()]
                    models.extend([with_outputs(one, usable[0].framed.image, ctx) for one in found])  # all or none
                if ready := [one for one in usable if self._begun(one, models)]:
                    self._push(ready, models)
            return [one.made if isinstance(one, Subject) else one for one in subjects]

        for _, made in in_windows(samples, make, batch=self.batch, name=self.component_name(), at_once=1):
            yield from made

    def _asked(self, steps: int, against: bool) -> dict[str, Json]:
        """What is asked for of a picture after so many steps, against the adversary or against nobody."""
        return {
            **{"space": self.space, "budget": steps, "step": self.step or STEPS[self.space], "frame": self.frame},
            **{"cutoff": self.cutoff or CUTOFFS.get(self.space), "sparsity": self.sparsity},
            **{"made_against": [self.adversary] if against else [], "oracles": list(self.oracles)},
            **{"oracle_p": self.oracle_p, "audit": self.audit},
        }

    def _wanted(self) -> list[tuple[str, dict[str, Json]]]:
        """Variant and request of the control, then of the pictures that are changed."""
        kinds = (("pushed", True), ("control", False))
        changed = [(f"{kind}_{one}", self._asked(one, against)) for one in self.budgets for kind, against in kinds]
        return [("control", self._asked(0, False)), *changed]

    def _begun(self, subject: Subject, models: Sequence[Opponent]) -> bool:
        """Add the original and the control. Return whether more can be made; else add why not."""
        subject.look(models)
        subject.original(models)
        within = space(self.space, [subject.framed.image], self.cutoff)
        (rebuilt,) = within.stored(within.start)
        subject.said = answers_of(models, rebuilt)
        (variant, asked), *_ = self._wanted()
        record = self._change(subject, Before(rebuilt), rebuilt, subject.said)
        subject.add(rebuilt, models, subject.said, record, variant=variant, requested=asked)
        adversary, *oracles, _ = models
        problem = subject.problem([adversary])
        if not problem and self._allowed(subject, subject.said) < self.oracle_p:
            disagrees: Problem = "oracle_disagrees_at_once", "an oracle doesn't give the label of the control", {}
            problem = subject.unknown(oracles) or disagrees
        if problem:
            self._skip(subject, *problem)
        return not problem

    def _change(self, subject: Subject, before: Before, image: Pixels, said: Said) -> dict[str, Json]:
        """How far a picture is from the control, and the adversary's loss if it knows the label."""
        change, own = budget.norms(before.image, image), subject.aims[self.adversary].away
        loss = -math.log(max(float(said[self.adversary][own].sum()), 1e-30))
        more: dict[str, Json] = {"loss": round(loss, 6)} if own.any() else {}
        return {"linf": change.linf, "l2": round(change.l2, 6), "ssim": before.change(image)["ssim"], **more}

    def _skip(self, subject: Subject, reason: str, detail: str, checks: Any = None, **more: Any) -> None:
        """Add that nothing is made of a subject beside the original and the control."""
        _, *wanted = self._wanted()
        subject.made += [
            subject.of.skipped(reason, detail, variant=name, requested=asked, gates=checks, **more)
            for name, asked in wanted
        ]

    def _allowed(self, subject: Subject, said: Said) -> float:
        """The least probability of the label that an oracle gives; 0 where its first answer is another class."""
        own = ((said[alias], subject.aims[alias].away) for alias in self.oracles)
        return min(float(one[right].sum()) if right[one.argmax()] else 0.0 for one, right in own)

    def _push(self, subjects: Sequence[Subject], models: Sequence[Opponent]) -> None:
        """Add what is made of pictures that can be pushed.

        A gradient depends on the size of its batch, but not on the other pictures in it, so fewer are filled up.
        """
        if self.space == "warp":
            for one in subjects:
                nowhere = replace(one.framed.annotations, objects=())
                one.framed = one.framed._replace(mask=None, annotations=nowhere)
        filled = [subjects[min(place, len(subjects) - 1)] for place in range(self.batch)]
        within = space(self.space, [one.framed.image for one in filled], self.cutoff)
        adversary, *oracles, _ = models
        victims = victims_of([adversary], [[one.aims[adversary.alias] for one in filled]])
        slope = Slope(victims, "ce", within.grey, within.pictures)

        def accepts(place: int, image: Pixels) -> bool:
            return place < len(subjects) and self._allowed(subjects[place], answers_of(oracles, image)) >= self.oracle_p

        step = self.step or STEPS[self.space]
        rebuilt = [Before(image) for image in within.stored(within.start)[: len(subjects)]]
        found = pushed(within, slope, accepts, self.budgets, step=step, sparsity=self.sparsity)
        flat = [subject for subject, none in zip(subjects, slope.flat, strict=False) if none]
        for subject in flat:
            detail = "the gradient is zero or not finite at the picture, that of the margin too"
            self._skip(subject, "no_gradient", detail, status="failed")
        for most in self.budgets:
            draws = [one.of.rng("control") for one in filled]  # one direction for all budgets
            controls = at_random(within, [one.numbers for one in found[most]], accepts, draws)
            for subject, before, (image, numbers, steps), (other, share) in zip(
                subjects, rebuilt, found[most], controls, strict=False
            ):
                if subject in flat:
                    continue
                moved = int((numbers != 0).sum())
                rms = float(numbers.norm()) / max(moved, 1) ** 0.5
                stopped = "oracle" if steps < most else "budget"
                pairs: list[tuple[Pixels, dict[str, Json]]] = [
                    (image, {"steps_valid": steps, "stopped_by": stopped, "moved": moved, "rms": round(rms, 6)}),
                    (other, {"share": share, "moved": moved if share else 0, "rms": round(rms * share, 6)}),
                ]
                for (made, record), name, against in zip(pairs, ("pushed", "control"), (True, False), strict=True):
                    said = answers_of(models, made)
                    record |= self._change(subject, before, made, said)
                    checks = {"oracle": gates.at_least(self._allowed(subject, said), self.oracle_p)}
                    subject.add(made, models, said, record, variant=f"{name}_{most}", gates=checks,
                                requested=self._asked(most, against), purpose="control")  # fmt: skip
