"""The embedding of a classifier: what its last layer gets, in the pass that gives the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Pixels

T = TypeVar("T")


class LastBatch(threading.local):
    """What a model found out about the pictures of its last call in a thread, so that it sees no picture twice.

    Evaluations and detectors of one stage get the same batches, so those that name one model share its passes.
    """

    def __init__(self) -> None:
        self._pictures: list[Any] = []
        self._state: object = None
        self._found: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return LastBatch, ()  # a copy of a model starts anew

    def of(self, images: Sequence[Pixels], see: Callable[[Sequence[Pixels]], T], state: object = None) -> T:
        """What the last call found out if it saw these pictures, else what `see` finds out. Nobody may write into it.

        The pictures themselves aren't kept. Batches are looked up as a whole: a model's last bits depend on the batch.
        With another `state` of the model than in the last call, it sees them again.
        """
        if not len(images):  # an array of pictures has no truth value
            return see(images)
        if state != self._state or not self._has(images):
            fresh = read_only(see(images))
            self._pictures, self._found = [(ref(image), _sum(image)) for image in images], fresh
            self._state = state
        found: T = self._found
        return found

    def _has(self, images: Sequence[Pixels]) -> bool:
        """Return whether these are the pictures of the last call: the same arrays, which nobody wrote into."""
        if len(images) != len(self._pictures):
            return False
        pairs = zip(images, self._pictures, strict=True)
        return all(of() is image and _sum(image) == found for image, (of, found) in pairs)


def once(see: Callable[[Any, Sequence[Pixels]], T]) -> Callable[[Any, Sequence[Pixels]], T]:
    """Let a model's method see a batch once: asked about the same pictures again, it gives the same without a pass."""
    name = f"_last_of_{see.__name__}"

    @wraps(see)
    def seen(model: Any, images: Sequence[Pixels]) -> T:
        last: LastBatch = vars(model).setdefault(name, LastBatch())
        return last.of(images, lambda batch: see(model, batch))

    return seen


def read_only(found: T) -> T:
    """The same, with arrays that nobody can write into."""
    for one in found if isinstance(found, tuple) else (found,):
        if isinstance(one, np.ndarray):
            one.setflags(write=False)
    return found


def _sum(image: Pixels) -> int:
    from xxhash import xxh3_64_intdigest

    return xxh3_64_intdigest(np.ascontiguousarray(image).data)


class Penultimate:
    """Asks a network of PyTorch about pictures, and keeps what its last layer got.

    That layer is the last one that is called of those that are linear, or convolutions by single pixels as in
    SqueezeNet, and have as many outputs as there are scores. The input of a convolution is averaged over the picture.

    Args:
        network: a module. Its hooks are set for a call only.
        ask: from pictures to the network's scores `[N, K]`.
    """

    def __init__(self, network: Any, ask: Callable[[Sequence[Pixels]], Any]) -> None:
        self._network, self._ask = network, ask
        self._layers: list[Any] | None = None
        """None before the first call, which shows how many scores there are."""
        self._last = LastBatch()

    def scores(self, images: Sequence[Pixels]) -> Any:
        """The scores `[N, K]`."""
        if self._layers is None:
            scores = self._ask(images)
            self._layers = _with_outputs(self._network, getattr(scores, "shape", ())[1:])
            return scores
        return self._both(images)[0]

    def features(self, images: Sequence[Pixels]) -> Any:
        """The embeddings `[N, d]` as a float32 tensor; None if no such layer gives the scores."""
        if self._layers is None and len(images):
            self.scores(images[:1])
        return self._both(images)[1]

    def _both(self, images: Sequence[Pixels]) -> tuple[Any, Any]:
        return self._last.of(images, self._see, _state(self._network))

    def _see(self, images: Sequence[Pixels]) -> tuple[Any, Any]:
        with _seen(self._layers or ()) as seen:
            scores = self._ask(images)
        return scores, _embedding(seen, scores)


def _state(network: Any) -> tuple[Any, ...]:
    """What differs after somebody has trained the network, or after a pass of one that draws random numbers."""
    import torch

    tensors = [*network.parameters(), *network.buffers()]
    drawn = [torch.get_rng_state()]
    if tensors and tensors[0].is_cuda:
        drawn.append(torch.cuda.get_rng_state(tensors[0].device))
    versions = tuple((id(one), 0 if one.is_inference() else one._version) for one in tensors)
    return versions, *(one.numpy().tobytes() for one in drawn)


def _with_outputs(network: Any, outputs: Sequence[int]) -> list[Any]:
    """Layers of a network that may give its scores."""
    from torch import nn

    return [
        one
        for one in network.modules()
        if (isinstance(one, nn.Linear) and [one.out_features] == list(outputs))
        or (isinstance(one, nn.Conv2d) and one.kernel_size == (1, 1) and [one.out_channels] == list(outputs))
    ]


@contextmanager
def _seen(layers: Sequence[Any]) -> Iterator[list[Any]]:
    """The input and the output of the last of these layers that this thread calls."""
    seen: list[Any] = []
    own = threading.get_ident()

    def see(_layer: Any, given: tuple[Any, ...], gave: Any) -> None:
        if threading.get_ident() == own and given:
            seen[:] = given[0], gave

    hooks = [one.register_forward_hook(see) for one in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _embedding(seen: Sequence[Any], scores: Any) -> Any:
    if not seen or seen[1].shape[:2] != scores.shape:
        return None
    given = seen[0].mean((2, 3)) if seen[1].ndim == 4 else seen[0]
    return given.float() if given.ndim == 2 else None
