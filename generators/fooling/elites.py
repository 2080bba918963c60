"""MAP-Elites with a cell for each class: the genome whose picture a classifier is surest is of that class.

Nguyen, Yosinski & Clune, Deep Neural Networks are Easily Fooled (CVPR 2015, arXiv 1412.1897). Any elite may become the
parent of what fools as another class. Mutation is polynomial, crossover simulated binary (Deb & Agrawal, Complex
Systems 1995).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Pixels, Singles
    from variorum.generators.fooling.cppn import Cppn

CHANGED = 0.1
"""Share of a picture's values that a mutation of the direct encoding changes."""
CROSSED = 0.5
"""Share of the offspring that have two parents, and of the values that are then mixed."""
ETA_MUTATION, ETA_CROSSOVER = 15.0, 10.0


class Direct(NamedTuple):
    """Genomes are the grey levels themselves, `[N, side, side, channels]` uint8, one channel for grey pictures."""

    side: int
    channels: int

    def first(self, number: int, rng: np.random.Generator) -> Array:
        """Uniform noise: generation 0."""
        return rng.integers(0, 256, (number, self.side, self.side, self.channels), np.uint8)

    def offspring(self, one: Array, other: Array, rng: np.random.Generator) -> Array:
        """A genome of each pair of parents."""
        a, b = one / 255, other / 255
        mixed = (rng.random(a.shape) < CROSSED) & (rng.random(len(a)) < CROSSED)[:, None, None, None]
        u = rng.random(a.shape)
        spread = np.where(u < 0.5, 2 * u, 1 / (2 * (1 - u))) ** (1 / (ETA_CROSSOVER + 1))
        a = np.where(mixed, (a + b + spread * (a - b)) / 2, a)
        return np.rint(255 * mutated(a, rng.random(a.shape) < CHANGED, 0, 1, rng)).astype(np.uint8)

    def draw(self, genome: Array) -> Pixels:
        """The RGB picture of one genome."""
        return np.repeat(genome, 3 // self.channels, axis=-1)


def mutated(values: Floats, which: Bools, low: float, high: float, rng: np.random.Generator) -> Floats:
    """Values of which some have moved by a polynomial mutation, inside of `low` and `high`."""
    u, power = rng.random(values.shape), 1 / (ETA_MUTATION + 1)
    step = np.where(u < 0.5, (2 * u) ** power - 1, 1 - (2 * (1 - u)) ** power)
    return np.clip(values + np.where(which, step, 0) * (high - low), low, high)


def evolve(
    encoding: Direct | Cppn,
    answers: Callable[[Sequence[Pixels]], Singles],
    rng: np.random.Generator,
    *,
    population: int,
    generations: int,
    stop_at: float,
) -> dict[str, Array]:
    """Evolve a genome for each of K classes, until all claims are `stop_at` or there were enough generations.

    Only what the classifier says of whole grey levels counts, so a claim is that of the stored picture.

    Args:
        encoding: of the pictures.
        answers: probabilities `[N, K]` of pictures.
        rng: the only randomness.
        population: pictures in each generation.
        generations: most after generation 0.
        stop_at: claim in (0, 1] that is enough.

    Returns:
        `genomes` `[K, …]`, `first`, a random one of generation 0 for each class, and the numbers of `generations` and
        `queries`.
    """
    genomes = encoding.first(population, rng)
    claims = answers([encoding.draw(one) for one in genomes])
    elites, top = genomes[claims.argmax(axis=0)], claims.max(axis=0)
    first, done = genomes[rng.integers(0, population, len(top))], 0
    while done < generations and top.min() < stop_at:
        one, other = (elites[rng.integers(0, len(top), population)] for _ in range(2))
        genomes, done = encoding.offspring(one, other, rng), done + 1
        claims = answers([encoding.draw(each) for each in genomes])
        better = claims.max(axis=0) > top
        elites[better] = genomes[claims.argmax(axis=0)[better]]
        top = np.maximum(top, claims.max(axis=0))
    queries = population * (done + 1)
    return {"genomes": elites, "first": first, "generations": np.array(done), "queries": np.array(queries)}
