"""Which attacks a recipe may ask for, with what settings, and running one on pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from variorum.kit.attacks import ascent, budget
from variorum.kit.attacks.auto import autoattack
from variorum.kit.attacks.losses import Loss, Victim, margin
from variorum.kit.attacks.minimal import carlini_wagner, deepfool
from variorum.kit.attacks.opponents import Aim, Opponent, seen, victims_of
from variorum.kit.attacks.square import square
from variorum.models.device import float32, one_thread
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Kind = Literal["fgsm", "pgd", "mi_fgsm", "cw", "deepfool", "square", "autoattack"]
ASCENTS = ("fgsm", "pgd", "mi_fgsm")
BOUNDED = (*ASCENTS, "square", "autoattack")
"""Attacks with a limit on the change of each value; the others look for the smallest change."""
STEPS: Mapping[str, int] = {"fgsm": 1, "pgd": 10, "mi_fgsm": 10, "cw": 100, "deepfool": 50, "square": 500}


class Perturbation(BaseModel):
    """One attack and its settings, see `AdversarialExample.attacks`; what isn't set is as usual for its kind."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    epsilon: int | None = Field(default=None, ge=1, le=64)
    steps: int | None = Field(default=None, ge=1, le=10_000)
    step: float | None = Field(default=None, gt=0, le=64)
    restarts: int = Field(default=1, ge=1, le=10)
    momentum: float = Field(default=1.0, gt=0, le=1)
    diversity: float = Field(default=0.0, ge=0, le=1)
    confidence: float = Field(default=1.0, ge=0, le=50)
    searches: int = Field(default=5, ge=1, le=20)
    loss: Loss = "ce"
    adversaries: tuple[str, ...] = ()
    name: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9_.]{0,39})?$")

    @field_validator("epsilon", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError("must be whole grey levels of 255, as stored pictures have nothing between them")
        return value

    @model_validator(mode="after")
    def _of_its_kind(self) -> Perturbation:
        if (self.epsilon is None) == (self.kind in BOUNDED):
            what = "needs an epsilon" if self.kind in BOUNDED else "looks for the smallest change, so it has no epsilon"
            raise ValueError(f"{self.kind} {what}")
        own = {
            "fgsm": ("diversity", "loss"),
            "pgd": ("steps", "step", "restarts", "diversity", "loss"),
            "mi_fgsm": ("steps", "step", "momentum", "diversity", "loss"),
            "cw": ("steps", "confidence", "searches"),
            "autoattack": (),
        }.get(self.kind, ("steps",))
        for name, field in type(self).model_fields.items():
            if name not in (*own, "kind", "epsilon", "adversaries", "name") and getattr(self, name) != field.default:
                raise ValueError(f"{self.kind} has no {name}; it has {', '.join(own) or 'an epsilon only'}")
        return self

    @property
    def variant(self) -> str:
        """Its name among the variants of an edition."""
        return self.name or (self.kind if self.epsilon is None else f"{self.kind}_{self.epsilon}")

    def requested(self) -> dict[str, Json]:
        """All settings that its kind has."""
        if self.kind == "autoattack":
            return {"attack": self.kind, "epsilon": self.epsilon, "version": "standard"}
        steps = self.steps or STEPS[self.kind]
        found: dict[str, Json] = {"attack": self.kind, "steps": steps}
        if self.epsilon is not None:
            found["epsilon"] = self.epsilon
        if self.kind in ASCENTS:
            usual = {"fgsm": 1.0, "pgd": 1 / 4, "mi_fgsm": 1 / steps}[self.kind] * (self.epsilon or 0)
            found |= {"step": round(self.step or usual, 6), "loss": self.loss, "diversity": self.diversity}
        if self.kind == "pgd":
            found["restarts"] = self.restarts
        if self.kind == "mi_fgsm":
            found["momentum"] = self.momentum
        if self.kind == "cw":
            found |= {"searches": self.searches, "confidence": self.confidence}
        return found


class Outcome(NamedTuple):
    """An attacked picture.

    Attributes:
        image: `[H, W, 3]` uint8.
        gradients: that were computed.
        queries: answers that were asked for.
        first: steps, or queries, until the models were fooled for the first time; -1 for never.
        margin: before the picture was rounded, as `Aim.margin`, the least of all models.
        flat: the first gradient was zero or not finite, so there is no attack.
        zeros: how often the loss had no gradient, so that the margin's was followed; None for an attack without a loss.
    """

    image: Pixels
    gradients: int
    queries: int
    first: int
    margin: float
    flat: bool = False
    zeros: int | None = None


def perturbed(
    attack: Perturbation,
    images: Sequence[Pixels],
    opponents: Sequence[Opponent],
    aims: Sequence[Sequence[Aim]],
    seeds: Sequence[int],
    batch: int,
) -> list[Outcome]:
    """Attack pictures of one size, together and independently of each other.

    On one kind of machine a gradient depends on the size of its batch, but not on the other pictures in it. So fewer
    pictures than `batch` are filled up with the last one.

    Args:
        attack: with its settings.
        images: RGB `[H, W, 3]` uint8, at most `batch`.
        opponents: the models.
        aims: of each opponent, the aim for each picture.
        seeds: of each picture.
        batch: pictures that are worked on at once.
    """
    if attack.kind == "square":
        return [_queried(attack, opponents[0], *one) for one in zip(images, aims[0], seeds, strict=True)]
    if attack.kind == "autoattack":
        return [_by_standard(attack, opponents[0], *one) for one in zip(images, aims[0], seeds, strict=True)]
    number = len(images)
    filled = [min(place, number - 1) for place in range(batch)]
    with one_thread(), float32():
        found = _followed(attack, [images[n] for n in filled], opponents, [[one[n] for n in filled] for one in aims],
                          [seeds[n] for n in filled])  # fmt: skip
    return found[:number]


def _followed(
    attack: Perturbation,
    images: Sequence[Pixels],
    opponents: Sequence[Opponent],
    aims: Sequence[Sequence[Aim]],
    seeds: Sequence[int],
) -> list[Outcome]:
    """Attacks by gradients."""
    import torch

    asked: Any = attack.requested()
    pictures = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
    grey = torch.tensor([budget.is_grey(image) for image in images])
    victims = victims_of(opponents, aims)
    if attack.kind not in ASCENTS:
        found = (
            carlini_wagner(
                pictures,
                victims,
                grey,
                steps=asked["steps"],
                searches=attack.searches,
                confidence=attack.confidence,
            )
            if attack.kind == "cw"
            else deepfool(pictures, victims[0], grey, steps=asked["steps"])
        )
        state, gradients, first, flat = found.pictures, found.gradients, found.first, found.flat
        gaps, zeros = _gaps(state, victims), [None] * len(images)
    else:
        levels = attack.epsilon or 0
        low, high = (pictures - levels).clamp_min(0), (pictures + levels).clamp_max(255)
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        views = ascent.diverse(attack.diversity, draws) if attack.diversity else None
        slope = ascent.Slope(victims, attack.loss, grey, views)
        where = torch.from_numpy(seen(opponents, *images[0].shape[:2]))
        state, gaps = pictures, torch.full((len(images),), -float("inf"))
        for _ in range(attack.restarts):
            start = ascent.random_start(pictures, levels, draws, where, grey) if attack.kind == "pgd" else pictures
            momentum = attack.momentum if attack.kind == "mi_fgsm" else 0.0
            end = ascent.climb(start, low, high, slope, steps=asked["steps"], step=asked["step"], momentum=momentum)
            reached = _gaps(end, victims)
            state = torch.where((reached > gaps)[:, None, None, None], end, state)
            gaps = torch.maximum(gaps, reached)
        gradients, first, flat, zeros = slope.gradients, slope.first, slope.flat, slope.zeros.tolist()
        first = torch.where((first < 0) & (gaps > 0), asked["steps"] * attack.restarts, first)
    moved = state.numpy().transpose(0, 2, 3, 1)
    levels = attack.epsilon or 255
    return [
        Outcome(budget.inside(image, one, levels), int(followed), 0, int(step), float(gap), bool(none), zero)
        for image, one, followed, step, gap, none, zero in zip(
            images, moved, gradients, first, gaps, flat, zeros, strict=True
        )
    ]


def _gaps(state: Any, victims: Sequence[Victim]) -> Any:
    """The least margin of all networks at a state, `[N]`."""
    import torch

    with torch.no_grad():
        gaps = [margin(one.network(state / 255).cpu(), one.away, one.towards) for one in victims]
    return torch.stack(gaps).amin(0)


def _by_standard(attack: Perturbation, opponent: Opponent, image: Pixels, aim: Aim, seed: int) -> Outcome:
    """AutoAttack, of one picture."""
    import torch

    assert opponent.network is not None
    levels, victim = attack.epsilon or 0, Victim(opponent.network, torch.from_numpy(aim.away[None]))
    picture = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    where = torch.from_numpy(seen([opponent], *image.shape[:2]))
    with one_thread(), float32():
        found, gradients, queries = autoattack(
            picture, victim, levels=levels, grey=budget.is_grey(image), seen=where, seed=seed
        )
        gap = float(_gaps(found, [victim]))
    made = budget.inside(image, found[0].numpy().transpose(1, 2, 0), levels)
    return Outcome(made, gradients, queries, -1, gap)


def _queried(attack: Perturbation, opponent: Opponent, image: Pixels, aim: Aim, seed: int) -> Outcome:
    """An attack by queries."""
    rng, most = np.random.default_rng(seed), attack.steps or STEPS[attack.kind]
    found, queries, gap = square(
        image, attack.epsilon or 0, lambda picture: aim.margin(opponent.answers([picture])[0]), rng, queries=most
    )
    return Outcome(found, 0, queries, queries if gap > 0 else -1, gap)
