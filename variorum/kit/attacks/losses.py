"""What an attack raises: losses of a network's log probabilities, each of one picture alone.

Outputs that are right are to be left (`away`), or outputs that are wrong are to be reached (`towards`); both are truth
values `[N, K]`. Losses are sums over pictures, never means, so a gradient doesn't depend on the size of a batch.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from variorum.models.roles import Adversary

Loss = Literal["ce", "margin", "dlr"]


class Victim(NamedTuple):
    """A network under attack.

    Attributes:
        network: gives gradients.
        away: its outputs that are right, `[N, K]`.
        towards: its outputs that are aimed at, `[N, K]`; None to leave the right ones for any other.
    """

    network: Adversary
    away: Any
    towards: Any = None


def margin(said: Any, away: Any, towards: Any = None) -> Any:
    """How far the attack has got, `[N]`: above 0 the answer is wrong, or with `towards` the one that is aimed at."""
    if towards is None:
        return _best(said, ~away) - _best(said, away)
    return _best(said, towards) - _best(said, ~towards)


def loss(kind: Loss, said: Any, away: Any, towards: Any = None) -> Any:
    """The loss `[N]` of log probabilities `[N, K]`.

    `ce` is the cross-entropy. `margin` is that of Carlini & Wagner. `dlr` is the difference of logits ratio of Croce &
    Hein (ICML 2020, arXiv 2003.01690): the margin divided by that of the largest answer to a lower one, so that the
    scale of the logits doesn't count.
    """
    if kind == "ce":
        of = away if towards is None else towards
        entropy = -said.masked_fill(~of, -float("inf")).logsumexp(1)
        return entropy if towards is None else -entropy
    if kind == "margin":
        return margin(said, away, towards)
    top, last = said.topk(min(4, said.shape[1]), dim=1).values, said.shape[1] - 1
    third, fourth = top[:, min(2, last)], top[:, min(3, last)]  # with fewer outputs the last one
    if towards is None:
        return margin(said, away) / (top[:, 0] - third).clamp_min(1e-12)
    gap = _best(said, towards) - _best(said, away)
    return gap / (top[:, 0] - (third + fourth) / 2).clamp_min(1e-12)


def _best(said: Any, of: Any) -> Any:
    return said.masked_fill(~of, -float("inf")).amax(1)
