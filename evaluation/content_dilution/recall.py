"""The row of a report: which edits of a photograph find it first."""

from __future__ import annotations

import numpy as np

from variorum.evaluation.content_dilution.editions import Edition
from variorum.evaluation.content_dilution.figures import Relevance
from variorum.schemas.rows import Answers, Shown


def recalled(model: str, edition: Edition, relevance: Relevance) -> Answers:
    """The answers of a model, with a column for each variant.

    A picture is shown with the rank of the first relevant one; its `p_label` is 1/rank, 0 beyond rank 10.
    """
    pictures = edition.pictures
    gallery = edition.original | edition.extra
    asking = np.flatnonzero(~gallery)
    found = pictures.at(asking).retrieved(pictures.at(gallery), relevance)
    asking, first, reciprocal = (
        asking[found.answerable],
        found.first[found.answerable],
        found.reciprocal[found.answerable],
    )
    if not len(asking):
        return Answers("recall", model, why_not="no edit has anything relevant among the originals")
    photographs, place = np.unique(pictures.photograph[asking], return_inverse=True)
    variants = list(dict.fromkeys(edition.variant[asking].tolist()))
    column = np.array([variants.index(name) for name in edition.variant[asking]], np.int64)
    kinds = [str(edition.kind[asking[np.argmax(column == one)]]) for one in range(len(variants))]
    names = [edition.names[one] for one in photographs]
    order = np.argsort(names, kind="stable")
    place = np.argsort(order)[place]
    shape, cell = (len(names), len(variants)), place * len(variants) + column
    top, bottom = (
        np.bincount(cell, part, len(names) * len(variants)).reshape(shape).astype(np.float64)
        for part in (first, np.ones(len(cell)))
    )
    said = [f"rank {1 / one:g}" if one > 0 else "rank above 10" for one in reciprocal]
    return Answers(
        "recall",
        model,
        [names[one] for one in order],
        top,
        bottom,
        tuple(variants),
        {"variant": tuple(variants), "kind": tuple(kinds)},
        Shown(edition.id[asking].tolist(), place, column, reciprocal.astype(np.float32), said, first > 0),
        floor=1 / int(gallery.sum()) if relevance == "parent" else None,
        note=f"a gallery of {int(gallery.sum())}",
    )
