"""Diffusion steered by a picture's complexity, around an object that stays: ImageNet-E's backgrounds.

After Li et al., ImageNet-E, CVPR 2023 (arXiv 2303.17096) and its released toolkit, on Blended Diffusion (Avrahami et
al., CVPR 2022, arXiv 2111.14818), in pixel space and in latent space alike. A background is noised to some moment and
denoised again (SDEdit, arXiv 2108.01073); on the way each step is shifted along the gradient of a loss

    L = -λ C(x̂0) + r mean((x̂0 - clamp(x̂0))²) + a log p(y | x̂0),

so λ above 0 makes a background more complex and λ below 0 less. Without a clamp the step's mean moves by -Σ ∇L, the
toolkit's form; with one the predicted noise moves by √(1 - ᾱ) ∇L, in no cell further than a share of its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from variorum.generators.editing.objectives import Objective, objective
from variorum.models.roles import Adversary, Denoised, Denoiser
from variorum.schemas.errors import RecipeError

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

DILATIONS = ((0.50, 51), (0.35, 31))
"""With `coarse_to_fine`: above this share of the steps the object is grown by squares of this side, pixels."""


class Guidance(BaseModel):
    """How backgrounds by guided diffusion are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective = "masked_hf"
    """What is raised or lowered: the background's share of high frequencies, or ImageNet-E's |FFT2| of the frame."""
    up: float = Field(default=20000, gt=0)
    """λ of `guided_up`. ImageNet-E's own is 20, for `adm_compat` without a clamp."""
    down: float = Field(default=-20000, lt=0)
    """λ of `guided_down`."""
    steps: int = Field(default=100, ge=2, le=1000)
    """Moments that the whole diffusion is spread over."""
    start: int = Field(default=10, ge=1, le=1000)
    """Moments that are gone through, the least noisy ones: how far a background may go from where it started."""
    clamp: float | None = Field(default=0.2, gt=0)
    """The shift of a cell, at most, as a share of the predicted noise's rms; None for the toolkit's form, unlimited."""
    range_weight: float = Field(default=50, ge=0)
    """r: what keeps pixels, or a latent's cells, near [-1, 1]; latents have no such range, so it counts for pixels."""
    coarse_to_fine: bool = False
    """Whether noisy moments keep clear of the object's surroundings."""
    min_change: float | None = Field(default=None, gt=0)
    """Change of the objective against the control that counts as done; None for 0.02, or 0.1 for `adm_compat`."""
    denoiser: str = "denoiser"
    adversary: str | None = None
    """A classifier that `guided_adversarial` is steered against; it may not judge the edition."""
    adversary_scale: float = Field(default=10, gt=0)
    """a of `guided_adversarial`."""

    @model_validator(mode="after")
    def _starts_within(self) -> Guidance:
        if self.start > self.steps:
            raise ValueError(f"start {self.start} is more than the {self.steps} steps that there are")
        return self

    @property
    def least(self) -> float:
        """The change that counts as done."""
        return self.min_change or (0.02 if self.objective == "masked_hf" else 0.1)


@dataclass(frozen=True)
class Wish:
    """One background that is asked for.

    Attributes:
        plate: `[H, W, 3]`, where it starts from.
        picture: `[H, W, 3]`, the object in its place, which is re-imposed.
        keep: `[H, W]`, true where `picture` stays.
        background: `[H, W]`, true where complexity is measured.
        seed: of all its noise.
        weight: λ.
        adversary_scale: a; 0 for none.
        label: y, ImageNet's index.
    """

    plate: Pixels
    picture: Pixels
    keep: Mask
    background: Mask
    seed: int
    weight: float
    adversary_scale: float = 0.0
    label: int = 0


