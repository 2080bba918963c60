"""A small detector of marked pictures, which an attacker trains on photographs that a service has marked for him.

Its answer is a sum of two parts. A convolutional network sees textures wherever they are. A template is compared with
the picture's details place by place: it finds a mark that adds the same pattern to each picture. Both are learned from
pictures alone; nothing of the mark's algorithm is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.kit.attacks.ascent import Gradient
from variorum.models.device import one_thread

if TYPE_CHECKING:
    import torch

    from variorum.arrays import Pixels, Singles

    Arrays = Mapping[str, np.ndarray[Any, Any]]
    Halves = np.ndarray[Any, np.dtype[np.float16]]

WIDTH = 24
"""Channels of the first layer."""
BATCH = 16
"""Pictures of each class in a step."""
CROP = 128
"""Side of the crops that the network is trained on; the template sees whole pictures."""
RATE = 3e-3
NOISE = 0.5
"""Most deviation of the noise that is added in training, where details have a deviation of about 1."""
HELD_OUT = 5
"""One photograph of this many isn't trained on, and says how good the detector is."""


class Trained(NamedTuple):
    """Arrays of a detector, as `Detector` takes them, and its AUROC on photographs that were held out."""

    arrays: Arrays
    auroc: float


def train(marked: Sequence[Pixels], unmarked: Sequence[Pixels], *, seed: int, steps: int, crop: int = CROP) -> Trained:
    """A detector of what sets two classes of pictures apart, all of one size.

    Args:
        marked: pictures with the mark.
        unmarked: pictures without it, as many; they may be the same ones before they were marked.
        seed: of the weights, the crops and the noise.
        steps: of Adam on `BATCH` pictures of each class.
        crop: side in pixels of the crops that the network is trained on.
    """
    held = [n for n in range(len(marked)) if n % HELD_OUT == HELD_OUT - 1]
    kept = [n for n in range(len(marked)) if n % HELD_OUT != HELD_OUT - 1]
    with one_thread():
        classes = [np.stack([_halves(images[n]) for n in kept]) for images in (unmarked, marked)]
        template, scores = _template(classes)
        arrays = _fitted(classes, template, scores, seed, steps, crop)
    detector = Detector(arrays)
    answers = [[detector.answer(images[n]) for n in held] for images in (unmarked, marked)]
    return Trained(arrays, _auroc(*map(np.array, answers)))


class Detector:
    """A trained detector: how surely a picture is marked, and where to change it."""

    def __init__(self, arrays: Arrays) -> None:
        import torch

        self._network = _network(torch.Generator())
        own = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items() if name.startswith("network.")}
        self._network.load_state_dict({name.removeprefix("network."): value for name, value in own.items()})
        self._network.requires_grad_(False)
        self._template = torch.from_numpy(np.array(arrays["template"]))
        self._line = [float(value) for value in arrays["line"]]

    def answer(self, image: Pixels) -> float:
        """The logit of a picture `[H, W, 3]` being marked. Its size is that of the template."""
        return self._answered(image.astype(np.float32))[0]

    def towards(self, way: int) -> Gradient:
        """The gradient of `answer`, at a picture in grey levels, for way 1; its opposite for -1."""
        return lambda image: way * self._answered(image)[1]

    def _answered(self, image: Singles) -> tuple[float, Singles]:
        import torch

        slope, offset = self._line
        with one_thread():
            x = _tensor(image).requires_grad_(True)
            details = _details(x)
            answer = slope * (details * self._template).sum() + offset + self._network(details)[0]
            (gradient,) = torch.autograd.grad(answer, x)
        return answer.item(), gradient[0].permute(1, 2, 0).numpy()


def _template(classes: Sequence[Halves]) -> tuple[Singles, list[Singles]]:
    """The mean difference of the classes' details `[3, H, W]` at norm 1, and the score of each picture by class.

    A picture's score is by the template of the others, as it agrees too well with one that it is part of.
    """
    number = len(classes[0])
    total = np.zeros(classes[0].shape[1:], np.float32)
    for unmarked, marked in zip(*classes, strict=True):
        total += marked.astype(np.float32) - unmarked
    norm = float(np.linalg.norm(total)) or 1.0
    scores = np.empty((2, number), np.float32)
    for n, pair in enumerate(zip(*classes, strict=True)):
        unmarked, marked = (one.astype(np.float32) for one in pair)
        others = (total - (marked - unmarked)) * np.float32(number / max(number - 1, 1) / norm)
        scores[:, n] = (unmarked * others).sum(), (marked * others).sum()
    return np.asarray(total / norm, np.float32), list(scores)


