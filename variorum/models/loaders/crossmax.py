"""Loader `crossmax`: several classifiers answer together, and none of them can win alone.

Fort & Lakshminarayanan, Ensemble everything everywhere, arXiv 2408.05446: from each model's logits its largest one is
taken away, then from each class its largest one over the models; the answer of a class is the k-th largest over the
models. Zhang et al. (arXiv 2411.14834) found that it masks gradients, and broke it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from variorum.models.defended import Combined, DefenceOptions, Names, called, defence, parts_of
from variorum.models.table_entries import Entry
from variorum.schemas.errors import RecipeError


class CrossMaxOptions(DefenceOptions):
    """Options of `crossmax`."""

    others: Names = Field(alias="with", min_length=1, max_length=7)
    """The models that answer together with the defended one."""
    k: int = Field(default=2, ge=2, le=8)
    """Which of the models' values counts, 2 for the second. The largest is 0 for every class that any model leads."""

    def models(self) -> tuple[str, ...]:
        """The others."""
        return self.others


def load_crossmax(_entry: Entry, _weights: None, options: CrossMaxOptions, used: Mapping[str, Any]) -> Combined:
    """The models together. Raises RecipeError if there are fewer than k."""
    if options.k > len(used):
        raise RecipeError(f"crossmax: k={options.k} needs as many models, and there are {len(used)}; take a smaller k")
    names = ", ".join(map(called, used))
    return Combined(
        parts_of(used, gradients=options.gradients),
        lambda said: cross_max(said, options.k).log_softmax(-1),
        f"for each class the values of {names}, of which the {_ordinal(options.k)} largest counts (CrossMax).",
        {"the mean of the logits": lambda said: (sum(said) / len(said)).log_softmax(-1)},
    )


def cross_max(said: Sequence[Any], k: int) -> Any:
    """CrossMax of the logits or log probabilities `[N, K]` of each model: `[N, K]`."""
    import torch

    values = torch.stack(list(said))
    values = values - values.amax(-1, keepdim=True)
    values = values - values.amax(0, keepdim=True)
    return values.topk(k, dim=0).values[-1]


def _ordinal(number: int) -> str:
    return f"{number}{ {2: 'nd', 3: 'rd'}.get(number, 'th') }"


CROSSMAX = defence(
    load_crossmax,
    CrossMaxOptions,
    "Several models answer together (Fort & Lakshminarayanan, arXiv 2408.05446). Zhang et al. (arXiv "
    "2411.14834) found that this masks gradients, and broke it.",
)
