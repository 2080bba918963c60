"""Adversarial examples: photographs changed by a few grey levels, so that a network is wrong about them.

FGSM, PGD, MI-FGSM, Carlini & Wagner's attack, DeepFool, the Square Attack and AutoAttack, each where it is defined in
`variorum/kit/attacks/`. A budget is in whole grey levels and holds for the stored picture; whether it fools is what the
attacked model says of the stored picture. Beside each attacked picture stand the original, and a control that changes
as much and follows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from variorum.generators.adversarial.perturbations import Outcome, Perturbation, perturbed
from variorum.kit.attacks import auto, budget
from variorum.kit.attacks.opponents import Aim, Opponent, check_opponents, opponents, seen, with_classes
from variorum.kit.attacks.subjects import SMALLEST, Subject, answers_of, begun
from variorum.kit.gates import gates
from variorum.kit.windows import in_windows
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.extras import needs, there
from variorum.schemas.lookup import cut
from variorum.schemas.sample import ENHANCED, Failure, Gate, Sample, is_baseline

if TYPE_CHECKING:
    from variorum.arrays import Bools

USUAL = (
    Perturbation(kind="fgsm", epsilon=8),
    Perturbation(kind="pgd", epsilon=8),
    Perturbation(kind="mi_fgsm", epsilon=8),
)


class AdversarialExample(Generator):
    """The `original` in its frame, one attacked picture for each attack, such as `pgd_8`, and controls.

    `control` has random signs of the same largest change, `control_cw` noise of the same L2 norm as `cw` has. Only
    pictures that all attacked models are right about are attacked. Objects and the mask stay.
    """

    revision: ClassVar[int] = 2
    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    attacks: tuple[Perturbation, ...] = USUAL
    """Each with a `kind` and its settings: `epsilon` in grey levels of 255, not of `cw` and `deepfool`; `steps` (10;
    `cw` 100 for each search, `deepfool` 50 and `square` 500 at most); `step` in grey levels (`pgd` ε / 4, `mi_fgsm` ε /
    steps); `restarts` of `pgd`; `momentum` of `mi_fgsm`; `diversity`, the probability of a shrunken view (DI²); `loss`:
    `ce`, `margin` or `dlr`; `confidence` (1), the margin that `cw` aims at, and its `searches` (5); `adversaries`, if
    others than below; `name`, of the variant. `autoattack` is the standard version of its authors' package and has an
    `epsilon` only; a picture that withstands it stays as it is, after 7,900 passes of the network, so take a GPU."""
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
    control: Literal["signs", "l2"] = "signs"
    """What stands beside attacks with a budget: random signs at the same ε, or with `l2` noise of the L2 norm of each
    attacked picture, `control_pgd_8`."""
    keep_failures: bool = True
    """Whether a picture that doesn't fool all attacked models is accepted. Accuracy under attack needs it; without it
    the edition holds survivors."""
    batch: int = Field(default=1, ge=1, le=1024)
    """Pictures that are attacked at once. One is fastest on a CPU. The bytes may depend on it."""

    @model_validator(mode="after")
    def _apart(self) -> AdversarialExample:
        names = self._attacked()
        if not names:
            raise ValueError("attacks must name one or more, each with a kind")
        like = [f"control_{attack.variant}" for attack in self.attacks if self._by_norm(attack)]
        made = ["original", *(name for name, _ in self._controls()), *names, *like]
        if twice := next((name for name in made if made.count(name) > 1), ""):
            raise ValueError(f"two variants would be called {twice}; give an attack another name")
        if taken := next((name for name in names if is_baseline(name)), ""):
            raise ValueError(f"no attack can be called {taken}, which edits are compared with; give it another name")
        for attack in self.attacks:
            if len(self.sources(attack)) > 1 and attack.kind in ("deepfool", "square", "autoattack"):
                raise ValueError(f"{attack.kind} attacks one model; give it adversaries of its own, with one name")
            if attack.kind == "autoattack" and self.target:
                raise ValueError("autoattack aims at no class; leave out target, or take pgd")
        return self

    def _attacked(self) -> list[str]:
        """Variants of attacked pictures."""
        return [attack.variant for attack in self.attacks]

    def _by_norm(self, attack: Perturbation) -> bool:
        """Whether an attack's control is noise of the same L2 norm."""
        return attack.epsilon is None or self.control == "l2"

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
        """Raise RecipeError if a model can't be attacked so, or there is no such class as the target.

        AutoAttack needs its package, too.
        """
        if any(one.kind == "autoattack" for one in self.attacks) and not there("pyautoattack"):
            raise RecipeError(needs("the attack autoattack", "pyautoattack"))
        check_opponents(self, ctx)
        self._target_id(with_classes(ctx))

    def _target_id(self, ctx: Context) -> str | None:
        """The class that is aimed at, if it is named."""
        if self.target in (None, "least_likely", "random"):
            return None
        found = [one.id for one in ctx.classes if self.target in (one.id, one.name)]
        if not found:
            some = ", ".join(one.name for one in ctx.classes[:5]) or "none"
            raise RecipeError(
                f"{self.component_name()}.target: there is no class {cut(repr(self.target))}; there are {some}"
                f"{', …' if len(ctx.classes) > 5 else ''}; or take least_likely or random"
            )
        return found[0]

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The original, the controls and the attacked pictures of each sample, or a Failure for each."""
        models: list[Opponent] = []
        ctx = with_classes(ctx)

        def make(window: list[Sample]) -> list[list[Sample | Failure]]:
            subjects = [self._subject(sample, ctx) for sample in window]
            usable = [one for one in subjects if isinstance(one, Subject)]
            if usable and not models:
                models.extend(list(opponents(self, usable[0].framed.image, ctx)))  # all or none, if memory runs out
            self._look(usable, models)
            if usable:
                self._attack_all(usable, models)
            return [one.made if isinstance(one, Subject) else one for one in subjects]

        for _, made in in_windows(samples, make, batch=self.batch, name=self.component_name(), at_once=1):
            yield from made

    def _attack_all(self, subjects: Sequence[Subject], models: Sequence[Opponent]) -> None:
        """Add the attacked pictures of each subject."""
        for attack in self.attacks:
            self._attack(attack, subjects, models)

    def _subject(self, sample: Sample, ctx: Context) -> Subject | list[Sample | Failure]:
        """A sample in its frame, or why it can't be used."""
        return begun(self, sample, ctx, self.frame, [*self._controls(), *self._all_wanted()])

    def _all_wanted(self) -> list[tuple[str, dict[str, Json]]]:
        """Variant and request of the attacked pictures, without targets."""
        return [(one.variant, self._wanted(one, "")) for one in self.attacks]

    def _levels(self) -> set[int]:
        """The budgets, which controls with random signs have too."""
        return {one.epsilon or 0 for one in self.attacks if not self._by_norm(one)}

    def _controls(self) -> list[tuple[str, dict[str, Json]]]:
        """Variant and request of the controls with random signs, one for each budget."""
        levels = sorted(self._levels())
        names = ["control"] if len(levels) == 1 else [f"control_{level}" for level in levels]
        return [
            (name, {"attack": "control", "epsilon": level, "frame": self.frame})
            for name, level in zip(names, levels, strict=True)
        ]

    def _wanted(self, attack: Perturbation, target: str) -> dict[str, Json]:
        """What is asked for."""
        more: dict[str, Json] = {"target": target or self.target} if self.target else {}
        more |= {"sources": list(self.sources(attack)), "against": self.against, "frame": self.frame}
        if not self.keep_failures:
            more["keep_failures"] = False
        return {**attack.requested(), **more}

    def _look(self, subjects: Sequence[Subject], models: Sequence[Opponent]) -> None:
        """Ask the models about the originals, decide what to aim at, and make the originals and controls."""
        for subject in subjects:
            image = subject.framed.image
            subject.look(models, guess=self.against == "prediction")
            self._aim(subject, models)
            subject.original(models)
            for variant, asked in self._controls():
                where = seen(models, *image.shape[:2])
                made = budget.random_signs(image, int(str(asked["epsilon"])), subject.of.rng(variant), where)
                subject.control(made, models, variant, asked)

    def _aim(self, subject: Subject, models: Sequence[Opponent]) -> None:
        """Decide what the models should answer instead, if they should answer something."""
        if not self.target:
            return
        right = {alias: aim.away for alias, aim in subject.aims.items()}
        subject.target, subject.why_not = self._choose(subject, models, right)
        for model in models:
            subject.aims[model.alias] = Aim(right[model.alias], model.outputs([subject.target]))

    def _choose(
        self, subject: Subject, models: Sequence[Opponent], right: Mapping[str, Bools]
    ) -> tuple[str, tuple[str, str] | None]:
        """The class to aim at, and why there is none."""
        of, named = subject.of, self._target_id(subject.of.ctx)
        if named and self.against == "label" and named in of.sample.labels:
            return named, ("target_is_label", "the picture is of the class that is aimed at")
        chances: dict[str, float] = {}
        for name in sorted(one.id for one in of.ctx.classes if named in (None, one.id)):
            outputs = {one.alias: one.outputs([name]) for one in models}
            if all(found.any() and not (found & right[alias]).any() for alias, found in outputs.items()):
                said = [subject.said[alias][found].max() for alias, found in outputs.items()]
                chances[name] = float(np.log(np.maximum(said, 1e-30)).sum())
        if not chances:
            why = (
                f"a model has no output for {cut(named)}, or answers it"
                if named
                else "no other class of the edition is known to all models"
            )
            return named or "", ("no_target", why)
        if self.target == "random":
            return str(of.rng("target").choice(list(chances))), None
        return min(chances, key=chances.__getitem__), None

    def _attack(self, attack: Perturbation, subjects: Sequence[Subject], models: Sequence[Opponent]) -> None:
        """Attack each subject that can be, and add the picture with its control, or why there is none."""
        own = [one for one in models if one.alias in self.sources(attack)]
        ready = []
        for subject in subjects:
            if problem := subject.problem(own) or self._too_few(attack, subject, own):
                reason, detail, checks = problem
                asked = self._wanted(attack, subject.target)
                failure = subject.of.skipped(reason, detail, variant=attack.variant, requested=asked, gates=checks)
                subject.made.append(failure)
            else:
                ready.append(subject)
        if not ready:
            return
        images, seeds = [one.framed.image for one in ready], [one.of.seed(attack.variant) for one in ready]
        aims = [[one.aims[model.alias] for one in ready] for model in own]
        for subject, outcome in zip(ready, perturbed(attack, images, own, aims, seeds, self.batch), strict=True):
            asked = self._wanted(attack, subject.target)
            if outcome.flat:
                detail = "the gradient is zero or not finite at the picture, that of the margin too"
                subject.made.append(
                    subject.of.skipped("no_gradient", detail, variant=attack.variant, requested=asked, status="failed")
                )
            else:
                self._add(attack, subject, outcome, own, models, asked)

    def _too_few(
        self, attack: Perturbation, subject: Subject, own: Sequence[Opponent]
    ) -> tuple[str, str, dict[str, Gate]] | None:
        """Why AutoAttack can't be run on a picture, if it can't."""
        wrong = int((~subject.aims[own[0].alias].away).sum())
        if attack.kind != "autoattack" or wrong + 1 >= auto.FEWEST:
            return None
        detail = f"AutoAttack needs {auto.FEWEST - 1} wrong answers, and {own[0].alias} has {wrong}; take pgd with dlr"
        return "too_few_classes", detail, {}

    def _add(
        self,
        attack: Perturbation,
        subject: Subject,
        outcome: Outcome,
        own: Sequence[Opponent],
        models: Sequence[Opponent],
        asked: dict[str, Json],
    ) -> None:
        """Add an attacked picture, and the control of its L2 norm if it has one."""
        before = subject.framed.image
        said = answers_of(models, outcome.image)
        gap = min(subject.aims[one.alias].margin(said[one.alias]) for one in own)
        clean = max(Aim(subject.aims[one.alias].away).margin(subject.said[one.alias]) for one in own)
        change = budget.norms(before, outcome.image)
        whole = attack.kind == "autoattack"  # it gives back the original if nothing fools
        checks = {} if attack.epsilon is None else {"budget": gates.at_most(change.linf, attack.epsilon)}
        checks |= {
            "source_right": gates.gate(clean, True, "< 0"),
            "changed": gates.recorded(change.l0) if whole else gates.at_least(change.l0, 1),
            "rounding": gates.recorded(outcome.margin - gap),
            "fooled": gates.recorded(gap) if self.keep_failures else gates.gate(gap, gap > 0, "> 0"),
        }
        cost: dict[str, Json] = {
            "gradients": outcome.gradients,
            "queries": outcome.queries,
            "steps_to_success": outcome.first if outcome.first >= 0 and gap > 0 else None,
            "margin": round(gap, 6),
        }
        if outcome.zeros is not None:
            cost["zero_gradients"] = outcome.zeros
        subject.add(outcome.image, models, said, {**budget.measured(change), **cost}, variant=attack.variant,
                    requested=asked, gates=checks, purpose=attack.variant)  # fmt: skip
        if self._by_norm(attack) and change.squares:
            variant, where = f"control_{attack.variant}", seen(own, *before.shape[:2])
            made = budget.random_specks(before, change.squares, subject.of.rng(variant), where)
            like: dict[str, Json] = {"attack": "control", "like": attack.variant, "frame": self.frame}
            subject.control(made, models, variant, like)
