"""Pictures that small networks paint: compositional pattern-producing networks (Stanley, GPEM 2007).

A network takes the place of a pixel (x, y, distance from the middle, and 1) to its colour, so a genome is a picture at
any size, see `redrawn`. Neurons stand in a row, and each may take the inputs and the neurons before it. Their number is
fixed; connections come and go, and functions change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from variorum.generators.fooling.elites import mutated

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Pixels

INPUTS = 4
FUNCTIONS = (
    np.sin,
    lambda x: 2 / (1 + np.exp(-x)) - 1,  # a sigmoid
    lambda x: 2 * np.exp(-(x**2)) - 1,  # a Gaussian
    lambda x: np.clip(x, -1, 1),  # linear
)
LARGEST = 10.0
"""Of a weight's size."""
DIGITS = 4
"""To which weights are rounded, so that records are short and exact."""
ADDED, DELETED, NEW_FUNCTION, MOVED = 0.5, 0.3, 0.2, 0.3
"""Probability that an offspring gets a connection, loses one, or has another function; share of weights that change."""


class Cppn(NamedTuple):
    """Genomes are weights `[N, neurons, inputs + neurons + 1]`; the last column is each neuron's function, in order.

    A weight of 0 is no connection. The last `channels` neurons are the output: grey, or hue, lightness and saturation.
    """

    side: int
    channels: int
    nodes: int

    def first(self, number: int, rng: np.random.Generator) -> Array:
        """Random networks with half of the connections."""
        shape = (number, self.nodes + self.channels, INPUTS + self.nodes + self.channels)
        weights = rng.normal(0, 1.5, shape) * (rng.random(shape) < 0.5)
        return _genome(weights, rng.integers(0, len(FUNCTIONS), shape[:2]))

    def offspring(self, one: Array, other: Array, rng: np.random.Generator) -> Array:
        """Mutations of the first parents; networks aren't crossed."""
        weights, functions = one[..., :-1], one[..., -1].copy()
        weights = mutated(weights, (weights != 0) & (rng.random(weights.shape) < MOVED), -LARGEST, LARGEST, rng)
        allowed = np.argwhere(np.tri(weights.shape[1], weights.shape[2], INPUTS - 1))
        for n, network in enumerate(weights):
            row, column = allowed[rng.integers(len(allowed))]
            if rng.random() < ADDED and network[row, column] == 0:
                network[row, column] = rng.normal(0, 1.5)
            there = np.argwhere(network)
            if rng.random() < DELETED and len(there) > 1:
                network[tuple(there[rng.integers(len(there))])] = 0
            if rng.random() < NEW_FUNCTION:
                functions[n, rng.integers(functions.shape[1])] = rng.integers(len(FUNCTIONS))
        return _genome(weights, functions)

    def draw(self, genome: Array) -> Pixels:
        """The RGB picture of one genome at the encoding's own size."""
        x, y = np.meshgrid(*[(np.arange(self.side) + 0.5) / self.side * 2 - 1] * 2)
        seen = [x, y, np.hypot(x, y), np.ones_like(x)]
        for row in genome:
            total = np.zeros_like(x)
            for place in np.flatnonzero(row[: len(seen)]):
                total += row[place] * seen[place]
            seen.append(FUNCTIONS[int(row[-1])](total))
        last = np.abs(seen[-self.channels :]).astype(np.float32)
        if self.channels == 1:
            return np.repeat(np.rint(255 * last[0]).astype(np.uint8)[..., None], 3, axis=-1)
        rgb = cv2.cvtColor(np.dstack([360 * last[0], last[1], last[2]]), cv2.COLOR_HLS2RGB)
        return np.asarray(np.rint(255 * np.clip(rgb, 0, 1)), np.uint8)


def _genome(weights: Floats, functions: Array) -> Array:
    """A neuron takes only what stands before it."""
    weights = np.tril(weights, INPUTS - 1).round(DIGITS) + 0.0
    return np.concatenate([weights, functions[..., None].astype(np.float64)], axis=-1)


def redrawn(genome: Mapping[str, Any], side: int) -> Pixels:
    """The picture of a recorded genome at any size, `[side, side, 3]`.

    At the stored one's size it is that picture, where NumPy's sine and exponential round as they did on its machine.

    Args:
        genome: `achieved["genome"]` of a picture's last operation: `channels`, and a row of numbers for each of its
            `neurons`, see `Cppn`.
        side: in pixels.
    """
    neurons = np.array(genome["neurons"], np.float64)
    return Cppn(side, genome["channels"], len(neurons) - genome["channels"]).draw(neurons)
