"""The one loop of attacks by gradients: loss, step, projection.

FGSM (Goodfellow et al., ICLR 2015, arXiv 1412.6572) is one step of it; PGD (Madry et al., ICLR 2018, arXiv 1706.06083)
begins at a random point; MI-FGSM (Dong et al., CVPR 2018, arXiv 1710.06081) has momentum; DI² shows the networks
shrunken and padded views (Xie et al., CVPR 2019, arXiv 1803.06978). Pictures are tensors `[N, 3, H, W]` of grey levels
from 0 to 255. What is drawn at random comes from a generator of each picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.attacks import budget
from variorum.kit.attacks.losses import Loss, Victim, loss, margin

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

Gradient = Callable[["Singles"], "Singles"]
"""The gradient of what is to grow, at a picture `[H, W, 3]` in grey levels, of the same shape."""
SHRUNK = 7 / 8
"""The smallest side of a view of DI², as a share of the picture's."""


def climb(
    state: Any,
    low: Any,
    high: Any,
    slope: Callable[[Any], Any],
    *,
    steps: int,
    step: float,
    momentum: float = 0.0,
    done: Callable[[], Any] | None = None,
) -> Any:
    """Where steps along the sign of a gradient lead, inside of bounds.

    Args:
        state: where they begin, `[N, ...]`.
        low: the least value of each element.
        high: the largest.
        slope: the gradient at a state.
        steps: how many.
        step: length of one.
        momentum: what is kept of the direction so far; gradients are then added up at an L1 norm of 1.
        done: pictures that stay where they are, `[N]`, asked for after each gradient; by default none.
    """
    kept: Any = 0.0
    for _ in range(steps):
        way = slope(state)
        if momentum:
            way = kept = momentum * kept + unit(way)
        if done is not None and done().all():
            break
        moved = (state + step * way.sign()).clamp(low, high)
        state = moved if done is None else moved.where(~done()[:, None, None, None], state)
    return state


def ascend(
    image: Pixels, levels: int, gradient: Gradient, rng: np.random.Generator, *, steps: int, step: float
) -> Pixels:
    """The picture after some steps along the sign of a gradient, from a random start, within its budget.

    Args:
        image: RGB `[H, W, 3]` uint8.
        levels: most that a value may change.
        gradient: of what is to grow.
        rng: of the start, which is uniform in the budget.
        steps: how many.
        step: length of one, as a share of the budget.
    """
    import torch

    here = image.astype(np.float32)
    low, high = np.maximum(here - levels, 0), np.minimum(here + levels, 255)
    start = np.clip(here + rng.uniform(-levels, levels, here.shape).astype(np.float32), low, high)
    begun, least, most = (torch.from_numpy(one) for one in (start, low, high))

    def slope(state: Any) -> Any:
        return torch.from_numpy(gradient(state.numpy()))

    found = climb(begun, least, most, slope, steps=steps, step=step * levels)
    return budget.inside(image, found.numpy(), levels)


