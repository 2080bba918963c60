"""Diffusion guided by a picture's complexity around an object that is kept: ImageNet-E's backgrounds.

After Li et al., ImageNet-E, CVPR 2023 (arXiv 2303.17096) and its released toolkit, on Blended Diffusion (Avrahami et
al., CVPR 2022, arXiv 2111.14818), in pixel space and in latent space. A background is noised up to some timestep and
denoised again (SDEdit, arXiv 2108.01073); each step is shifted along the gradient of a loss

    L = -λ C(x̂0) + r mean((x̂0 - clamp(x̂0))²) + a log p(y | x̂0),

so λ above 0 makes a background more complex and λ below 0 less. Without a clamp the step's mean moves by -Σ ∇L, as in
the toolkit; with one the predicted noise moves by √(1 - ᾱ) ∇L, limited in every cell to a share of the noise's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from variorum.generators.imagenet_e.objectives import Objective, objective
from variorum.generators.imagenet_e.timesteps import Timestep, timesteps
from variorum.models.device import float32
from variorum.models.diffusion.images import fitted, inner_shape, restored
from variorum.models.roles import Adversary, Denoised, Denoiser
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

DILATIONS = ((0.50, 51), (0.35, 31))
"""With `coarse_to_fine`: above this share of the steps, the object is dilated by a square of this side in pixels."""

Loss: TypeAlias = Callable[[Any], Any]


class Guidance(BaseModel):
    """Settings of guided diffusion for backgrounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective = "masked_hf"
    """What is raised or lowered: the background's share of high frequencies, or ImageNet-E's |FFT2| of the frame."""
    # floats, also as defaults: ids depend on them, and 20000 and 20000.0 differ in JSON
    up: float = Field(default=20000.0, gt=0)
    """λ of `guided_up`. ImageNet-E's own is 20, for `adm_compat` without a clamp."""
    down: float = Field(default=-20000.0, lt=0)
    """λ of `guided_down`."""
    steps: int = Field(default=100, ge=2, le=1000)
    """Timesteps that the whole diffusion is divided into."""
    start: int = Field(default=5, ge=1, le=1000)
    """How many of them, the least noisy ones, are run: how far a background may depart from where it starts."""
    clamp: float | None = Field(default=0.5, gt=0)
    """The largest shift of a cell, as a share of the predicted noise's RMS; None for the toolkit's unlimited form."""
    range_weight: float = Field(default=50.0, ge=0)
    """r: keeps pixels near [-1, 1]; ignored for latents, which have no such range."""
    coarse_to_fine: bool = False
    """Whether noisy timesteps also keep the surroundings of the object."""
    min_change: float | None = Field(default=None, gt=0)
    """Least change of the objective against the control; None for 0.02, or 0.1 for `adm_compat`. Beside it,
    `guided_up` must exceed the original, and `guided_down` may not."""
    denoiser: str = Field(default="denoiser", description="alias of the diffusion model")
    adversary: str | None = None
    """A classifier that `guided_adversarial` is steered against; it may not judge the edition."""
    adversary_scale: float = Field(default=1000.0, gt=0)
    """a of `guided_adversarial`."""

    @model_validator(mode="after")
    def _starts_within(self) -> Guidance:
        if self.start > self.steps:
            raise ValueError(f"start {self.start} is more than the {self.steps} steps")
        return self

    @property
    def least(self) -> float:
        """Least change of the objective that counts as an effect."""
        return self.min_change or (0.02 if self.objective == "masked_hf" else 0.1)


@dataclass(frozen=True)
class Wish:
    """One background that is asked for.

    Attributes:
        plate: `[H, W, 3]`, where it starts from.
        picture: `[H, W, 3]`, with the object in its place.
        keep: `[H, W]`, true where `picture` is kept.
        background: `[H, W]`, true where complexity is measured.
        seed: of all its noise.
        weight: λ.
        adversary_scale: a; 0 for none.
        label: y, ImageNet's index.
    """

    plate: Pixels
    picture: Pixels
    keep: Bools
    background: Bools
    seed: int
    weight: float
    adversary_scale: float = 0.0
    label: int = 0


