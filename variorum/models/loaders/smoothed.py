"""Loader `smoothed`: a classifier answers under Gaussian noise, many times, and what it says most often counts.

Cohen et al., ICML 2019 (arXiv 1902.02918): such answers hold for all pictures within a radius, which the evaluation
`certified_accuracy` computes. With a denoiser, one step of a diffusion model takes the noise away first (Salman et al.,
arXiv 2003.01908; Carlini et al., arXiv 2206.10550). With `half`, two classifiers see one half of the pixels each, as
on a checkerboard (after Xia et al., arXiv 2404.09586). Clipping and rounding come after the noise, so they are part of
the classifier and void no certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.defended import Combined, DefenceOptions, Part, called, defence, parts_of
from variorum.models.device import inference, one_thread
from variorum.models.table_entries import Entry
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints, Pixels, Singles

BATCH, PIXELS = 64, 2**19
"""Noisy pictures per call at most, and their pixels."""
DRAWS = 8
"""Fixed draws of the noise over which an attack's gradient is taken."""


class SmoothedOptions(DefenceOptions):
    """Options of `smoothed`."""

    sigma: float = Field(default=0.25, ge=0.02, le=2)
    """Standard deviation of the noise, in pictures with values in [0, 1]. In a grey picture the channels move alike."""
    denoiser: str = ""
    """A model that takes the noise away, such as `denoiser`, or `denoiser_small` for small grey pictures."""
    votes: int = Field(default=100, ge=10, le=10_000)
    """Votes of an answer; `certified_accuracy` takes its own number."""
    half: str = ""
    """A second classifier, for the other half of the pixels; the defended one then sees only its own half."""

    def models(self) -> tuple[str, ...]:
        """The denoiser and the second classifier."""
        return tuple(filter(None, (self.denoiser, self.half)))


def load_smoothed(_entry: Entry, _weights: None, options: SmoothedOptions, used: Mapping[str, Any]) -> Smoothed:
    """The model under noise. Raises RecipeError for a denoiser or a second classifier that doesn't fit."""
    if options.denoiser and options.half:
        raise RecipeError("smoothed: a denoiser sees whole pictures; leave out denoiser or half")
    classifiers, denoiser, name = dict(used), None, ""
    told = f"Gaussian noise of σ = {options.sigma:g} in [0, 1], "
    if options.denoiser:
        name = list(used)[1]
        denoiser = OneStep(classifiers.pop(name), options.sigma, name)
        told += f"which {called(name)} takes away at step {denoiser.step}"
    told += "" if denoiser else "clipped and rounded"
    if options.half:
        told += f"; {' and '.join(map(called, used))} see one half of the pixels each"
    parts = parts_of(classifiers, gradients=options.gradients)
    noisy = [Noisy(one, options, denoiser, side if options.half else None) for side, one in enumerate(parts)]
    return Smoothed(noisy, f"{told}; the shares of {options.votes} answers.", options.sigma, name)


class Smoothed(Combined):
    """A `roles.Classifier` that answers with shares of votes, and says how many votes each class gets.

    As an adversary it gives the gradient of its mean probability over a few fixed draws of the noise. `sigma` is that
    of the noise in [0, 1], `denoiser` the alias of a denoiser, `""` for none.
    """

    def __init__(self, noisy: Sequence[Noisy], told: str, sigma: float, denoiser: str) -> None:
        super().__init__([one.part for one in noisy], _mean, told)
        self._noisy, self.sigma, self.denoiser = noisy, sigma, denoiser

    def votes(self, images: Sequence[Pixels], seeds: Sequence[int], n: int) -> Ints:
        """How many of n votes each class gets from each classifier, `[N, 1 or 2, K]`; each picture has its own seed."""
        return np.stack(
            [
                [one.votes(image, n, np.random.default_rng([seed, place])) for place, one in enumerate(self._noisy)]
                for image, seed in zip(images, seeds, strict=True)
            ]
        )


def _mean(said: Sequence[Any]) -> Any:
    """Log of the mean of probabilities whose logarithms are given."""
    import torch

    return torch.stack(list(said)).exp().mean(0).clamp_min(1e-30).log()