class Slope:
    """The gradient of a loss of one or several networks, of N pictures.

    Gradients of several networks are added up, each at an L1 norm of 1. Where that of a loss is zero or not finite,
    that of the margin is taken. A picture of which one network gives no gradient either way is `flat`: following the
    others alone would be another attack.

    Args:
        victims: the networks.
        kind: of the loss.
        grey: pictures whose channels must stay equal, `[N]`: their gradient is the mean over channels.
        views: what the networks are shown of a state; by default the state itself.

    Attributes:
        gradients: how many were computed of each picture, `[N]`.
        zeros: how often the loss had no gradient, zero or not finite, so that the margin's was taken, `[N]`.
        first: of each picture, after how many steps all networks were fooled, before rounding; -1 for never, `[N]`.
        flat: pictures for which a network's first gradient is zero or not finite, whatever the loss, or a later one not
            finite, `[N]`.
    """

    def __init__(
        self, victims: Sequence[Victim], kind: Loss, grey: Any, views: Callable[[Any], Any] | None = None
    ) -> None:
        import torch

        self._victims, self._kind, self._grey, self._views = victims, kind, grey, views
        self._calls = 0
        self.gradients, self.zeros = torch.zeros(2, len(grey), dtype=torch.long)
        self.first = torch.full((len(grey),), -1)
        self.flat = torch.zeros(len(grey), dtype=torch.bool)

    def __call__(self, state: Any) -> Any:
        """The gradient at a state."""
        import torch

        fooled = torch.ones(len(state), dtype=torch.bool)
        total = torch.zeros_like(state)
        for victim in self._victims:
            found, gap = self._of(victim, state)
            fooled &= gap > 0
            total += unit(found) if len(self._victims) > 1 else found
        self.first[fooled & (self.first < 0)] = self._calls
        self._calls += 1
        if not self._grey.any():
            return total
        return torch.where(self._grey[:, None, None, None], total.mean(1, keepdim=True), total)

    def _of(self, victim: Victim, state: Any) -> tuple[Any, Any]:
        """One network's gradient, with 0 where it isn't finite, and its margin `[N]`."""
        import torch

        x = state.detach().requires_grad_()
        with torch.enable_grad():
            view = self._views(x) if self._views else x
            shown = view.detach().requires_grad_()  # what is kept of a pass is dropped after one gradient
            said = victim.network(shown / 255).cpu()
            gap = margin(said, victim.away, victim.towards)
            (found,) = torch.autograd.grad(loss(self._kind, said, victim.away, victim.towards).sum(), shown)
            fine = useful(found)
            self.gradients += 1
            self.zeros += ~fine
            if self._kind != "margin" and not fine.all():
                again = margin(victim.network(shown / 255).cpu(), victim.away, victim.towards)
                (other,) = torch.autograd.grad(again.sum(), shown)
                found = torch.where(fine[:, None, None, None], found, other)
                self.gradients += ~fine
            self.flat |= ~(found.flatten(1).isfinite().all(1) if self._calls else useful(found))
            if self._views:
                (found,) = torch.autograd.grad(view, x, found)
        return found.nan_to_num(0, 0, 0), gap.detach()


def unit(gradient: Any) -> Any:
    """Gradients `[N, ...]`, each at an L1 norm of 1."""
    return gradient / gradient.abs().flatten(1).sum(1).clamp_min(1e-30)[:, None, None, None]


def useful(gradient: Any) -> Any:
    """Whether the gradient of each picture is finite and not zero, `[N]`."""
    flat = gradient.flatten(1)
    return flat.isfinite().all(1) & (flat != 0).any(1)


def random_start(pictures: Any, levels: int, draws: Sequence[Any], seen: Any, grey: Any) -> Any:
    """Pictures moved at random within the budget, where networks see them: `[N, 3, H, W]`.

    Args:
        pictures: in grey levels.
        levels: the budget.
        draws: PyTorch's generator of each picture.
        seen: pixels that networks see, `[H, W]`; the others don't move, as no gradient would bring them back.
        grey: pictures whose channels move alike, `[N]`.
    """
    import torch

    noise = torch.stack([torch.rand(pictures.shape[1:], generator=draw) for draw in draws]) * 2 - 1
    noise = torch.where(grey[:, None, None, None], noise[:, :1], noise)
    return (pictures + levels * noise * seen).clamp(0, 255)


def diverse(share: float, draws: Sequence[Any]) -> Callable[[Any], Any]:
    """Views of pictures: each is, with this probability, shrunk by up to an eighth and padded with black."""
    import torch
    from torch.nn import functional

    def views(state: Any) -> Any:
        height, width = state.shape[2:]
        found = []
        for place, draw in enumerate(draws):
            one = state[place : place + 1]
            chance, size, down, right = torch.rand(4, generator=draw).tolist()
            if chance < share:
                scale = SHRUNK + (1 - SHRUNK) * size
                high, wide = round(height * scale), round(width * scale)
                one = functional.interpolate(one, (high, wide), mode="bilinear")
                top, left = int(down * (height - high + 1)), int(right * (width - wide + 1))
                one = functional.pad(one, (left, width - wide - left, top, height - high - top))
            found.append(one)
        return torch.cat(found)

    return views