def guided(
    wishes: Sequence[Wish], denoiser: Denoiser, settings: Guidance, adversary: Adversary | None = None
) -> list[Pixels]:
    """The backgrounds, each with its `picture` bit for bit where that is kept.

    Each draws its noise on the CPU by its own seed, so it doesn't depend on the others in the batch. A frame smaller
    than the pictures of the denoiser's training is enlarged to their side, and the result shrunk; complexity is
    measured, as it is judged later, at the frame's own side.

    Args:
        wishes: all of the same size.
        denoiser: the model.
        settings: of the guidance.
        adversary: needed if a wish has an `adversary_scale`.

    Raises:
        RecipeError: `start` needs more noise than the denoiser was trained for.
    """
    if not wishes:
        return []
    shape = wishes[0].plate.shape[:2]
    with float32(denoiser.tf32):
        made = denoiser.decode(diffused(wishes, denoiser, settings, adversary))
    return [
        np.where(wish.keep[..., None], wish.picture, restored(picture, shape, denoiser.size))
        for wish, picture in zip(wishes, made, strict=True)
    ]


def diffused(wishes: Sequence[Wish], denoiser: Denoiser, settings: Guidance, adversary: Adversary | None = None) -> Any:
    """The clean state `[N, c, h, w]` that `guided` decodes."""
    import torch

    path = timesteps(denoiser.signal, settings.steps, settings.start)
    if path[0].step >= denoiser.known:
        most = sum(item.step < denoiser.known for item in path)
        raise RecipeError(
            f"guidance.start: the denoiser {settings.denoiser!r} knows only the first {denoiser.known} of its "
            f"{len(denoiser.signal)} steps, which allows a start of {most} in {settings.steps} (got {settings.start})"
        )

    with torch.no_grad():
        start, objects = (
            denoiser.encode([fitted(item, denoiser.multiple, denoiser.size) for item in items])
            for items in ([wish.plate for wish in wishes], [wish.picture for wish in wishes])
        )
    noises = [_noise(wish.seed, start.shape[1:]) for wish in wishes]

    def drawn() -> Any:
        return torch.stack([next(noise) for noise in noises]).to(denoiser.device)

    loss = _loss(wishes, denoiser, settings, adversary)
    state = path[0].noised(start, drawn())
    for timestep in path:
        state = _step(state, timestep, denoiser, loss, settings.clamp, drawn())
        keep = _kept(wishes, timestep.number / settings.steps if settings.coarse_to_fine else 0.0, denoiser)
        # with the noise of the timestep before, as in the toolkit
        state = torch.where(keep, timestep.noised(objects, drawn()), state)
    return state


def _step(
    state: Any, timestep: Timestep, denoiser: Denoiser, loss: Loss | None, clamp: float | None, noise: Any
) -> Any:
    """The next state: drawn from the posterior, shifted along the loss's gradient."""
    import torch

    with torch.set_grad_enabled(loss is not None):
        state = state.detach().requires_grad_(loss is not None)
        found = denoiser.predict(state, timestep.step)
        slope = None if loss is None else torch.autograd.grad(loss(found.clean), state)[0]
    clean, state = found.clean.detach(), state.detach()
    variance = _variance(found, timestep)
    if slope is not None and clamp is not None:
        clean = clean - (1 - timestep.signal) / timestep.signal**0.5 * clamped(slope, clean, state, timestep, clamp)
    mean = timestep.mean(clean, state)
    if slope is not None and clamp is None:
        mean = mean - variance * slope
    return mean if timestep.number == 0 else mean + variance**0.5 * noise


