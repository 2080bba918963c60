"""Loader `two_headed`: a robust model answers where a clean one isn't sure and the two disagree.

After Jain et al., Efficiently Robustify Pre-trained Models, ICCV 2023, arXiv 2309.07499. There both are heads of one
network; here they are two models, so nothing is said of what tuning a few layers costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from variorum.models.defended import Combined, DefenceOptions, Names, called, defence, parts_of
from variorum.models.table_entries import Entry


class TwoHeadedOptions(DefenceOptions):
    """Options of `two_headed`."""

    robust: Names = Field(alias="with", min_length=1, max_length=1)
    """The robust model."""
    tau: float = Field(default=0.1, ge=0, le=100)
    """It answers only where the Kullback-Leibler divergence of its probabilities from the clean model's is larger, in
    nats, and the clean model's entropy is larger than its own."""

    def models(self) -> tuple[str, ...]:
        """The robust model."""
        return self.robust


def load_two_headed(_entry: Entry, _weights: None, options: TwoHeadedOptions, used: Mapping[str, Any]) -> Combined:
    """The model with the robust one."""
    return Combined(
        parts_of(used, gradients=options.gradients),
        lambda said: chosen(said[0].log_softmax(-1), said[1].log_softmax(-1), options.tau),
        f"{called(list(used)[1])} answers where both differ by more than {options.tau:g} nats and it is the surer one.",
        {
            "the mean of the logits": lambda said: (sum(said) / len(said)).log_softmax(-1),
            "the robust head": lambda said: said[1],
        },
    )


def chosen(clean: Any, robust: Any, tau: float) -> Any:
    """Of log probabilities `[N, K]` those of the robust head where it is to answer, else those of the clean one."""
    p, q = clean.exp(), robust.exp()
    apart = (p * (clean - robust)).sum(-1) > tau
    unsure = -(p * clean).sum(-1) > -(q * robust).sum(-1)
    return robust.where((apart & unsure)[:, None], clean)


TWO_HEADED = defence(
    load_two_headed,
    TwoHeadedOptions,
    "A robust model answers where the clean one is less sure and they disagree (after Jain et al., arXiv 2309.07499).",
)
