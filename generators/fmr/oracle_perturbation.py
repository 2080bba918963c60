"""Photographs pushed along the gradient of one model, as far as others, the oracles, still give the label.

After Zhang et al., ICLR 2024, arXiv 2308.10632. There the oracles are foundation models and the space is that of a
generator; here they are classifiers that the recipe names, and the spaces need no weights. The oracles only answer,
about pictures as they are stored. The audit, a model that takes no part, says whether they were right to accept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from variorum.generators.fmr.ascents import Pushed, at_random, pushed
from variorum.generators.fmr.spaces import CUTOFFS, STEPS, Kind, space
from variorum.kit.attacks import budget
from variorum.kit.attacks.ascent import Slope
from variorum.kit.attacks.losses import Victim
from variorum.kit.attacks.opponents import Opponent, opponent, with_outputs
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.frames import Framed, Unusable, framed
from variorum.kit.gates import gates
from variorum.kit.windows import in_windows
from variorum.models.device import float32, one_thread
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import ENHANCED, Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SMALLEST = 28
"""Pixels of a frame's side, and of a picture's shorter side."""


@dataclass(slots=True)
class Subject:
    """A photograph in its frame, what each model should say of it, and what is made of it.

    Attributes:
        of: makes records.
        framed: the photograph.
        right: of each model by alias, its outputs that are labels, `[K]`.
        before: its reconstruction, that changes are measured from.
        made: its pictures so far.
    """

    of: Edit
    framed: Framed
    right: dict[str, Any] = field(default_factory=dict)
    before: Before | None = None
    made: list[Sample | Failure] = field(default_factory=list)


class OraclePerturbation(Generator):
    """The `original` in its frame, its `control`, and for each budget a `pushed_20` and a `control_20`.

    `control` is the reconstruction without a change. `pushed_20` is made against `adversary`; `control_20` goes as far
    in a random direction, so it is made against no model. Objects and the mask stay: `warp` moves them by a few pixels.
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
        if ctx.source is not None and not ctx.classes:
            ctx = replace(ctx, classes=ctx.source.classes(ctx))
        models: dict[str, Opponent] = {}

        def make(window: list[Sample]) -> list[list[Sample | Failure]]:
            subjects = [self._subject(sample, ctx) for sample in window]
            usable = [one for one in subjects if isinstance(one, Subject)]
            if usable and not models:
                first = usable[0].framed.image
                models.update(
                    (use.alias, with_outputs(self._opponent(use.alias, ctx), first, ctx)) for use in self.uses()
                )
            ready = [one for one in usable if self._begun(one, models)]
            if ready:
                with one_thread(), float32():
                    self._push(ready, models)
            return [one.made if isinstance(one, Subject) else one for one in subjects]

        for _, made in in_windows(samples, make, batch=self.batch, name=self.component_name(), at_once=1):
            yield from made

    def _subject(self, sample: Sample, ctx: Context) -> Subject | list[Sample | Failure]:
        """A sample in its frame, or why it can't be used."""
        of = Edit(self, sample, ctx)
        try:
            return Subject(of, framed(sample, self.frame, larger=1.0, least=SMALLEST))
        except Unusable as error:
            every = [("original", {"frame": self.frame}), ("control", self._asked(0, False)), *self._wanted()]
            return [of.skipped(error.reason, str(error), variant=name, requested=asked) for name, asked in every]

    def _asked(self, steps: int, against: bool) -> dict[str, Json]:
        """What is asked for of a picture after so many steps, against the adversary or against nobody."""
        asked: dict[str, Json] = {"space": self.space, "budget": steps, "sparsity": self.sparsity, "frame": self.frame}
        if cutoff := self.cutoff or CUTOFFS.get(self.space):
            asked["cutoff"] = cutoff
        made_against: list[Json] = [self.adversary] if against else []
        return {**asked, "step": self.step or STEPS[self.space], "made_against": made_against,
                "oracles": list(self.oracles), "oracle_p": self.oracle_p, "audit": self.audit}  # fmt: skip

    def _wanted(self) -> list[tuple[str, dict[str, Json]]]:
        """Variant and request of the pictures that are changed."""
        kinds = (("pushed", True), ("control", False))
        return [(f"{kind}_{one}", self._asked(one, against)) for one in self.budgets for kind, against in kinds]

    def _begun(self, subject: Subject, models: Mapping[str, Opponent]) -> bool:
        """Add the original and the control. Return whether more can be made; else add why not."""
        image, sample = subject.framed.image, subject.of.sample
        enlarged: dict[str, Json] = {"enlarged": min(np.shape(sample.image)[:2]) < self.frame}
        subject.right = {alias: one.outputs(sample.labels) for alias, one in models.items()}
        said = {alias: one.answers([image])[0] for alias, one in models.items()}
        self._add(subject, image, models, said, enlarged, variant="original", requested={"frame": self.frame},
                  digital_source_type=sample.digital_source_type)  # fmt: skip
        within = space(self.space, [image], self.cutoff or CUTOFFS.get(self.space, 1))
        (rebuilt,) = within.stored(within.start)
        subject.before = Before(rebuilt)
        said = {alias: one.answers([rebuilt])[0] for alias, one in models.items()}
        achieved = self._achieved(subject, rebuilt, said)
        self._add(subject, rebuilt, models, said, achieved, variant="control", requested=self._asked(0, False))
        if problem := self._problem(subject, models, said):
            reason, detail, checks = problem
            subject.made += [
                subject.of.skipped(reason, detail, variant=name, requested=asked, gates=checks)
                for name, asked in self._wanted()
            ]
        return problem is None

    def _problem(
        self, subject: Subject, models: Mapping[str, Opponent], said: Mapping[str, Singles]
    ) -> tuple[str, str, dict[str, Gate]] | None:
        """Why nothing can be pushed: a reason, a sentence, and the check that failed."""
        labels = cut(", ".join(subject.of.sample.labels) or "it has none")
        for alias in (self.adversary, *self.oracles):
            right = subject.right[alias]
            if not right.any():
                return "no_such_class", f"{alias} has no output for the picture's label ({labels})", {}
            if right.all():
                return "no_other_class", f"{alias} has no output beside the picture's labels", {}
        top = int(said[self.adversary].argmax())
        if not subject.right[self.adversary][top]:
            detail = f"{self.adversary} takes the control for {models[self.adversary].names[top]}"
            return "source_misclassified", detail, {"source_right": gates.gate(0, False, "right")}
        if not all(self._accepts(subject, alias, said[alias]) for alias in self.oracles):
            check = gates.at_least(self._least(subject, said), self.oracle_p)
            return "oracle_disagrees_at_once", "an oracle doesn't give the label of the control", {"oracle": check}
        return None

    def _accepts(self, subject: Subject, alias: str, said: Singles) -> bool:
        """Whether an oracle gives the label: as its first answer, and with enough probability."""
        right = subject.right[alias]
        return bool(right[said.argmax()] and said[right].sum() >= self.oracle_p)

    def _least(self, subject: Subject, said: Mapping[str, Singles]) -> float:
        """The least probability of the label that an oracle gives."""
        return min(float(said[alias][subject.right[alias]].sum()) for alias in self.oracles)

    def _push(self, subjects: Sequence[Subject], models: Mapping[str, Opponent]) -> None:
        """Add what is made of pictures that can be pushed.

        A gradient depends on the size of its batch, but not on the other pictures in it, so fewer are filled up.
        """
        import torch

        filled = [subjects[min(place, len(subjects) - 1)] for place in range(self.batch)]
        within = space(self.space, [one.framed.image for one in filled], self.cutoff or CUTOFFS.get(self.space, 1))
        network = models[self.adversary].network
        assert network is not None
        right = torch.from_numpy(np.stack([one.right[self.adversary] for one in filled]))
        slope = Slope([Victim(network, right)], "ce", within.grey, within.pictures)

        def accepts(place: int, image: Pixels) -> bool:
            return place < len(subjects) and all(
                self._accepts(subjects[place], alias, models[alias].answers([image])[0]) for alias in self.oracles
            )

        step = self.step or STEPS[self.space]
        found = pushed(within, slope, accepts, self.budgets, step=step, sparsity=self.sparsity)
        for most in self.budgets:
            draws = [one.of.rng("control") for one in filled]  # one direction for all budgets
            numbers = [one.numbers for one in found[most]]
            controls = at_random(within, numbers, accepts, draws)
            for subject, flat, one, control in zip(subjects, slope.flat, found[most], controls, strict=False):
                self._tell(subject, models, most, None if flat else one, control)

    def _tell(
        self,
        subject: Subject,
        models: Mapping[str, Opponent],
        most: int,
        found: Pushed | None,
        control: tuple[Pixels, float],
    ) -> None:
        """Add a pushed picture and its control, or that there is no gradient."""
        names = f"pushed_{most}", f"control_{most}"
        if found is None:
            detail = "the gradient is zero or not finite at the picture, that of the margin too"
            subject.made += [
                subject.of.skipped("no_gradient", detail, variant=name, requested=asked, status="failed")
                for name, asked in self._wanted() if name in names
            ]  # fmt: skip
            return
        moved = int((found.numbers != 0).sum())
        size = round(float(found.numbers.norm()) / max(moved, 1) ** 0.5, 6)
        stopped = "oracle" if found.steps < most else "budget"
        records: list[dict[str, Json]] = [
            {"steps_valid": found.steps, "stopped_by": stopped, "moved": moved, "rms": size},
            {"share": control[1], "moved": moved if control[1] else 0, "rms": round(size * control[1], 6)},
        ]
        for name, image, record, against in zip(names, (found.image, control[0]), records, (True, False), strict=True):
            said = {alias: one.answers([image])[0] for alias, one in models.items()}
            checks = {"oracle": gates.at_least(self._least(subject, said), self.oracle_p)}
            self._add(subject, image, models, said, {**record, **self._achieved(subject, image, said)}, variant=name,
                      requested=self._asked(most, against), gates=checks, purpose="control")  # fmt: skip

    def _achieved(self, subject: Subject, image: Pixels, said: Mapping[str, Singles]) -> dict[str, Json]:
        """How far a picture is from the control, and the adversary's cross-entropy."""
        assert subject.before is not None
        change, right = budget.norms(subject.before.image, image), subject.right[self.adversary]
        loss = -float(np.log(max(float(said[self.adversary][right].sum()), 1e-30))) if right.any() else None
        return {
            "linf": change.linf,
            "l2": round(change.l2, 6),
            "ssim": subject.before.change(image)["ssim"],
            "loss": None if loss is None else round(loss, 6),
        }

    def _add(
        self,
        subject: Subject,
        image: Pixels,
        models: Mapping[str, Opponent],
        said: Mapping[str, Singles],
        achieved: Mapping[str, Json],
        **record: Any,
    ) -> None:
        """Add a picture, with each model's probability of the label, None if it doesn't know it, and first answer."""
        p_label: dict[str, Json] = {
            alias: round(float(said[alias][right].sum()), 6) if right.any() else None
            for alias, right in subject.right.items()
        }
        top1: dict[str, Json] = {alias: one.names[int(said[alias].argmax())] for alias, one in models.items()}
        made = subject.of.made(
            image,
            achieved={**achieved, "p_label": p_label, "top1": top1},
            extras={} if subject.framed.mask is None else {"mask.png": subject.framed.mask},
            annotations=subject.framed.annotations,
            models={alias: one.pin for alias, one in models.items()},
            **record,
        )
        subject.made.append(made)
