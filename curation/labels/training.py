"""Trains a small network on vectors and records loss, margin and predictions of every sample after every epoch.

Networks learn what most samples of a class have in common before they memorise the exceptions, so wrong labels keep a
high loss for long. Early-learning regularisation (ELR: Liu et al., NeurIPS 2020, arXiv 2007.00151) remembers the
network's early predictions and keeps it close to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.models.device import one_thread

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Singles

CHUNK = 8192
"""Samples that are evaluated at a time; limits memory to `CHUNK * (hidden + K)` floats."""
CLIP = 1e-4
"""Probabilities are clipped to this distance from 0 and 1, as the regulariser has no lower bound."""


class Dynamics(NamedTuple):
    """Records of N samples over E epochs, taken after each epoch in evaluation mode.

    Attributes:
        loss: `[N, E]` float32, cross-entropy against the given label; NaN without a label.
        agrees: `[N, E]`, whether the likeliest class was the given label.
        margin: `[N]` float32, mean over the epochs of the given label's logit minus the largest other logit (AUM:
            Pleiss et al., NeurIPS 2020, arXiv 2001.10528); NaN without a label or with only one class.
        target: `[N, K]` float32, ELR's running mean of the probabilities during training; zero for unlabelled
            samples, and for all without the regulariser.
        predicted: `[N]`, the likeliest class after the last epoch, for all samples.
    """

    loss: Singles
    agrees: Bools
    margin: Singles
    target: Singles
    predicted: Ints


def train(
    x: Singles,
    y: Ints,
    k: int,
    *,
    seed: int,
    epochs: int,
    hidden: int = 256,
    batch: int = 64,
    learning_rate: float = 1e-4,
    elr: float = 0.0,
    elr_momentum: float = 0.9,
    networks: list[list[Any]] | None = None,
) -> Dynamics:
    """Train a network with two hidden layers by Adam, and record its outputs on every sample after every epoch.

    With `elr` > 0 the loss is `CE(p, y) + elr * mean log(1 - <p, t>)`, where a sample's target t becomes
    `m * t + (1 - m) * p` each time the sample is trained on (m is `elr_momentum`, t starts at 0).

    Args:
        x: `[N, d]`, finite, of about unit scale.
        y: labels `[N]` in 0..k-1; a sample with -1 isn't trained on.
        k: number of classes.
        seed: decides the initial weights and the batches; the global random state is neither read nor set.
        epochs: passes over the labelled samples.
        hidden: width of both hidden layers.
        batch: samples per step.
        learning_rate: of Adam, constant.
        elr: strength of the regulariser; 0 is plain cross-entropy.
        elr_momentum: in [0, 1).
        networks: gets the network as it is after each epoch, for `observe`.
    """
    import torch
    from torch.nn.functional import cross_entropy

    randomness = torch.Generator().manual_seed(seed)
    layers = _layers([x.shape[1], hidden, hidden, k], randomness)
    step = _adam(layers, learning_rate)
    inputs, labels = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y)
    labelled = torch.nonzero(labels >= 0)[:, 0]
    target = torch.zeros(len(y), k)
    record = _blank(y, epochs, target.numpy())
    with one_thread():
        for epoch in range(epochs):
            order = torch.randperm(len(labelled), generator=randomness)
            for rows in labelled[order].split(batch) if len(order) else ():
                logits = _logits(inputs[rows], layers)
                loss = cross_entropy(logits, labels[rows])
                if elr:
                    p = logits.softmax(1).clamp(CLIP, 1 - CLIP)
                    said = p.detach() / p.detach().sum(1, keepdim=True)
                    target[rows] = elr_momentum * target[rows] + (1 - elr_momentum) * said
                    agreement = (p * target[rows]).sum(1).clamp(max=1 - CLIP)
                    loss = loss + elr * torch.log(1 - agreement).mean()
                step(torch.autograd.grad(loss, layers))
            with torch.inference_mode():
                for start in range(0, len(y), CHUNK):
                    _record(_logits(inputs[start : start + CHUNK], layers).numpy(), y, start, epoch, record)
            if networks is not None:
                networks.append([layer.detach().clone() for layer in layers])
    return _averaged(record, y, k)


def observe(networks: Sequence[Sequence[Any]], x: Singles, y: Ints, k: int, elr_momentum: float) -> Dynamics:
    """Record what networks of successive epochs, trained on other samples, say of these.

    Args:
        networks: from `train`.
        x: `[N, d]`, scaled as the samples that the networks were trained on.
        y: labels `[N]` in 0..k-1.
        k: number of classes.
        elr_momentum: of the running mean of the probabilities.

    Returns:
        As from `train`; `target` is the running mean over the epochs of the probabilities.
    """
    import torch

    target = torch.zeros(len(y), k)
    record, inputs = _blank(y, len(networks), target.numpy()), torch.from_numpy(np.ascontiguousarray(x))
    with one_thread(), torch.inference_mode():
        for epoch, layers in enumerate(networks):
            for start in range(0, len(y), CHUNK):
                rows = slice(start, start + CHUNK)
                logits = _logits(inputs[rows], layers)
                target[rows] = elr_momentum * target[rows] + (1 - elr_momentum) * logits.softmax(1)
                _record(logits.numpy(), y, start, epoch, record)
    return _averaged(record, y, k)


def _blank(y: Ints, epochs: int, target: Singles) -> Dynamics:
    return Dynamics(
        loss=np.full((len(y), epochs), np.nan, np.float32),
        agrees=np.zeros((len(y), epochs), bool),
        margin=np.zeros(len(y), np.float32),
        target=target,
        predicted=np.full(len(y), -1, np.int64),
    )


def _averaged(record: Dynamics, y: Ints, k: int) -> Dynamics:
    """The record of all epochs, with the mean of the margins in place of their sum."""
    record.margin[:] = record.margin / record.loss.shape[1] if k > 1 else np.nan
    record.margin[y < 0] = np.nan
    return record


def _record(logits: Singles, y: Ints, start: int, epoch: int, record: Dynamics) -> None:
    """Record the network's output on the samples from `start` on."""
    rows = start + np.arange(len(logits))
    record.predicted[rows] = logits.argmax(axis=1)
    judged = np.flatnonzero(y[rows] >= 0)
    logits, rows = logits[judged].astype(np.float64), rows[judged]
    given = np.arange(len(rows)), y[rows]
    highest = logits.max(axis=1, initial=-np.inf)
    own = logits[given]
    record.loss[rows, epoch] = np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest - own
    record.agrees[rows, epoch] = record.predicted[rows] == y[rows]
    if logits.shape[1] > 1:
        logits[given] = -np.inf
        record.margin[rows] += own - logits.max(axis=1, initial=-np.inf)


