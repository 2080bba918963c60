"""Non-robust features: photographs that a hidden layer of one network takes for photographs of another class.

After DVERGE (Yang et al., NeurIPS 2020, arXiv 2009.14720): a photograph is changed within a budget, until what a layer
gives for it, before the activation function, comes near to what it gives for a photograph of another class. Whether
other networks see that class tells whether they share such features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.generators.adversarial.adversarial_example import SMALLEST, AdversarialExample, Subject, chances
from variorum.generators.adversarial.perturbations import Perturbation
from variorum.kit.attacks import ascent, budget
from variorum.kit.attacks.opponents import Opponent, opponent
from variorum.kit.corrupt.frames import Unusable, framed
from variorum.kit.gates import gates
from variorum.kit.pictures.pool import Lenders, may_lend
from variorum.models.device import float32, one_thread
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.models.roles import Adversary

TRIED = 24
"""Pictures that may be one's target, for each target that is wanted; no picture is the target of more."""
CLOSER = 0.5
"""Of the squared distance between features, what may be left where failures aren't kept."""


class FeatureDistillation(AdversarialExample):
    """The `original` in its frame, a `control` with random signs, and one picture `nrf_<alias>` for each adversary.

    Only photographs that all adversaries are right about are used, and as targets only such of another class and
    another photograph. Which they are depends on the seed and on ids, not on the order of the source. Features are
    followed picture by picture, whatever the `batch` of `attacks`.
    """

    revision: ClassVar[int] = 1

    attacks: tuple[Perturbation, ...] = ()
    """Attacks that stand beside, such as `mi_fgsm` on all adversaries together; as of `adversarial_example`. They alone
    aim at a `target`."""
    adversaries: tuple[str, ...] = Field(default=("adversary", "adversary_small"), min_length=1, max_length=8)
    """Models whose features are followed, each by itself: aliases, or names of a user's own networks."""
    epsilon: int = Field(default=18, ge=1, le=64)
    """Most that a value may change, in grey levels of 255."""
    steps: int = Field(default=10, ge=1, le=1000)
    """Steps along the sign of the gradient."""
    step: float = Field(default=2.0, gt=0, le=64)
    """Length of a step, in grey levels."""
    momentum: float = Field(default=1.0, ge=0, le=1)
    """What is kept of the direction so far."""
    layers: tuple[str, ...] = ()
    """Names of layers with weights; by default all but the last. Each photograph gets one of them by its seed, at the
    same depth in each adversary."""
    targets: int = Field(default=1, ge=1, le=10)
    """Photographs that each is made to resemble, one by one."""
    keep_failures: bool = True
    """Whether a picture is accepted of whose squared distance to the target's features more than half is left. It holds
    for `attacks` too: whether pictures are accepted that don't fool all attacked models."""

    def _attacked(self) -> list[str]:
        return [*map(variant_of, self.adversaries), *super()._attacked()]

    def _levels(self) -> set[int]:
        return {self.epsilon, *super()._levels()}

    def _all_wanted(self) -> list[tuple[str, dict[str, Json]]]:
        every = [(alias, number) for alias in self.adversaries for number in range(self.targets)]
        return [*((variant_of(alias), self._asked(alias, number)) for alias, number in every), *super()._all_wanted()]

    def _asked(self, alias: str, number: int, target: Sample | None = None) -> dict[str, Json]:
        """What is asked for."""
        asked: dict[str, Json] = {"attack": "nrf", "epsilon": self.epsilon, "steps": self.steps, "step": self.step}
        asked |= {"momentum": self.momentum, "sources": [alias], "frame": self.frame, "number": number}
        asked |= {} if self.keep_failures else {"keep_failures": False}
        return asked | ({"target": target.labels[0], "target_id": target.id} if target else {})

    def uses(self) -> list[Use]:
        """Return the attacked models. Which pictures are accepted depends on them."""
        own = [Use(alias, "adversary", decides=True, batch=self.batch) for alias in self.adversaries]
        return [*own, *(one for one in super().uses() if one.alias not in self.adversaries)]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if a model can't be attacked so, or has none of the layers."""
        super().check(ctx)
        for alias in self.adversaries if self.layers else ():
            self._layers(opponent(alias, ctx, f"{self.component_name()}.adversaries", gradients=True))

    def _layers(self, model: Opponent) -> list[str]:
        """The layers that may be drawn, in the network's order. Raises RecipeError if there are none."""
        assert model.network is not None
        there = model.network.hidden(self.frame, self.frame)
        found = [name for name in there if not self.layers or name in self.layers]
        if not found:
            some = ", ".join(there[:5]) or "none"
            raise RecipeError(
                f"{self.component_name()}.layers: {cut(model.alias)!r} has no hidden layer "
                f"{cut(', '.join(self.layers)) or 'with weights'}; it has {len(there)}: {some}"
                f"{', …' if len(there) > 5 else ''}"
            )
        return found

    def _aim(self, subject: Subject, models: Sequence[Opponent]) -> None:
        """Choose targets too, of a photograph that the adversaries are right about."""
        super()._aim(subject, models)
        own = self._own(models)
        if not subject.problem(own, aiming=False):
            subject.lent = self._drawn(subject, own)

    def _own(self, models: Sequence[Opponent]) -> list[Opponent]:
        return [one for alias in self.adversaries for one in models if one.alias == alias]

    def _drawn(self, subject: Subject, own: Sequence[Opponent]) -> list[tuple[Pixels, Sample]]:
        """As many targets as are wanted, or as there are, in their frames."""
        found: list[tuple[Pixels, Sample]] = []
        of = subject.of
        pool = Lenders(of.ctx, TRIED * self.targets, by_id=True)
        for position, labels in pool.to(of.sample, of.rng("targets")):
            if len(found) == self.targets:
                break
            other = None if set(labels) & set(of.sample.labels) else pool.read(position)
            if other is None or not other.labels or not may_lend(other.lent(), of.sample):
                continue
            try:
                image = framed(other, self.frame, larger=1.0, least=SMALLEST).image
            except Unusable:
                continue
            if all(_another(image, other.labels[0], model, subject) for model in own):
                found.append((image, other))
        return found

    def _attack_all(self, subjects: Sequence[Subject], models: Sequence[Opponent]) -> None:
        """Add the pictures with the features of others, then those of the attacks beside them."""
        for model in self._own(models):
            layers = self._layers(model)
            for subject, number in product(subjects, range(self.targets)):
                self._distil(model, layers, subject, number, models)
        super()._attack_all(subjects, models)

    def _distil(
        self, model: Opponent, layers: Sequence[str], subject: Subject, number: int, models: Sequence[Opponent]
    ) -> None:
        """Add the picture for one target, or why there is none."""
        of, variant, problem = subject.of, variant_of(model.alias), subject.problem(self._own(models), aiming=False)
        image, other = subject.lent[number] if number < len(subject.lent) else (subject.framed.image, None)
        asked = self._asked(model.alias, number, other)
        if problem or other is None:
            why = f"none of up to {TRIED * self.targets} photographs is of another class that all adversaries see"
            reason, detail, checks = problem or ("no_target", why, {})
            subject.made.append(of.skipped(reason, detail, variant=variant, requested=asked, gates=checks))
            return
        layer = layers[int(of.rng(f"layer_{number}").random() * len(layers))]
        assert model.network is not None
        found = distilled(model.network, subject.framed.image, image, layer, epsilon=self.epsilon, steps=self.steps,
                          step=self.step, momentum=self.momentum)  # fmt: skip
        if found is None:
            detail = f"the gradient of {cut(layer)} is zero or not finite"
            failed = of.skipped("no_gradient", detail, variant=variant, requested=asked, status="failed")
            subject.made.append(failed)
            return
        made, before, after = found
        change, said = budget.norms(subject.framed.image, made), {one.alias: one.answers([made])[0] for one in models}
        achieved: dict[str, Json] = {**budget.measured(change), "gradients": self.steps, "layer": layer}
        achieved |= {"distance_before": round(before, 6), "distance_after": round(after, 6)}
        achieved["p_target"] = chances(models, said, other.labels[:1])
        checks = {
            "budget": gates.at_most(change.linf, self.epsilon),
            "changed": gates.at_least(change.l0, 1),
            "ratio": gates.recorded(after / before) if self.keep_failures else gates.at_most(after / before, CLOSER),
        }
        subject.add(made, models, said, achieved, variant=variant, requested=asked, gates=checks, made_of=other.lent(),
                    purpose=f"layer_{number}")  # fmt: skip


