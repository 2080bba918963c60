"""Adversarial examples: photographs changed by a few grey levels, so that a network is wrong about them.

FGSM, PGD, MI-FGSM, Carlini & Wagner's attack, DeepFool and the Square Attack, each where it is defined in
`variorum/kit/attacks/`. A budget is in whole grey levels and holds for the stored picture; whether it fools is what the
attacked model says of the stored picture. Beside each attacked picture stand the original, and a control that changes
as much and follows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from variorum.generators.adversarial.perturbations import (
    BOUNDED,
    Aim,
    Opponent,
    Outcome,
    Perturbation,
    fewest_outputs,
    perturbed,
)
from variorum.kit.attacks import budget
from variorum.kit.corrupt.frames import Framed, Unusable, framed
from variorum.kit.gates import gates
from variorum.kit.predicted.answers import classes_of_outputs, known, label_indices, outputs_of
from variorum.kit.windows import in_windows
from variorum.models.brought.model import BroughtModel
from variorum.models.gradients import adversary
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import ENHANCED, Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

SMALLEST = 28
"""Pixels of a frame's side, and of a picture's shorter side."""
USUAL = (
    Perturbation(kind="fgsm", epsilon=8),
    Perturbation(kind="pgd", epsilon=8),
    Perturbation(kind="mi_fgsm", epsilon=8),
)


@dataclass(frozen=True, slots=True)
class Model:
    """A model under attack, and how its outputs are read.

    Attributes:
        alias: its name in the recipe.
        pin: of its weights.
        opponent: as attacks take it.
        output_of: the output of each class of the edition; None for one that takes any label of ImageNet.
        names: of its outputs, by the edition's class ids where it has them.
    """

    alias: str
    pin: str
    opponent: Opponent
    output_of: Mapping[str, int] | None
    names: Sequence[str]

    def outputs(self, labels: Sequence[str]) -> Bools:
        """Its outputs that are these labels, `[K]`."""
        found = np.zeros(len(self.names), bool)
        found[list(label_indices(labels) if self.output_of is None else known(labels, self.output_of))] = True
        return found


@dataclass(slots=True)
class Subject:
    """A photograph in its frame, and what the models say of it.

    Attributes:
        of: makes records.
        framed: the photograph.
        said: probabilities `[K]`, by alias.
        aims: by alias; None for a model that doesn't know the label.
        target: id of the class that is aimed at; `""` for none.
        why_not: why no attack can aim at a class, as reason and detail; empty if one can.
    """

    of: Edit
    framed: Framed
    said: dict[str, Singles] = field(default_factory=dict)
    aims: dict[str, Aim | None] = field(default_factory=dict)
    target: str = ""
    why_not: tuple[str, str] | None = None


class AdversarialExample(Generator):
    """The `original` in its frame, one attacked picture for each attack, such as `pgd_8`, and controls.

    `control` has random signs of the same largest change, `control_cw` noise of the same L2 norm as `cw` has. Only
    pictures that all attacked models are right about are attacked. Objects and the mask stay.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    attacks: tuple[Perturbation, ...] = USUAL
    """Each with a `kind` and its settings: `epsilon` in grey levels of 255, not of `cw` and `deepfool`; `steps` (10;
    `cw` 100 for each search, `deepfool` 50 and `square` 500 at most); `step` in grey levels (`pgd` ε / 4, `mi_fgsm` ε /
    steps); `restarts` of `pgd`; `momentum` of `mi_fgsm`; `diversity`, the probability of a shrunken view (DI²); `loss`:
    `ce`, `margin` or `dlr`; `confidence` (1), the margin that `cw` aims at, and its `searches` (5); `adversaries`, if
    others than below; `name`, of the variant."""
    adversaries: tuple[str, ...] = Field(default=("adversary",), min_length=1, max_length=8)
    """Models that are attacked together: aliases, or names of a user's own networks such as `timm:resnet50.a1_in1k`.
    All must be right about a picture, and all are to be fooled. Gradients are added up, each at the same L1 norm."""
    frame: int = Field(default=256, ge=SMALLEST, le=1024)
    """Side of the square that the middle of a picture is cut to, with its short side resized to it."""
    against: Literal["label", "prediction"] = "label"
    """What the models should no longer answer. `prediction` is their own answer, right or wrong: for pictures without
    labels, and for training, where a picture mustn't tell its label."""
    target: str | None = None
    """What they should answer instead: a class's id or name, `least_likely` to the models, or `random`; null for
    anything else."""
    keep_failures: bool = True
    """Whether a picture that doesn't fool all attacked models is accepted. Accuracy under attack needs it; without it
    the edition holds survivors."""
    batch: int = Field(default=1, ge=1, le=1024)
    """Pictures that are attacked at once. One is fastest on a CPU. The bytes may depend on it."""

    @model_validator(mode="after")
    def _apart(self) -> AdversarialExample:
        if not self.attacks:
            raise ValueError("attacks must name one or more, each with a kind")
        names = [attack.variant for attack in self.attacks]
        for name in names:
            if names.count(name) > 1 or name in ("original", "control") or name.startswith("control_"):
                raise ValueError(f"two variants would be called {name}; give an attack another name")
        for attack in self.attacks:
            if len(self.sources(attack)) > 1 and attack.kind in ("deepfool", "square"):
                raise ValueError(f"{attack.kind} attacks one model; give it adversaries of its own, with one name")
        return self

    def sources(self, attack: Perturbation) -> tuple[str, ...]:
        """The models that an attack follows."""
        return attack.adversaries or self.adversaries

    def uses(self) -> list[Use]:
        """Return the attacked models. Which pictures are accepted depends on them."""
        gradients = {alias for one in self.attacks if one.kind != "square" for alias in self.sources(one)}
        every = dict.fromkeys(alias for one in self.attacks for alias in self.sources(one))
        return [
            Use(alias, "adversary" if alias in gradients else None, decides=True, batch=self.batch) for alias in every
        ]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if a user's model gives no gradients, or there is no such class as the target."""
        for use in self.uses():
            if ctx.models.role(use.alias) is None:  # a user's own
                self._opponent(use, ctx)
        self._target_id(ctx)

    def _opponent(self, use: Use, ctx: Context) -> Opponent:
        model = ctx.models.get(use.alias)
        where = f"{self.component_name()}.adversaries"
        if use.role is None and not hasattr(model, "seen"):
            if not isinstance(model, BroughtModel) and ctx.models.role(use.alias) != "classifier":
                raise RecipeError(f"{where}: {cut(repr(use.alias))} isn't a classifier")
            return Opponent(None, model)
        try:
            network = adversary(use.alias, model)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None
        return Opponent(network, network.answers)

    def _target_id(self, ctx: Context) -> str | None:
        """The class that is aimed at, if it is named."""
        if self.target in (None, "least_likely", "random"):
            return None
        classes = _with_classes(ctx).classes
        found = [one.id for one in classes if self.target in (one.id, one.name)]
        if not found:
            some = ", ".join(one.name for one in classes[:5]) or "none"
            raise RecipeError(
                f"{self.component_name()}.target: there is no class {cut(repr(self.target))}; there are {some}"
                f"{', …' if len(classes) > 5 else ''}; or take least_likely or random"
            )
        return found[0]

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The original, the controls and the attacked pictures of each sample, or a Failure for each."""
        models: dict[str, Model] = {}

        def make(window: list[Sample]) -> list[list[Sample | Failure]]:
            subjects = [self._subject(sample, ctx) for sample in window]
            here = [one for one in subjects if isinstance(one, Subject)]
            if here and not models:
                models.update(self._models(here[0].framed.image, ctx))
            made = dict(zip(map(id, here), self._made(here, models), strict=True))
            return [made[id(one)] if isinstance(one, Subject) else one for one in subjects]

        windows = in_windows(samples, make, batch=self.batch, name=self.component_name(), at_once=1)
        for _, made in windows:
            yield from made

    def _models(self, image: Pixels, ctx: Context) -> dict[str, Model]:
        found: dict[str, Model] = {}
        ctx = _with_classes(ctx)
        for use in self.uses():
            opponent, own = self._opponent(use, ctx), ctx.models.get(use.alias)
            if isinstance(own, BroughtModel):
                own.ask(image)
            outputs = opponent.answers([image]).shape[1]
            output_of = outputs_of(use.alias, own, ctx, (), outputs)
            names = [one or name for one, name in classes_of_outputs(own, ctx, outputs)]
            found[use.alias] = Model(use.alias, ctx.models.pin(use.alias), opponent, output_of, names)
        for attack in self.attacks:
            for alias in self.sources(attack):
                if len(found[alias].names) < fewest_outputs(attack):
                    raise RecipeError(
                        f"{self.component_name()}: the loss {attack.loss} needs {fewest_outputs(attack)} classes, and "
                        f"{cut(repr(alias))} has {len(found[alias].names)}; take ce or margin"
                    )
        return found

    def _subject(self, sample: Sample, ctx: Context) -> Subject | list[Sample | Failure]:
        """A sample in its frame, or why it can't be used."""
        of = Edit(self, sample, ctx)
        try:
            return Subject(of, framed(sample, self.frame, larger=1.0, least=SMALLEST))
        except Unusable as error:
            wanted = [("original", self._unchanged()), *self._controls()]
            wanted += [(one.variant, self._wanted(one, "")) for one in self.attacks]
            return [
                of.skipped(error.reason, str(error), variant=name, requested=requested) for name, requested in wanted
            ]

    def _unchanged(self) -> dict[str, Json]:
        return {"frame": self.frame}

    def _controls(self) -> list[tuple[str, dict[str, Json]]]:
        """Variant and request of the controls with random signs, one for each budget."""
        levels = sorted({one.epsilon for one in self.attacks if one.epsilon is not None})
        return [
            (
                "control" if len(levels) == 1 else f"control_{level}",
                {"attack": "control", "epsilon": level, "frame": self.frame},
            )
            for level in levels
        ]

    def _wanted(self, attack: Perturbation, target: str) -> dict[str, Json]:
        """What is asked for."""
        more: dict[str, Json] = {"target": target or self.target} if self.target else {}
        return {
            **attack.requested(),
            **more,
            "sources": list(self.sources(attack)),
            "against": self.against,
            "frame": self.frame,
        }

    def _made(self, subjects: Sequence[Subject], models: Mapping[str, Model]) -> list[list[Sample | Failure]]:
        """All that is made of each subject."""
        if not subjects:
            return []
        images = [one.framed.image for one in subjects]
        for model in models.values():
            for subject, said in zip(subjects, model.opponent.answers(images), strict=True):
                subject.said[model.alias] = said
        for subject in subjects:
            self._aim(subject, models)
        made = [[self._original(subject, models), *self._random(subject, models)] for subject in subjects]
        for attack in self.attacks:
            for one, found in zip(made, self._attacked(attack, subjects, models), strict=True):
                one += found
        return made

    def _aim(self, subject: Subject, models: Mapping[str, Model]) -> None:
        """Decide what each model should answer no longer, and what instead."""
        labels = subject.of.sample.labels
        right: dict[str, Bools] = {}
        for alias, model in models.items():
            said = subject.said[alias]
            right[alias] = model.outputs(labels) if self.against == "label" else np.arange(len(said)) == said.argmax()
        towards: dict[str, Bools | None] = dict.fromkeys(models)
        if self.target:
            subject.target, subject.why_not = self._choose(subject, models, right)
            towards = {alias: model.outputs([subject.target]) for alias, model in models.items()}
        for alias in models:
            subject.aims[alias] = Aim(right[alias], towards[alias]) if right[alias].any() else None

    def _choose(
        self, subject: Subject, models: Mapping[str, Model], right: Mapping[str, Bools]
    ) -> tuple[str, tuple[str, str] | None]:
        """The class to aim at, and why there is none."""
        of, named = subject.of, self._target_id(subject.of.ctx)
        allowed = {
            one.id: [model.outputs([one.id]) for model in models.values()]
            for one in _with_classes(of.ctx).classes
            if named is None or one.id == named
        }
        fits = {
            name: outputs
            for name, outputs in allowed.items()
            if all(found.any() and not (found & no).any() for found, no in zip(outputs, right.values(), strict=True))
        }
        if not fits:
            if named is not None and named in of.sample.labels:
                return named, ("target_is_label", "the picture is of the class that is aimed at")
            return named or "", ("no_target", "no other class of the edition is known to all models")
        if self.target == "random":
            return str(of.rng("target").choice(sorted(fits))), None
        chances = {
            name: sum(
                float(np.log(said[at].max() + 1e-30)) for said, at in zip(subject.said.values(), outputs, strict=True)
            )
            for name, outputs in fits.items()
        }
        return min(sorted(chances), key=chances.__getitem__), None

    def _original(self, subject: Subject, models: Mapping[str, Model]) -> Sample:
        of, found = subject.of, subject.framed
        enlarged: dict[str, Json] = {"enlarged": min(of.sample.image.shape[:2]) < self.frame}  # type: ignore[union-attr]
        return of.made(
            found.image,
            variant="original",
            requested=self._unchanged(),
            achieved=enlarged | self._opinions(subject, subject.said, models),
            extras=_extras(found),
            annotations=found.annotations,
            digital_source_type=of.sample.digital_source_type,
            models={alias: model.pin for alias, model in models.items()},
        )

    def _random(self, subject: Subject, models: Mapping[str, Model]) -> Iterator[Sample | Failure]:
        """The controls with random signs."""
        image, where = subject.framed.image, _seen(subject, models.values())
        for variant, requested in self._controls():
            levels = int(str(requested["epsilon"]))
            made = budget.random_signs(image, levels, subject.of.rng(variant), where)
            yield self._control(subject, models, made, variant, requested)

    def _control(
        self, subject: Subject, models: Mapping[str, Model], image: Pixels, variant: str, requested: dict[str, Json]
    ) -> Sample:
        said = {alias: model.opponent.answers([image])[0] for alias, model in models.items()}
        change = budget.norms(subject.framed.image, image)
        return subject.of.made(
            image,
            variant=variant,
            requested=requested,
            achieved={**_measured(change), **self._opinions(subject, said, models)},
            gates={"changed": gates.at_least(change.l0, 1)},
            extras=_extras(subject.framed),
            purpose=variant,
            annotations=subject.framed.annotations,
            models={alias: model.pin for alias, model in models.items()},
        )

    def _attacked(
        self, attack: Perturbation, subjects: Sequence[Subject], models: Mapping[str, Model]
    ) -> list[list[Sample | Failure]]:
        """The attacked picture of each subject, and the control that belongs to it."""
        own = [models[alias] for alias in self.sources(attack)]
        problems = [self._problem(subject, own) for subject in subjects]
        ready = [one for one, problem in zip(subjects, problems, strict=True) if problem is None]
        outcomes: dict[int, Outcome] = {}
        if ready:
            aims = [[subject.aims[model.alias] for subject in ready] for model in own]
            images, seeds = [one.framed.image for one in ready], [one.of.seed(attack.variant) for one in ready]
            found = perturbed(
                attack,
                images,
                [model.opponent for model in own],
                aims,
                seeds,
                self.batch,  # type: ignore[arg-type]
            )
            outcomes = dict(zip(map(id, ready), found, strict=True))
        made: list[list[Sample | Failure]] = []
        for subject, problem in zip(subjects, problems, strict=True):
            requested = self._wanted(attack, subject.target)
            if problem is not None:
                reason, detail, checks = problem
                made.append(
                    [subject.of.skipped(reason, detail, variant=attack.variant, requested=requested, gates=checks)]
                )
            elif outcomes[id(subject)].flat:
                detail = "the gradient is zero or not finite at the picture, that of the margin too"
                made.append(
                    [
                        subject.of.skipped(
                            "no_gradient", detail, variant=attack.variant, requested=requested, status="failed"
                        )
                    ]
                )
            else:
                made.append(self._records(attack, subject, outcomes[id(subject)], own, models, requested))
        return made

    def _problem(self, subject: Subject, own: Sequence[Model]) -> tuple[str, str, dict[str, Gate]] | None:
        """Why a picture isn't attacked: a reason, a sentence, and the check that it failed."""
        for model in own:
            aim = subject.aims[model.alias]
            if aim is None:
                labels = ", ".join(subject.of.sample.labels) or "it has none"
                return "no_such_class", f"{model.alias} has no output for the picture's label ({cut(labels)})", {}
            said = subject.said[model.alias]
            if not aim.away[said.argmax()]:
                detail = f"{model.alias} takes the original for {model.names[int(said.argmax())]}"
                gap = Aim(aim.away).margin(said)
                return "source_misclassified", detail, {"source_right": gates.gate(gap, False, "< 0")}
        return (*subject.why_not, {}) if subject.why_not else None

    def _records(
        self,
        attack: Perturbation,
        subject: Subject,
        outcome: Outcome,
        own: Sequence[Model],
        models: Mapping[str, Model],
        requested: dict[str, Json],
    ) -> list[Sample | Failure]:
        of, before = subject.of, subject.framed
        said = {alias: model.opponent.answers([outcome.image])[0] for alias, model in models.items()}
        aims = {model.alias: aim for model in own if (aim := subject.aims[model.alias]) is not None}
        gap = min(aim.margin(said[alias]) for alias, aim in aims.items())
        clean = max(Aim(aim.away).margin(subject.said[alias]) for alias, aim in aims.items())
        change = budget.norms(before.image, outcome.image)
        checks = {
            "source_right": gates.gate(clean, True, "< 0"),
            "changed": gates.at_least(change.l0, 1),
            "rounding": gates.recorded(outcome.margin - gap),
            "fooled": gates.gate(gap, gap > 0, "> 0") if not self.keep_failures else gates.recorded(gap),
        }
        if attack.epsilon is not None:
            checks = {"budget": gates.at_most(change.linf, attack.epsilon), **checks}
        cost: dict[str, Json] = {
            "gradients": outcome.gradients,
            "queries": outcome.queries,
            "steps_to_success": outcome.first if outcome.first >= 0 else None,
            "margin": round(gap, 6),
        }
        found: list[Sample | Failure] = [
            of.made(
                outcome.image,
                variant=attack.variant,
                requested=requested,
                achieved={**_measured(change), **cost, **self._opinions(subject, said, models)},
                gates=checks,
                extras=_extras(before),
                purpose=attack.variant,
                annotations=before.annotations,
                models={alias: model.pin for alias, model in models.items()},
            )
        ]
        if attack.kind not in BOUNDED and change.squares:
            variant = f"control_{attack.variant}"
            made = budget.random_specks(before.image, change.squares, of.rng(variant), _seen(subject, own))
            like: dict[str, Json] = {"attack": "control", "like": attack.variant, "frame": self.frame}
            found.append(self._control(subject, models, made, variant, like))
        return found

    def _opinions(self, subject: Subject, said: Mapping[str, Singles], models: Mapping[str, Model]) -> dict[str, Json]:
        """Probability of the label and first answer of each model; of one that doesn't know the label None."""
        p_label: dict[str, Json] = {}
        for alias, model in models.items():
            own = model.outputs(subject.of.sample.labels)
            p_label[alias] = round(float(said[alias][own].sum()), 6) if own.any() else None
        top1: dict[str, Json] = {alias: model.names[int(said[alias].argmax())] for alias, model in models.items()}
        return {"p_label": p_label, "top1": top1}


def _with_classes(ctx: Context) -> Context:
    return replace(ctx, classes=ctx.source.classes(ctx)) if ctx.source is not None and not ctx.classes else ctx


def _seen(subject: Subject, models: Iterable[Model]) -> Bools:
    """Pixels that one of the models looks at, `[H, W]`."""
    return np.any([model.opponent.seen(*subject.framed.image.shape[:2]) for model in models], axis=0)


def _measured(change: budget.Norms) -> dict[str, Any]:
    return {"linf": change.linf, "l2": round(change.l2, 6), "l0": change.l0}


def _extras(made: Framed) -> dict[str, bytes | Pixels]:
    return {} if made.mask is None else {"mask.png": made.mask}
