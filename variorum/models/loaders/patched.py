"""Loader `patched`: a network whose weights are moved towards those of one that was tuned on corrupted pictures.

After Cai et al., Robust Weight Signatures, ICML 2023, arXiv 2302.12480. The other network should have been tuned from
the same start, which here is the defended one. What a third one learned, tuned on clean pictures, can be left out.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from variorum.models.brought.model import BroughtModel
from variorum.models.defended import DefenceOptions, Names, called, defence, parts_of
from variorum.models.table_entries import Entry
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut


class PatchedOptions(DefenceOptions):
    """Options of `patched`."""

    others: Names = Field(alias="with", min_length=1, max_length=2)
    """The network that was tuned on corrupted pictures, and perhaps one that was tuned on clean ones: the part of
    the move that leads towards that one is taken away, tensor by tensor."""
    strength: float = Field(default=1.0, ge=-2, le=2)
    """How far to move, as a share of the way."""
    stages: int = Field(default=0, ge=0)
    """Only the first so many convolutions or linear layers move, each with its normalisation; 0 for all."""
    batch_norm: Literal["keep", "patched"] = "keep"
    """Whether the means and variances of batch normalisation move too."""

    def models(self) -> tuple[str, ...]:
        """The networks whose weights are read."""
        return self.others


def load_patched(_entry: Entry, _weights: None, options: PatchedOptions, used: Mapping[str, Any]) -> Any:
    """A copy of the model with moved weights. Raises RecipeError if they don't fit, or a variance turns negative."""
    import torch

    parts_of(used, gradients=options.gradients)  # refuses other classes
    name, *others = used
    _, *states = (_network(one, used[one]).state_dict() for one in used)
    made = copy.deepcopy(used[name])
    network = _network(name, made)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    for other, state in zip(others, states, strict=True):
        if {key: tuple(value.shape) for key, value in state.items()} != shapes:
            raise RecipeError(
                f"patched: {cut(repr(other))} has weights of other names or shapes than {cut(repr(name))}"
            )
    with torch.no_grad():
        for key, value in _moving(network, options):
            moved = value + options.strength * signature(value, *(state[key] for state in states))
            if key.endswith("running_var") and not (moved >= 0).all():
                raise RecipeError(
                    f"patched: at strength={options.strength:g} variances of {key} turn negative; leave out "
                    "batch_norm=patched, or take a strength between 0 and 1"
                )
            value.copy_(moved)
    told = f"Behind it: weights moved by {options.strength:g} of the way to those of {called(others[0])}."
    shown = getattr(made, "answers", made)  # of one with gradients, what answers about stored pictures
    if isinstance(shown, BroughtModel):
        return dataclasses.replace(shown, preprocessing=f"{shown.preprocessing} {told}")
    shown.preprocessing = f"{shown.preprocessing} {told}"
    return made


def signature(start: Any, corrupted: Any, clean: Any = None) -> Any:
    """The way from a tensor to that of another network, less its projection on the way to a third one's."""
    way = corrupted - start
    if clean is None:
        return way
    other = clean - start
    return way - (way * other).sum() / (other * other).sum().clamp_min(1e-30) * other


def _moving(network: Any, options: PatchedOptions) -> Iterator[tuple[str, Any]]:
    """Tensors that move, by name, in the network's order."""
    stage = 0
    for prefix, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        stage += "weight" in own and own["weight"].ndim > 1
        if options.batch_norm == "patched":
            own |= {key: one for key, one in module.named_buffers(recurse=False) if one.is_floating_point()}
        if not options.stages or stage <= options.stages:
            yield from ((f"{prefix}.{key}".lstrip("."), value) for key, value in own.items())


def _network(name: str, model: Any) -> Any:
    """The module of PyTorch behind a model."""
    found = getattr(getattr(model, "scores", None), "network", None)  # a user's
    for own in ("_network", "_module", "_model"):
        found = getattr(model, own, found)
    if not hasattr(found, "named_parameters"):
        raise RecipeError(f"patched: {cut(repr(name))} has no weights in PyTorch to move; name a network that has")
    return found


PATCHED = defence(
    load_patched,
    PatchedOptions,
    "Its weights are moved towards those of a network that was tuned on corrupted pictures (after Cai et al., "
    "arXiv 2302.12480). It is made for corruptions, not for attacks.",
)