def variant_of(alias: str) -> str:
    """The variant of pictures with features of a model: its alias, without folders."""
    return f"nrf_{re.sub(r'[^a-z0-9_.]+', '_', alias.rpartition('/')[2].lower())}"


def _another(image: Pixels, label: str, model: Opponent, subject: Subject) -> bool:
    """Whether a model takes a picture for its label, and that for another class than the subject's."""
    own = model.outputs([label])
    return bool(own[model.answers([image])[0].argmax()]) and not (own & subject.aims[model.alias].away).any()


def distilled(
    network: Adversary,
    image: Pixels,
    target: Pixels,
    layer: str,
    *,
    epsilon: int,
    steps: int,
    step: float,
    momentum: float,
) -> tuple[Pixels, float, float] | None:
    """Change a picture so that a layer gives for it what it gives for another; it starts at the picture itself.

    Args:
        network: with the layer.
        image: RGB `[H, W, 3]` uint8.
        target: the other, of the same size.
        layer: its name.
        epsilon: most that a value may change, in grey levels.
        steps: along the sign of the gradient.
        step: length of one, in grey levels.
        momentum: what is kept of the direction so far.

    Returns:
        The picture, and the squared L2 distance of features that was there before, and of the stored picture; None if a
        gradient isn't finite, or the first is zero.

    Raises:
        ValueError: both pictures are the same.
    """
    import torch

    if np.array_equal(image, target):
        raise ValueError("a picture can't be its own target")
    here, there = (torch.from_numpy(one.transpose(2, 0, 1)[None].astype(np.float32)) for one in (image, target))
    grey, flat = budget.is_grey(image), list[bool]()

    def far(state: Any) -> Any:
        return (network.features(state / 255, layer) - wanted).square().sum()

    def slope(state: Any) -> Any:
        x = state.detach().requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(-far(x), x)
        flat.append(not bool(found.isfinite().all() and (len(flat) or found.any())))
        return (found.mean(1, keepdim=True) if grey else found).nan_to_num(0, 0, 0)

    with one_thread(), float32(), torch.no_grad():
        wanted = network.features(there / 255, layer)
        low, high = (here - epsilon).clamp_min(0), (here + epsilon).clamp_max(255)
        end = ascent.climb(here, low, high, slope, steps=steps, step=step, momentum=momentum)
        stored = budget.inside(image, end[0].numpy().transpose(1, 2, 0), epsilon)
        after = torch.from_numpy(stored.transpose(2, 0, 1)[None].astype(np.float32))
        return None if any(flat) else (stored, float(far(here)), float(far(after)))
