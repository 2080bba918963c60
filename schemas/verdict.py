"""Verdicts of curation. A verdict names the picture by id and by content, so it never applies to a changed picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Action = Literal["keep", "drop", "relabel", "review", "weight", "audit"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement on one sample.

    Attributes:
        id: the sample's id.
        sha256: hash of the encoded image that was judged; for another image the verdict is stale.
        action: what to do; `review` keeps the sample and asks people, `weight` lowers its weight in training, `audit`
            asks people in addition to any other action.
        by: name of the decider.
        reason: one word, such as `bottom_ranked`.
        labels: the new labels of a `relabel`.
        value: the number behind the verdict: a score, or the weight in [0, 1]; NaN if there is none.
    """

    id: str
    sha256: str
    action: Action
    by: str
    reason: str
    labels: tuple[str, ...] = ()
    value: float = math.nan