def _fitted(
    classes: Sequence[Halves], template: Singles, scores: Sequence[Singles], seed: int, steps: int, most: int
) -> dict[str, np.ndarray[Any, Any]]:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as entropy

    draw = torch.Generator().manual_seed(seed)
    network = _network(draw)
    middle, spread = _middle(scores)
    slope, offset = (torch.tensor(value).requires_grad_(True) for value in (1 / spread, -middle / spread))
    optimiser = torch.optim.Adam([*network.parameters(), slope, offset], lr=RATE)
    number, crop = len(classes[0]), min(most, *classes[0].shape[2:])
    labels = torch.cat([torch.zeros(BATCH), torch.ones(BATCH)])
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        parts, matched = [], []
        for details, found in zip(classes, scores, strict=True):
            chosen = torch.randint(number, (BATCH,), generator=draw).tolist()
            parts += [_crop(details[n], crop, draw) for n in chosen]
            matched.append(torch.from_numpy(found[chosen]))
        answers = network(torch.stack(parts)) + slope * torch.cat(matched) + offset
        optimiser.zero_grad()
        entropy(answers, labels).backward()
        optimiser.step()
    weights = {f"network.{name}": value.numpy() for name, value in network.state_dict().items()}
    return {**weights, "template": template, "line": np.array([slope.item(), offset.item()], np.float32)}


def _crop(details: Halves, side: int, draw: torch.Generator) -> torch.Tensor:
    """A crop of a picture's details with noise. It starts at a multiple of 8 pixels, as blocks do."""
    import torch

    top, left = (8 * int(torch.randint((most - side) // 8 + 1, (), generator=draw)) for most in details.shape[1:])
    crop = torch.from_numpy(details[:, top : top + side, left : left + side].astype(np.float32))
    return crop + NOISE * torch.rand((), generator=draw) * torch.randn(crop.shape, generator=draw)


def _network(draw: torch.Generator) -> torch.nn.Module:
    """Three convolutions on the details at half size, their mean over the picture, and a linear layer."""
    from torch import nn

    def convolution(inward: int, outward: int, stride: int = 1) -> nn.Module:
        # skip_init, because a layer's own initialisation draws from the global random state
        layer: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, inward, outward, 3, stride=stride, padding=1, bias=False)
        nn.init.kaiming_normal_(layer.weight, generator=draw)
        return layer

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = convolution(12, WIDTH)
            self.second = convolution(WIDTH, 2 * WIDTH, 2)
            self.third = convolution(2 * WIDTH, 2 * WIDTH)
            self.out = nn.utils.skip_init(nn.Linear, 2 * WIDTH, 1)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = nn.functional.pixel_unshuffle(x, 2)
            for layer in (self.first, self.second, self.third):
                x = nn.functional.silu(layer(x))
            logits: torch.Tensor = self.out(x.mean((2, 3)))[:, 0]
            return logits

    return Network()


def _details(x: torch.Tensor) -> torch.Tensor:
    """Pictures `[N, 3, H, W]` in grey levels minus their blurred versions, flat parts as strong as busy ones."""
    from torch.nn.functional import avg_pool2d, interpolate, pad

    rows = avg_pool2d(pad(x, (2, 2, 0, 0), "reflect"), (1, 5), 1)
    fine = x - avg_pool2d(pad(rows, (0, 0, 2, 2), "reflect"), (5, 1), 1)
    busy = avg_pool2d(fine.square(), 8, ceil_mode=True)
    return fine / (interpolate(busy, x.shape[2:], mode="bilinear") + 4).sqrt()


def _halves(image: Pixels) -> Halves:
    """A picture's details `[3, H, W]`, in half precision to save memory."""
    return np.asarray(_details(_tensor(image.astype(np.float32)))[0].numpy(), np.float16)


def _tensor(image: Singles) -> torch.Tensor:
    """`[H, W, 3]` to `[1, 3, H, W]`."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


def _middle(scores: Sequence[Singles]) -> tuple[float, float]:
    """Between the classes' mean scores, and the deviation inside the classes."""
    return float(np.mean([one.mean() for one in scores])), float(np.mean([one.std() for one in scores])) or 1.0


def _auroc(low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> float:
    """Compute how often a score of `high` is above one of `low`; half for a tie."""
    above = high[:, None] - low[None]
    return float(((above > 0) + 0.5 * (above == 0)).mean()) if above.size else 0.5
