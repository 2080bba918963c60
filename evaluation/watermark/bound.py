"""Compute a lower bound on the errors of any detector after purification.

An attack that adds Gaussian noise blurs the difference between marked and unmarked pictures. For distributions W apart
in l2, and noise with standard deviation sigma on pictures scaled by alpha, evasion and spoofing error of any detector
sum to at least 1 - erf(alpha W / (2 sqrt(2) sigma)) (Saberi et al., ICLR 2024, arXiv 2310.00076).
"""

from __future__ import annotations

import math

VACUOUS = 0.01
"""A sum of errors below this rules nothing out."""


def distance_of(psnr: float, values: int) -> float:
    """The l2 distance between a picture and its marked version, for pixels from -1 to 1.

    It bounds W from above. W itself may be smaller, as pictures may be paired in another way.

    Args:
        psnr: of the marked version, in dB.
        values: number of values of the picture, 3 H W.
    """
    return 2 * math.sqrt(values) * 10 ** (-psnr / 20)


def least_errors(distance: float, alpha: float, sigma: float) -> float:
    """The smallest sum of evasion and spoofing error, in [0, 1].

    Args:
        distance: W, for pixels from -1 to 1.
        alpha: factor of the picture, such as sqrt(alpha-bar) of a diffusion step.
        sigma: standard deviation of the noise, such as sqrt(1 - alpha-bar).
    """
    if sigma <= 0:
        return 0.0 if distance > 0 else 1.0
    return math.erfc(alpha * distance / (2 * math.sqrt(2) * sigma))


def linear_schedule(step: int, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> tuple[float, float]:
    """sqrt(alpha-bar) and sqrt(1 - alpha-bar) after this many steps of a linear schedule (Ho et al., NeurIPS 2020).

    Raises:
        ValueError: `step` isn't from 0 to `steps`.
    """
    if not 0 <= step <= steps:
        raise ValueError(f"step {step} isn't from 0 to {steps}")
    left = 1.0
    for number in range(step):
        left *= 1 - (first + (last - first) * number / (steps - 1))
    return math.sqrt(left), math.sqrt(1 - left)
