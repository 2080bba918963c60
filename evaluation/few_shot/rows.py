"""The row of a report: how often a photograph's pictures were recognised in the episodes that ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.few_shot.tables import Episodes
from variorum.schemas.component import ClassInfo
from variorum.schemas.rows import Answers, Shown
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints


def few_shot_rows(
    model: str, episodes: Episodes, taken: Mapping[int, Ints], table: Table, classes: Sequence[ClassInfo]
) -> Answers:
    """The answers of a model, with a column for each difficulty and shot: `small_5` of small queries and 5 supports.

    A picture is shown with the class that it was taken for most often; its `p_label` is the share of the episodes in
    which it was recognised.

    Args:
        model: name of the model.
        episodes: with rows of the table.
        taken: by shot, the class of its episode that each query is taken for, `[D, E, W, Q]`.
        table: has `id` and `photograph`.
        classes: of the edition, for their names.
    """
    ids, of_picture = table["id"], table["photograph"].astype(str)
    names = [next((one.name for one in classes if one.id == name), name) for name in episodes.names]
    there = episodes.queries >= 0
    asked = np.unique(episodes.queries[there])
    photographs, place = np.unique(of_picture[asked], return_inverse=True)
    of_row = np.zeros(len(ids), np.int64)
    of_row[asked] = place
    asks = [name for name, here in zip(episodes.difficulties, there, strict=True) if here.any()]
    axes = [(name, shot) for shot in episodes.shots for name in asks]
    tops, bottoms = (np.zeros((len(photographs), len(axes))) for _ in range(2))
    label_of = np.zeros(len(ids), np.int64)
    shown: list[tuple[Array, ...]] = []
    truth = np.broadcast_to(episodes.classes[:, :, None], episodes.queries.shape[1:])
    for column, (name, shot) in enumerate(axes):
        difficulty = episodes.difficulties.index(name)
        here = there[difficulty]
        rows, true = episodes.queries[difficulty][here], truth[here]
        said = np.take_along_axis(episodes.classes[:, :, None], taken[shot][difficulty], axis=1)[here]
        right = said == true
        tops[:, column] = np.bincount(of_row[rows], right, len(photographs))
        bottoms[:, column] = np.bincount(of_row[rows], minlength=len(photographs))
        pictures, picture = np.unique(rows, return_inverse=True)
        counts = np.zeros((len(pictures), len(names)), np.int64)
        np.add.at(counts, (picture, said), 1)
        most, often = counts.argmax(axis=1), np.bincount(picture, right) / np.bincount(picture)
        label_of[rows] = true
        shown.append((pictures, np.full(len(pictures), column), often, most, most == label_of[pictures]))
    rows, columns, often, most, right = (np.concatenate(part) for part in zip(*shown, strict=True))
    return Answers(
        "accuracy",
        model,
        photographs.tolist(),
        tops,
        bottoms,
        tuple(f"{name}_{shot}" for name, shot in axes),
        {"difficulty": tuple(name for name, _ in axes), "shot": tuple(float(shot) for _, shot in axes)},
        Shown(
            ids[rows].tolist(),
            of_row[rows],
            columns,
            often.astype(np.float32),
            [names[one] for one in most],
            right,
            [names[one] for one in label_of[rows]],
        ),
        floor=1 / episodes.supports.shape[1],
        note=f"{len(episodes.supports)} episodes, nearest mean of each class",
    )
