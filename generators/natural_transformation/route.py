"""Photographs moved in the latent space of a GAN: its settings, and its models.

No profile configures a GAN. Those of which weights are published make faces, or one kind of thing, and most photographs
can't be inverted by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from variorum.generators.natural_transformation.directions import Method
from variorum.kit.corrupt.frames import MIN_SIDE
from variorum.models.brought.failures import own_line
from variorum.models.brought.model import BroughtModel
from variorum.schemas.errors import ModelFailed, ModelUnavailable, VariorumError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.models.roles import LatentPictures
    from variorum.schemas.component import Context

LARGEST = 4096
"""Side in pixels of a GAN's pictures."""
FARTHEST = 3.0
"""Deviations that strength 1 moves a code by, to either side."""


class Latent(BaseModel):
    """Settings of the latent route; they have no effect in the other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gan: str = "gan"
    """A model with the role `LatentPictures`, such as `module:my_gan.py:load`."""
    inverter: str = "inverter"
    """A model with the role `Inverter`."""
    method: Method = "sefa"
    """How directions are found."""
    directions: int = Field(default=4, ge=1, le=64)
    """How many of the strongest."""
    steps: int = Field(default=500, ge=0, le=10_000)
    """Of the search for a photograph's code."""
    least_ssim: float = Field(default=0.7, ge=0, le=1)
    """Of a photograph and the picture of its code; those below aren't moved."""


def played(model: Any) -> Any:
    """The object that plays a role. What a user's file returns is wrapped as a classifier would be."""
    return getattr(model.scores, "function", model) if isinstance(model, BroughtModel) else model


def gan_of(model: Any) -> LatentPictures:
    """The GAN behind an alias. Raises ValueError unless it has a `size` and a `style` that can be used."""
    gan: LatentPictures = played(model)
    if not isinstance(gan.size, int) or not MIN_SIDE <= gan.size <= LARGEST:
        raise ValueError(f"size is {gan.size!r}; it must be a whole number from {MIN_SIDE} to {LARGEST}")
    if np.ndim(gan.style) != 2 or not np.isfinite(gan.style).all():
        raise ValueError(f"style has the shape {list(np.shape(gan.style))}; it must be a finite matrix [out, d]")
    return gan


@contextmanager
def asking(latent: Latent) -> Iterator[None]:
    """Turn what a GAN or its inverter raises inside into one line. Raises ModelFailed."""
    try:
        yield
    except VariorumError:
        raise
    except Exception as error:
        said = cut(str(error).strip().partition("\n")[0])
        raise ModelFailed(
            f"natural_transformation: the GAN {latent.gan} or its inverter {latent.inverter} can't be used: "
            f"{type(error).__name__}: {said}{own_line(error)}"
        ) from error


def check_models(latent: Latent, ctx: Context) -> None:
    """Raise ModelUnavailable if the GAN or its inverter can't be had."""
    for alias in (latent.gan, latent.inverter):
        if why := ctx.models.why_unavailable(alias):
            raise ModelUnavailable(
                f"natural_transformation: route latent: {why}; no GAN is shipped or configured, so name your own, as "
                "in latent.gan=module:my_gan.py:load, or set route to closed_form"
            )