class Noisy:
    """One classifier under noise, which a denoiser takes away, or of which it sees one half, 0 or 1."""

    def __init__(self, part: Part, options: SmoothedOptions, denoiser: OneStep | None, side: int | None) -> None:
        self._ask, self._network, self._sigma, self._votes = part.ask, part.network, options.sigma, options.votes
        self._denoiser, self._side = denoiser, side
        self.device, self.routes = getattr(part.network, "device", None), getattr(part.network, "routes", {})
        self.part = part._replace(ask=self.shares, network=self if part.network is not None else None)

    def votes(self, image: Pixels, n: int, rng: np.random.Generator) -> Ints:
        """How many of n votes each class gets, `[K]`."""
        counts: Any = 0
        batch = max(1, min(BATCH, PIXELS // (image.shape[0] * image.shape[1])))
        for start in range(0, n, batch):
            said = np.asarray(self._ask(self.drawn(image, min(batch, n - start), rng)))
            counts = counts + np.bincount(said.argmax(1), minlength=said.shape[1])
        return np.asarray(counts, np.int64)

    def shares(self, images: Sequence[Pixels]) -> Floats:
        """Shares `[N, K]` of votes whose noise follows from the picture's own bytes."""
        found = []
        for image in images:
            own = hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).digest()
            votes = self.votes(image, self._votes, np.random.default_rng([*own[:16], self._side or 0]))
            found.append(votes / self._votes)
        return np.stack(found) if found else np.zeros((0, np.asarray(self._ask([])).shape[1]))

    def drawn(self, image: Pixels, n: int, rng: np.random.Generator) -> list[Pixels]:
        """The picture under n draws of the noise, as the classifier gets it."""
        channels = 1 if (image == image[..., :1]).all() else 3
        noise = rng.standard_normal((n, channels, *image.shape[:2]), np.float32)
        noisy = image[..., :channels].transpose(2, 0, 1) / np.float32(255) + np.float32(self._sigma) * noise
        if self._denoiser is not None:
            return self._denoiser(noisy)
        seen = noisy if self._side is None else filled(noisy, self._side)
        levels = (seen.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
        return list(np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:3], 3))))

    def __call__(self, pictures: Any) -> Any:
        """Log of the mean probability `[N, K]` of tensors in [0, 1], over fixed draws; differentiable.

        Rounding and the denoiser are passed straight through (BPDA: Athalye et al., arXiv 1802.00420).
        """
        import torch

        noise = np.random.default_rng(0).standard_normal((DRAWS, *pictures.shape[1:]), np.float32)
        said = []
        for picture in pictures:
            channels = 1 if (picture == picture[:1]).all() else 3
            noisy = picture[:channels] + self._sigma * torch.from_numpy(noise[:, :channels]).to(picture.device)
            if self._denoiser is not None:
                clean = np.stack(self._denoiser(noisy.detach().cpu().numpy())).transpose(0, 3, 1, 2) / np.float32(255)
                noisy = noisy + (torch.from_numpy(clean).to(noisy.device) - noisy).detach()
            elif self._side is not None:
                noisy = filled(noisy, self._side)
            said.append(_mean(list(self._network(noisy.clamp(0, 1).expand(-1, 3, -1, -1)))))
        return torch.stack(said)

    def seen(self, height: int, width: int) -> Any:
        """Which pixels of a picture of this size it looks at: a tensor `[H, W]` of truth values."""
        return self._network.seen(height, width)


def filled(values: Any, side: int) -> Any:
    """Pictures `[…, H, W]`, arrays or tensors, made of one half of their pixels, as on a checkerboard.

    A pixel of the other half becomes the mean of its four neighbours, which are all of the half that counts.
    """
    rows, columns = np.ogrid[: values.shape[-2], : values.shape[-1]]
    half = (rows + columns) % 2 == side
    own = half.astype(values.dtype) if isinstance(values, np.ndarray) else values.new_tensor(half)
    number = _around(own)
    return own * values + (1 - own) * _around(own * values) / (number + (number == 0))


def _around(values: Any) -> Any:
    """The sum of each pixel's four neighbours, as far as there are any."""
    sums = values * 0
    sums[..., 1:, :] += values[..., :-1, :]
    sums[..., :-1, :] += values[..., 1:, :]
    sums[..., :, 1:] += values[..., :, :-1]
    sums[..., :, :-1] += values[..., :, 1:]
    return sums


class OneStep:
    """One step of a diffusion model of pixels, `step` of its training, which takes noise of a known strength away.

    On values in [-1, 1] the noise is 2σ. The step is the first one whose noise, as a share of the signal, is at least
    that. Raises RecipeError if the model isn't a `roles.Denoiser` of pixels, or wasn't trained for so much noise.
    """

    def __init__(self, model: Any, sigma: float, name: str) -> None:
        if getattr(model, "shrink", 0) != 1:
            raise RecipeError(
                f"smoothed: {cut(repr(name))} takes no noise from pixels in one step; name a denoiser of pixels: "
                "denoiser, or denoiser_small for small grey pictures"
            )
        spread: Floats = np.sqrt(1 / model.signal - 1)[: model.known]
        if spread.max() < 2 * sigma:
            raise RecipeError(
                f"smoothed: {cut(repr(name))} was trained for noise up to sigma={spread.max() / 2:.3g}, not "
                f"{sigma:g}; take a smaller sigma or another denoiser"
            )
        self.step = int(np.argmax(spread >= 2 * sigma))
        self._model, self._share = model.fixed or model, np.float32(model.signal[self.step] ** 0.5)

    def __call__(self, noisy: Singles) -> list[Pixels]:
        """Clean pictures of noisy ones `[n, 1 or 3, H, W]` about [0, 1]. Raises RecipeError if it knows no such."""
        model, (n, given, height, width), size = self._model, noisy.shape, self._model.multiple
        try:
            channels = model.encode([np.zeros((height, width, 3), np.uint8)]).shape[1]
        except ValueError as error:
            raise RecipeError(f"smoothed: {error}") from None
        if channels < given:
            raise RecipeError("smoothed: the denoiser knows grey pictures, and this one has colours")
        state: Any = self._share * (np.broadcast_to(noisy, (n, channels, height, width)) * 2 - 1)
        state = np.pad(state, ((0, 0), (0, 0), (0, -height % size), (0, -width % size)), "symmetric")
        with one_thread(), inference(model.tf32):
            if model.device is not None:
                import torch

                state = torch.from_numpy(state).to(model.device)
            found = model.decode(model.predict(state, self.step).clean)
        return [one[:height, :width] for one in found]


SMOOTHED = defence(
    load_smoothed,
    SmoothedOptions,
    "It answers under Gaussian noise, and its most frequent answer counts (Cohen et al., arXiv 1902.02918). "
    "The evaluation certified_accuracy measures within which radius no change of the picture changes that answer.",
)
