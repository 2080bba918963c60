"""Classifiers of PyTorch whose gradients steer pictures: their answers and inner activations can be differentiated.

Cropping, resizing and normalisation are part of what is differentiated, so a change is measured in the picture's own
values. Stored pictures are judged in another way, as the classifier itself prepares them: `Differentiable.answers`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.brought.model import BroughtModel
from variorum.models.brought.networks import NetworkScores, scores_in
from variorum.models.brought.steps import steps_from
from variorum.models.device import float32
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.models.roles import Adversary


class Differentiable:
    """A `roles.Adversary` of a network.

    Args:
        network: a module in evaluation mode, from its input to logits, or to something that holds them.
        prepare: from RGB tensors `[N, 3, H, W]` in [0, 1] to the network's input; differentiable.
        answers: probabilities `[N, K]` of stored pictures.
        classes: of its outputs; empty for ImageNet's order.

    Attributes:
        classes: as given.
        answers: as given.
        layers: names of the layers with weights, in the network's order.
        device: of its weights.
    """

    def __init__(
        self,
        network: Any,
        prepare: Callable[[Any], Any],
        answers: Callable[[Sequence[Pixels]], Singles],
        classes: tuple[str, ...] = (),
    ) -> None:
        import torch

        if training := [name for name, one in network.named_modules() if one.training]:
            raise ValueError(f"the network is in training mode ({training[0] or 'all of it'}): call its .eval()")
        weights = next(chain(network.parameters(), network.buffers(), [torch.zeros(0)]))
        self._network, self._prepare = network, prepare
        self._modules = {name: one for name, one in network.named_modules() if list(one.parameters(recurse=False))}
        self._dtype, self.device = weights.dtype, weights.device
        self.answers, self.classes = answers, classes
        self.layers = tuple(self._modules)
        self._seen: dict[tuple[int, int], Any] = {}
        self._hidden: dict[tuple[int, int], tuple[str, ...]] = {}

    def __call__(self, pictures: Any) -> Any:
        """Log probabilities `[N, K]` of `[N, 3, H, W]` in [0, 1]."""
        scores = scores_in(self._network(self._input(pictures)))
        return scores.float().clamp_min(1e-30).log() if _probable(scores) else scores.log_softmax(-1)

    def mapped(self, pictures: Any) -> tuple[Any, Any, str]:
        """Scores `[N, K]` of `[N, 3, H, W]` in [0, 1], the last map `[N, C, h, w]` on the way, and its module's name.

        Scores are logits, or the logarithms of probabilities. A map has the shape of the network's input, is larger
        than a pixel, and comes after at least half of the layers with weights: the patches of a transformer don't.
        Without one there is None, and `""`.
        """
        import torch

        given = self._input(pictures)
        own, wide = threading.get_ident(), given.shape[-1] / given.shape[-2]
        last, before = list[Any](), list[str]()

        def noting(name: str) -> Callable[[Any, Any, Any], None]:
            def note(_module: Any, _given: Any, gave: Any) -> None:
                if threading.get_ident() == own and isinstance(gave, torch.Tensor):
                    before.extend([name] if name in self._modules else [])
                    new = gave.ndim == 4 and min(gave.shape[2:]) > 1 and not (last and last[0] is gave)
                    if new and 0.5 < gave.shape[3] / gave.shape[2] / wide < 2:
                        last[:] = gave, name, len(before)

            return note

        hooks = [one.register_forward_hook(noting(name)) for name, one in self._network.named_modules()]
        try:
            scores = scores_in(self._network(given))
        finally:
            for hook in hooks:
                hook.remove()
        found, name, place = last or (None, "", 0)
        scores = scores.float().clamp_min(1e-30).log() if _probable(scores) else scores
        return (scores, found, name) if 2 * place >= len(before) else (scores, None, "")

    def features(self, pictures: Any, layer: str) -> Any:
        """What a layer gives for `[N, 3, H, W]` in [0, 1]: before the activation function that may follow it.

        Raises:
            RecipeError: there is no such layer.
        """
        if layer not in self._modules:
            first = ", ".join(self.layers[:3])
            raise RecipeError(
                f"no layer with weights is named {cut(layer)!r}; there are {len(self.layers)}: {first}, …"
            )
        found: list[Any] = []
        own = threading.get_ident()

        def see(_module: Any, _given: Any, gave: Any) -> None:
            if threading.get_ident() == own:
                found.append(gave.clone())  # an activation may write into it

        hook = self._modules[layer].register_forward_hook(see)
        try:
            self._network(self._input(pictures))
        finally:
            hook.remove()
        if not found:
            raise RecipeError(f"the layer {layer!r} isn't used when the network is called")
        return found[-1]

    def hidden(self, height: int, width: int) -> tuple[str, ...]:
        """Those of `layers` that give one tensor for a picture of this size, in the order of their use, but the last.

        The last one gives the answers. Left out are layers that aren't used, that give several tensors, or that don't
        look at the picture, such as those of a table of positions.
        """
        import torch

        if found := self._hidden.get((height, width)):
            return found
        own, gave = threading.get_ident(), dict[str, list[Any]]()

        def noting(name: str) -> Callable[[Any, Any, Any], None]:
            def note(_module: Any, _given: Any, found: Any) -> None:
                if threading.get_ident() == own and isinstance(found, torch.Tensor):
                    gave.setdefault(name, []).append(found.clone())

            return note

        hooks = [one.register_forward_hook(noting(name)) for name, one in self._modules.items() if name]
        try:
            with torch.no_grad():
                for picture in (torch.zeros(3 * height * width), torch.linspace(0, 1, 3 * height * width)):
                    self._network(self._input(picture.view(1, 3, height, width)))
        finally:
            for hook in hooks:
                hook.remove()
        used = [name for name, found in gave.items() if not torch.equal(found[0], found[-1])]
        self._hidden[height, width] = tuple(used[:-1])
        return self._hidden[height, width]

    def seen(self, height: int, width: int) -> Any:
        """Which pixels of a picture of this size reach the network: a tensor `[H, W]` of truth values."""
        import torch

        if (height, width) not in self._seen:
            blank = torch.zeros(1, 3, height, width, requires_grad=True)
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(self._input(blank).float().sum(), blank)
            self._seen[height, width] = slope[0].abs().amax(0) > 0
        return self._seen[height, width]

    def _input(self, pictures: Any) -> Any:
        return self._prepare(pictures.to(self.device)).to(self._dtype)


def _probable(scores: Any) -> bool:
    """Return whether these are probabilities, as `BroughtModel` reads them."""
    import torch

    with torch.no_grad():
        return bool((scores >= 0).all() and (scores.sum(-1) - 1).abs().max() < 1e-3)


def probabilities(network: Any, inputs: Any) -> Singles:
    """Softmax `[N, K]` of a network's answers to prepared pictures, without gradients."""
    import torch

    weights = next(iter(network.parameters()))
    with float32(), torch.no_grad():
        said = scores_in(network(torch.as_tensor(inputs).to(weights.device, weights.dtype)))
        return np.asarray(said.softmax(-1).cpu().numpy())


