"""The rows of a report: a detector's average precision by domain, and what it finds in each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.detection.matching import Matches
from variorum.kit.detection.precision import found_first
from variorum.kit.detection.resampled import WeightedMap
from variorum.schemas.rows import Answers, Shown

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints


@dataclass(frozen=True, slots=True)
class Domain:
    """A variant's pictures, as one detector was shown them.

    Attributes:
        name: of the variant.
        ids: of the pictures, `[P]`.
        photograph: of each, `[P]`.
        matches: of detections and objects.
    """

    name: str
    ids: Sequence[str]
    photograph: Ints
    matches: Matches


def averaged(figure: str, model: str, domains: Sequence[Domain], photographs: Array) -> Answers:
    """A detector's AP by domain.

    A picture is shown with how many of its objects the likeliest detections have, as many as there are objects; its
    `p_label` is that share.

    Args:
        figure: name of the figure.
        model: name of the detector.
        domains: of which the value is the mean, without those in which there is no object.
        photographs: ids of all photographs.
    """
    if not domains:
        return Answers(figure, model, why_not="the edition has no pictures of this kind")
    every = np.concatenate([one.photograph for one in domains])
    kept, place = np.unique(every, return_inverse=True)
    column = np.repeat(np.arange(len(domains)), [len(one.ids) for one in domains])
    parts = [(WeightedMap(one.matches), place[column == number]) for number, one in enumerate(domains)]

    def by_domain(counts: Floats) -> Floats:
        return np.array([ap(counts[of]) for ap, of in parts])

    if np.isnan(by_domain(np.ones(len(kept)))).all():
        return Answers(figure, model, why_not="no object of a class that the detector knows")
    bottom = np.bincount(place * len(domains) + column, minlength=len(kept) * len(domains)).astype(np.float64)
    bottom = bottom.reshape(len(kept), len(domains))
    objects, found = (np.concatenate(part) for part in zip(*(found_first(one.matches) for one in domains), strict=True))
    shown = np.flatnonzero(objects)
    ids = [name for one in domains for name in one.ids]
    names = tuple(one.name for one in domains)
    return Answers(
        figure,
        model,
        photographs[kept].tolist(),
        np.zeros_like(bottom),
        bottom,
        names,
        {"variant": names},
        Shown(
            [ids[row] for row in shown],
            place[shown],
            column[shown],
            (found[shown] / objects[shown]).astype(np.float32),
            [f"{found[row]} of {objects[row]} found" for row in shown],
            found[shown] == objects[shown],
        ),
        whole_by=by_domain,
    )
