"""MAP-Elites with a cell for each class: the genome whose picture a classifier is surest is of that class.

Nguyen, Yosinski & Clune, Deep Neural Networks are Easily Fooled (CVPR 2015, arXiv 1412.1897). Classes share their
elites: what is evolved for one may be the parent of what fools as another. Mutation is polynomial, crossover simulated
binary (Deb & Agrawal, Complex Systems 1995).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Pixels, Singles

CHANGED = 0.1
"""Share of a picture's values that a mutation of the direct encoding changes."""
CROSSED = 0.5
"""Share of the offspring that have two parents, and of the values that are then mixed."""
ETA_MUTATION, ETA_CROSSOVER = 15.0, 10.0


class Encoding(Protocol):
    """What genomes are, `[N, …]` of one shape, and the pictures that they stand for."""

    def first(self, number: int, rng: np.random.Generator) -> Array:
        """Random genomes: generation 0."""

    def offspring(self, one: Array, other: Array, rng: np.random.Generator) -> Array:
        """A genome of each pair of parents."""

    def draw(self, genome: Array) -> Pixels:
        """The RGB picture `[side, side, 3]` uint8 of one genome."""


class Direct(NamedTuple):
    """Genomes are the grey levels themselves, `[N, side, side, channels]` uint8, one channel for grey pictures."""

    side: int
    channels: int

    def first(self, number: int, rng: np.random.Generator) -> Array:
        """Uniform noise."""
        return rng.integers(0, 256, (number, self.side, self.side, self.channels), np.uint8)

    def offspring(self, one: Array, other: Array, rng: np.random.Generator) -> Array:
        """Half of the pairs are crossed; then a tenth of the values changes."""
        a, b = one / 255, other / 255
        mixed = (rng.random(a.shape) < CROSSED) & (rng.random(len(a)) < CROSSED)[:, None, None, None]
        u = rng.random(a.shape)
        spread = np.where(u < 0.5, 2 * u, 1 / (2 * (1 - u))) ** (1 / (ETA_CROSSOVER + 1))
        a = np.where(mixed, (a + b + spread * (a - b)) / 2, a)
        return np.rint(255 * mutated(a, rng.random(a.shape) < CHANGED, 0, 1, rng)).astype(np.uint8)

    def draw(self, genome: Array) -> Pixels:
        """The values as they are."""
        return np.repeat(genome, 3 // self.channels, axis=-1)


def mutated(values: Floats, which: Bools, low: float, high: float, rng: np.random.Generator) -> Floats:
    """Values of which some have moved by a polynomial mutation, inside of `low` and `high`."""
    u = rng.random(values.shape)
    power = 1 / (ETA_MUTATION + 1)
    step = np.where(u < 0.5, (2 * u) ** power - 1, 1 - (2 * (1 - u)) ** power)
    return np.clip(values + np.where(which, step, 0) * (high - low), low, high)


class Archive(NamedTuple):
    """The elites of K classes.

    Attributes:
        genomes: of each class, `[K, …]`.
        first: a random genome for each class, of generation 0, `[K, …]`.
        generations: how many there were after the first one.
        queries: pictures that the classifier was asked about.
    """

    genomes: Array
    first: Array
    generations: int
    queries: int


def evolve(
    encoding: Encoding,
    answers: Callable[[Sequence[Pixels]], Singles],
    rng: np.random.Generator,
    *,
    population: int,
    generations: int,
    stop_at: float,
) -> Archive:
    """Evolve a picture of each class, until all claims are `stop_at` or there were enough generations.

    Only what the classifier says of whole grey levels counts, so a claim is that of the stored picture.

    Args:
        encoding: of the pictures.
        answers: probabilities `[N, K]` of pictures.
        rng: the only randomness.
        population: pictures in each generation.
        generations: most after generation 0.
        stop_at: claim in (0, 1] that is enough.
    """
    genomes = encoding.first(population, rng)
    claims = answers([encoding.draw(one) for one in genomes])
    best = claims.argmax(axis=0)
    elites, top = genomes[best], claims.max(axis=0)
    random: Ints = rng.integers(0, population, len(top))
    first, done = genomes[random], 0
    while done < generations and top.min() < stop_at:
        one, other = (elites[rng.integers(0, len(top), population)] for _ in range(2))
        genomes = encoding.offspring(one, other, rng)
        claims = answers([encoding.draw(each) for each in genomes])
        best, done = claims.argmax(axis=0), done + 1
        better = claims.max(axis=0) > top
        elites[better], top = genomes[best[better]], np.maximum(top, claims.max(axis=0))
    return Archive(elites, first, done, population * (done + 1))