def adversary(alias: str, model: Any) -> Adversary:
    """The model behind an alias, or one that a user brings, as one that gives gradients.

    Raises:
        RecipeError: it gives none, or its preprocessing can't be differentiated.
    """
    if isinstance(model, BroughtModel):
        return _of_brought(alias, model)
    if not hasattr(model, "seen"):
        raise no_gradients(alias)
    found: Adversary = model
    return found


def no_gradients(alias: str) -> RecipeError:
    """The error for a model that can't steer pictures."""
    return RecipeError(
        f"the model {cut(repr(alias))} gives no gradients; take adversary, a network by timm:, torchvision: or "
        "module:, or an attack that asks for answers only, such as square"
    )


def _of_brought(alias: str, model: BroughtModel) -> Differentiable:
    """A user's network. Its own transform is taken apart into steps that can be differentiated."""
    if not isinstance(model.scores, NetworkScores):
        raise no_gradients(alias)
    steps = steps_from(model.scores.prepare)
    if steps is None:
        raise RecipeError(
            f"the preprocessing of model {cut(repr(alias))} can't be differentiated ({model.preprocessing}); have the "
            "file give a pair, the network and its preprocessing in words: resize=256 crop=224 mean=imagenet "
            "std=imagenet"
        )
    return Differentiable(model.scores.network, steps.tensors, model, model.classes)