def clamped(slope: Any, clean: Any, state: Any, timestep: Timestep, limit: float) -> Any:
    """The gradient, limited to √(1 - ᾱ) |∇L| <= limit · rms(ε̂) in every cell; so √(1 - ᾱ) ‖∇L‖ <= limit ‖ε̂‖ too.

    A limit on the length alone keeps the gradient's peaks: complexity grows fastest where it is highest already, so the
    steps add up to spots there. Limited cell by cell, the whole background changes alike.
    """
    rest = (1 - timestep.signal) ** 0.5
    noise = (state - timestep.signal**0.5 * clean) / rest
    most = limit / rest * noise.square().mean((1, 2, 3), keepdim=True).sqrt()
    return slope.clamp(-most, most)


def _variance(found: Denoised, timestep: Timestep) -> Any:
    """The step's variance: the smallest possible, or what the network learned (Nichol & Dhariwal, 2102.09672)."""
    import torch

    if found.spread is None:
        return torch.tensor(timestep.variance, device=found.clean.device)
    lowest = float(np.log(timestep.least))
    return torch.exp(lowest + found.spread.detach() * (float(np.log(timestep.beta)) - lowest))


def _loss(wishes: Sequence[Wish], denoiser: Denoiser, settings: Guidance, adversary: Adversary | None) -> Loss | None:
    """L summed over the pictures, so that their gradients are independent; None if there is nothing to steer by."""
    import torch

    def column(values: Sequence[float]) -> Any:
        return torch.tensor(values, dtype=torch.float32, device=denoiser.device)

    weights = column([wish.weight for wish in wishes])
    scales = [wish.adversary_scale for wish in wishes]
    range_weight = settings.range_weight if denoiser.shrink == 1 else 0.0
    if not weights.any() and not any(scales) and not range_weight:
        return None
    frame = wishes[0].plate.shape[:2]
    height, width = inner_shape(frame, denoiser.size)
    enlarged = (height, width) != frame
    rows, columns = (
        torch.from_numpy(_area_filter(*sides)).to(denoiser.device) for sides in ((height, frame[0]), (width, frame[1]))
    )
    complexity = objective(settings.objective, [wish.background for wish in wishes], denoiser.device)
    against = [place for place, scale in enumerate(scales) if scale]
    labels = torch.tensor([wishes[place].label for place in against], device=denoiser.device)
    assert adversary is not None or not against

    def loss(clean: Any) -> Any:
        pictures = denoiser.preview(clean)[..., :height, :width]
        if enlarged:
            pictures = rows @ pictures @ columns.T
        total = range_weight * (clean - clean.clamp(-1, 1)).square().mean((1, 2, 3)).sum()
        if weights.any():
            total = total - (weights * complexity(pictures)).sum()
        if against and adversary is not None:
            found = adversary(pictures[against].clamp(0, 1)).gather(1, labels[:, None])[:, 0]
            total = total + (column([scales[place] for place in against]) * found).sum()
        return total

    return loss


def _area_filter(large: int, small: int) -> Singles:
    """OpenCV's area filter as a matrix `[small, large]`: PyTorch's own has gradients that differ from run to run."""
    identity = np.eye(large, dtype=np.float32)
    return np.asarray(cv2.resize(identity, (large, small), interpolation=cv2.INTER_AREA), np.float32)


def _kept(wishes: Sequence[Wish], share: float, denoiser: Denoiser) -> Any:
    """Where the object is put back, `[N, 1, h, w]`: every cell with a pixel of it."""
    import torch

    side = next((side for limit, side in DILATIONS if share > limit), 0)
    cells = []
    for wish in wishes:
        kept = wish.keep.astype(np.uint8)
        if side:
            kept = np.asarray(cv2.dilate(kept, np.ones((side, side), np.uint8)), np.uint8)
        kept, n = fitted(kept, denoiser.multiple, denoiser.size, mask=True), denoiser.shrink
        cells.append(kept.reshape(kept.shape[0] // n, n, kept.shape[1] // n, n).max((1, 3)) > 0)
    return torch.from_numpy(np.stack(cells))[:, None].to(denoiser.device)


def _noise(seed: int, shape: Any) -> Iterator[Any]:
    """Standard normal states, without end."""
    import torch

    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield torch.randn(shape, generator=generator)