@dataclass(frozen=True)
class Moment:
    """One step of the diffusion, from ᾱ to the next ᾱ, with what its normal distribution needs.

    Attributes:
        number: among the spread steps, 0 is the last.
        step: among the training's.
        before: ᾱ of the state that would lead to this one, 0 for the noisiest.
        signal: ᾱ here.
        after: ᾱ of the state that it leads to, 1 for the last.
    """

    number: int
    step: int
    before: float
    signal: float
    after: float

    @property
    def beta(self) -> float:
        """The share of noise that one step forward adds: the largest variance there can be."""
        return 1 - self.signal / self.after

    @property
    def variance(self) -> float:
        """The posterior's, the smallest there can be; 0 at the last."""
        return self.beta * (1 - self.after) / (1 - self.signal)

    @property
    def least(self) -> float:
        """What a network that learned its variance has at least: the posterior's; at the last, that of the one before.

        As in guided-diffusion, where it is the logarithm that is learned, and that of 0 there isn't.
        """
        if self.number:
            return self.variance
        return (1 - self.before / self.signal) * (1 - self.signal) / (1 - self.before)

    def mean(self, clean: Any, state: Any) -> Any:
        """The posterior's mean (Ho et al., arXiv 2006.11239, equation 7)."""
        of_clean = self.beta * self.after**0.5 / (1 - self.signal)
        of_state = (1 - self.after) * (self.signal / self.after) ** 0.5 / (1 - self.signal)
        return of_clean * clean + of_state * state

    def noised(self, clean: Any, noise: Any) -> Any:
        """A clean state with this moment's noise."""
        return self.signal**0.5 * clean + (1 - self.signal) ** 0.5 * noise


def moments(signal: NDArray[np.float64], steps: int, start: int) -> list[Moment]:
    """The last `start` of `steps` moments spread evenly over the training's, noisiest first."""
    spread = np.rint(np.linspace(0, len(signal) - 1, steps)).astype(int)
    shares = [1.0, *(float(signal[step]) for step in spread), 0.0]
    return [Moment(n, int(spread[n]), shares[n + 2], shares[n + 1], shares[n]) for n in reversed(range(start))]


def guided(
    wishes: Sequence[Wish], denoiser: Denoiser, settings: Guidance, adversary: Adversary | None = None
) -> list[Pixels]:
    """The backgrounds, with `picture` where it is to be kept, bit for bit.

    Each has noise of its own, drawn on the CPU by its seed, so that it doesn't depend on what else is asked for.

    Args:
        wishes: of one size.
        denoiser: the model.
        settings: how.
        adversary: needed if a wish has an `adversary_scale`.

    Raises:
        RecipeError: when it is to start from more noise than the denoiser knows.
    """
    if not wishes:
        return []
    height, width = wishes[0].plate.shape[:2]
    made = denoiser.decode(diffused(wishes, denoiser, settings, adversary))
    return [
        np.where(wish.keep[..., None], wish.picture, picture[:height, :width])
        for wish, picture in zip(wishes, made, strict=True)
    ]


def diffused(wishes: Sequence[Wish], denoiser: Denoiser, settings: Guidance, adversary: Adversary | None = None) -> Any:
    """The clean state `[N, c, h, w]` that `guided` decodes."""
    import torch

    path = moments(denoiser.signal, settings.steps, settings.start)
    if path[0].step >= denoiser.known:
        most = sum(item.step < denoiser.known for item in path)
        raise RecipeError(
            f"guidance.start: the denoiser {settings.denoiser!r} knows only the first {denoiser.known} of its "
            f"{len(denoiser.signal)} steps, which is a start of {most} in {settings.steps} (got {settings.start})"
        )

    with torch.no_grad():
        start, objects = (
            denoiser.encode([_padded(item, denoiser.multiple) for item in items])
            for items in ([wish.plate for wish in wishes], [wish.picture for wish in wishes])
        )
    noises = [_noise(wish.seed, start.shape[1:]) for wish in wishes]

    def drawn() -> Any:
        return torch.stack([next(noise) for noise in noises]).to(denoiser.device)

    loss = _loss(wishes, denoiser, settings, adversary)
    state = path[0].noised(start, drawn())
    for moment in path:
        state = _step(state, moment, denoiser, loss, settings.clamp, drawn())
        keep = _kept(wishes, moment.number / settings.steps if settings.coarse_to_fine else 0.0, denoiser)
        # with the noise of the step before, as the toolkit has it
        state = torch.where(keep, moment.noised(objects, drawn()), state)
    return state


Loss = Callable[[Any], Any]


def _step(state: Any, moment: Moment, denoiser: Denoiser, loss: Loss | None, clamp: float | None, noise: Any) -> Any:
    """The next state: the posterior's draw, shifted along the loss's gradient."""
    import torch

    with torch.set_grad_enabled(loss is not None):
        state = state.detach().requires_grad_(loss is not None)
        found = denoiser.predict(state, moment.step)
        slope = None if loss is None else torch.autograd.grad(loss(found.clean), state)[0]
    clean, state = found.clean.detach(), state.detach()
    variance = _variance(found, moment)
    if slope is not None and clamp is not None:
        clean = clean - (1 - moment.signal) / moment.signal**0.5 * clamped(slope, clean, state, moment, clamp)
    mean = moment.mean(clean, state)
    if slope is not None and clamp is None:
        mean = mean - variance * slope
    return mean if moment.number == 0 else mean + variance**0.5 * noise


