"""The timesteps of a diffusion and the normal distributions that lead from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Floats


@dataclass(frozen=True)
class Timestep:
    """One timestep; ᾱ is the share of signal, 1 without noise.

    Attributes:
        number: among those that are used, 0 for the last.
        step: among those of the training.
        before: ᾱ of the timestep before this one, 0 for the noisiest.
        signal: ᾱ here.
        after: ᾱ of the timestep after this one, 1 for the last.
    """

    number: int
    step: int
    before: float
    signal: float
    after: float

    @property
    def beta(self) -> float:
        """The share of noise that one step forward adds: the largest possible variance."""
        return 1 - self.signal / self.after

    @property
    def variance(self) -> float:
        """The posterior's variance, the smallest possible; 0 at the last timestep."""
        return self.beta * (1 - self.after) / (1 - self.signal)

    @property
    def least(self) -> float:
        """Lower bound of a learned variance: the posterior's, or at the last timestep that of the one before.

        As in guided-diffusion, where the network learns the logarithm, which has no value at 0.
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
        """A clean state with the noise of this timestep."""
        return self.signal**0.5 * clean + (1 - self.signal) ** 0.5 * noise


def timesteps(signal: Floats, steps: int, start: int) -> list[Timestep]:
    """The last `start` of `steps` timesteps spread evenly over the training's, noisiest first.

    `signal` holds ᾱ at each of the training's timesteps.
    """
    spread = np.rint(np.linspace(0, len(signal) - 1, steps)).astype(int)
    shares = [1.0, *(float(signal[step]) for step in spread), 0.0]
    return [Timestep(n, int(spread[n]), shares[n + 2], shares[n + 1], shares[n]) for n in reversed(range(start))]