def _adam(weights: list[Any], learning_rate: float) -> Callable[[Sequence[Any]], None]:
    """A step of Adam, given the gradients: that of `torch.optim.Adam`, whose class takes a second to import Dynamo."""
    import torch
    from torch.optim.adam import adam

    first, second = ([torch.zeros_like(one) for one in weights] for _ in range(2))
    steps = [torch.zeros(()) for _ in weights]
    off = dict.fromkeys(("amsgrad", "maximize", "capturable", "differentiable", "has_complex"), False)
    on = {"lr": learning_rate, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "fused": True}
    settings: Any = {**off, **on}

    def step(gradients: Sequence[Any]) -> None:
        with torch.no_grad():
            adam(weights, list(gradients), first, second, [], steps, **settings)

    return step


def _layers(widths: list[int], randomness: Any) -> list[Any]:
    """Weights and biases of linear layers in turn, uniform in ±1/√(width of the layer before)."""
    import torch

    sizes = [size for before, after in pairwise(widths) for size in ((after, before), (after,))]
    bounds = np.repeat(np.array(widths[:-1]) ** -0.5, 2).tolist()
    layers = [torch.empty(size) for size in sizes]
    for layer, bound in zip(layers, bounds, strict=True):
        layer.uniform_(-bound, bound, generator=randomness).requires_grad_()
    return layers


def _logits(x: Any, layers: Sequence[Any]) -> Any:
    """The network's output: linear layers with ReLU between them. A `torch.nn.Module` would import more."""
    from torch.nn.functional import linear, relu

    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = relu(linear(x, weight, bias))
    return linear(x, *layers[-2:])
