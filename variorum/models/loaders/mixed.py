"""Loader `mixed`: an accurate and a robust classifier, their probabilities mixed.

Bai et al., Improving the Accuracy-Robustness Trade-Off of Classifiers via Adaptive Smoothing, arXiv 2301.12554, with a
fixed share; its gate by another network is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from variorum.models.defended import Combined, DefenceOptions, Names, called, defence, parts_of
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


MIXED = defence(
    load_mixed,
    MixedOptions,
    "Its probabilities are mixed with those of another model, which should be robust (Bai et al., arXiv 2301.12554).",
)