def clamped(slope: Any, clean: Any, state: Any, moment: Moment, limit: float) -> Any:
    """The gradient with √(1 - ᾱ) |∇L| <= limit · rms(ε̂) in every cell, so that √(1 - ᾱ) ‖∇L‖ <= limit ‖ε̂‖ too.

    A limit on the length alone would leave the gradient's peaks: complexity grows fastest where there is most of it
    already, and steps that add up make spots there. Limited cell by cell, all of a background changes alike.
    """
    rest = (1 - moment.signal) ** 0.5
    noise = (state - moment.signal**0.5 * clean) / rest
    most = limit / rest * noise.square().mean((1, 2, 3), keepdim=True).sqrt()
    return slope.clamp(-most, most)


def _variance(found: Denoised, moment: Moment) -> Any:
    """The step's variance: the smallest there can be, or what the network learned (Nichol & Dhariwal, 2102.09672)."""
    import torch

    if found.spread is None:
        return torch.tensor(moment.variance, device=found.clean.device)
    lowest = float(np.log(moment.least))
    return torch.exp(lowest + found.spread.detach() * (float(np.log(moment.beta)) - lowest))


def _loss(
    wishes: Sequence[Wish],
    denoiser: Denoiser,
    settings: Guidance,
    adversary: Adversary | None,
) -> Loss | None:
    """L summed over the pictures, so that none feels the others; None when there is nothing to steer by."""
    import torch

    def column(values: Sequence[float]) -> Any:
        return torch.tensor(values, dtype=torch.float32, device=denoiser.device)

    weights = column([wish.weight for wish in wishes])
    scales = [wish.adversary_scale for wish in wishes]
    range_weight = settings.range_weight if denoiser.shrink == 1 else 0.0
    if not weights.any() and not any(scales) and not range_weight:
        return None
    height, width = wishes[0].plate.shape[:2]
    complexity = objective(settings.objective, [wish.background for wish in wishes], denoiser.device)
    against = [place for place, scale in enumerate(scales) if scale]
    labels = torch.tensor([wishes[place].label for place in against], device=denoiser.device)
    assert adversary is not None or not against

    def loss(clean: Any) -> Any:
        pictures = denoiser.preview(clean)[..., :height, :width]
        total = range_weight * (clean - clean.clamp(-1, 1)).square().mean((1, 2, 3)).sum()
        if weights.any():
            total = total - (weights * complexity(pictures)).sum()
        if against and adversary is not None:
            found = adversary(pictures[against].clamp(0, 1)).gather(1, labels[:, None])[:, 0]
            total = total + (column([scales[place] for place in against]) * found).sum()
        return total

    return loss


def _kept(wishes: Sequence[Wish], share: float, denoiser: Denoiser) -> Any:
    """Where the object is re-imposed, `[N, 1, h, w]`: every cell that has a pixel of it."""
    import torch

    side = next((side for limit, side in DILATIONS if share > limit), 0)
    cells = []
    for wish in wishes:
        kept = wish.keep.astype(np.uint8)
        if side:
            kept = np.asarray(cv2.dilate(kept, np.ones((side, side), np.uint8)), np.uint8)
        kept, n = _padded(kept, denoiser.multiple), denoiser.shrink
        cells.append(kept.reshape(kept.shape[0] // n, n, kept.shape[1] // n, n).max((1, 3)) > 0)
    return torch.from_numpy(np.stack(cells))[:, None].to(denoiser.device)


def _noise(seed: int, shape: Any) -> Iterator[Any]:
    """Standard normal states, without end."""
    import torch

    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield torch.randn(shape, generator=generator)


def _padded(pixels: Pixels, multiple: int) -> Pixels:
    """Carried on below and to the right, mirrored, to sides that the model takes."""
    below, beside = (-side % multiple for side in pixels.shape[:2])
    if not below and not beside:
        return pixels
    return np.asarray(cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_REFLECT_101), np.uint8)
