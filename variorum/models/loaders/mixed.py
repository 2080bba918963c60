"""Loader `mixed`: an accurate and a robust classifier, their probabilities mixed.

Bai et al., Improving the Accuracy-Robustness Trade-Off of Classifiers via Adaptive Smoothing, arXiv 2301.12554, with a
fixed share; its gate by another network is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from variorum.models.defended import Combined, DefenceOptions, Names, called, parts_of
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.table_entries import Entry


class MixedOptions(DefenceOptions):
    """Options of `mixed`."""

    robust: Names = Field(alias="with", min_length=1, max_length=1)
    """The robust model."""
    alpha: float = Field(default=0.75, ge=0, le=1)
    """Its share. The method needs at least a half, so that a sure robust model decides."""
    scale: float = Field(default=1.0, gt=0, le=20)
    """What the defended model's logits are multiplied by."""
    scale_robust: float = Field(default=1.0, gt=0, le=20)
    """What the robust model's logits are multiplied by."""

    def models(self) -> tuple[str, ...]:
        """The robust model."""
        return self.robust


def load_mixed(_entry: Entry, _weights: None, options: MixedOptions, used: Mapping[str, Any]) -> Combined:
    """The mixture of the model and the robust one."""

    def combine(said: Sequence[Any]) -> Any:
        import torch

        exact, robust = ((scale * one).softmax(-1) for scale, one in zip(scales, said, strict=True))
        return torch.log(((1 - options.alpha) * exact + options.alpha * robust).clamp_min(1e-30))

    scales = (options.scale, options.scale_robust)
    told = f"{1 - options.alpha:g} of its probabilities and {options.alpha:g} of those of {called(list(used)[1])}."
    return Combined(parts_of(used, gradients=options.gradients), combine, told)


MIXED = Loader(
    revision=1,
    make=load_mixed,
    options=MixedOptions,
    packages=("torch",),
    obstacle=no_obstacle,
    has_weights=False,
    role=lambda options: "adversary" if options.gradients else "classifier",
    steers={"gradients": True},
    defence="Its probabilities are mixed with those of a robust model (Bai et al., arXiv 2301.12554).",
)
