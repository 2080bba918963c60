"""mAP on resamples of the pictures. No picture is matched again, and a picture drawn twice counts twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.detection.matching import RECALLS, THRESHOLDS, Cell, Matches

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

AT_ONCE = 8_000_000
"""Weights of detections in memory at a time."""


def resampled_map(matches: Matches, weights: Floats) -> Floats:
    """The mAP in [0, 1] of each resample, `[B]`; NaN without any object.

    Args:
        matches: of P pictures.
        weights: how often each picture is in each resample, whole numbers, `[B, P]`.
    """
    total, present = np.zeros(len(weights)), np.zeros(len(weights))
    for (_, area), cell in matches.cells.items():
        if area == 0 and len(cell.objects):
            step = max(1, AT_ONCE // max(1, len(cell.score)))
            parts = [_average_precision(cell, weights[i : i + step]) for i in range(0, len(weights), step)]
            found = np.concatenate(parts)
            total += np.nan_to_num(found)
            present += ~np.isnan(found)
    return np.where(present > 0, total / np.maximum(present, 1), np.nan)


def _average_precision(cell: Cell, weights: Floats) -> Floats:
    """Mean over the thresholds of one category's average precision, `[B]`; NaN for a resample without its objects."""
    objects = weights[:, cell.objects].sum(axis=1)
    order = np.argsort(-cell.score, kind="mergesort")
    drawn = np.ascontiguousarray(weights[:, cell.picture[order]])
    known: dict[bytes, Floats] = {}
    total = np.zeros(len(weights))
    for counts, right in zip(~cell.ignored[:, order], cell.right[:, order], strict=True):
        hits = counts & right
        key = counts.tobytes() + hits.tobytes()
        if key not in known:
            known[key] = _interpolated(drawn, counts, hits, objects)
        total += known[key]
    return np.where(objects > 0, total / len(THRESHOLDS), np.nan)


def _interpolated(drawn: Floats, counts: Bools, hits: Bools, objects: Floats) -> Floats:
    """Mean of the interpolated precision over `RECALLS`, `[B]`.

    Recall rises and the envelope of precision falls only at hits, so these are enough.

    Args:
        drawn: weight of each detection, the likeliest first, `[B, D]`.
        counts: whether a detection counts, `[D]`.
        hits: whether it counts and has an object, `[D]`.
        objects: number of objects in each resample, `[B]`.
    """
    if not hits.any():
        return np.zeros(len(drawn))
    tops = np.cumsum(drawn[:, hits], axis=1)
    both = np.cumsum(drawn if counts.all() else drawn[:, counts], axis=1)[:, hits[counts]]
    precise = tops / (both + np.spacing(1))
    envelope = np.maximum.accumulate(precise[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, tops / np.maximum(objects, 1)[:, None], side="right")
    steps = np.diff(reached, axis=1, prepend=0)
    averaged: Floats = (envelope * steps).sum(axis=1) / len(RECALLS)
    return averaged
