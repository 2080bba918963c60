"""Hold back guarded actions of `policy` and `sql`, and give the other ones as verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from variorum.schemas.canonical import Json
from variorum.schemas.verdict import Action, Verdicts

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints
    from variorum.schemas.table import Table


def guard(label: Ints, acts: Bools, values: Floats, ties: Ints, min_class_size: int, max_share: float) -> Array:
    """Why a row's action is held back `[N]`: `rare` in a small class, `capped` beyond a class's share, or empty.

    Args:
        label: `[N]`; -1, unlabelled, counts as a class.
        acts: `[N]` rows with a guarded action.
        values: `[N]`; the highest are acted on first, NaN last.
        ties: `[N]` distinct numbers; of equal values the one with the lower number comes first.
        min_class_size: a smaller class is rare.
        max_share: of a class's pictures, rounded down.
    """
    held = np.full(len(label), "", dtype=object)
    classes, place, sizes = np.unique(label, return_inverse=True, return_counts=True)
    if not len(classes):
        return held
    rare = acts & (sizes[place] < min_class_size)
    held[rare] = "rare"
    rows = np.flatnonzero(acts & ~rare)
    highest_first = rows[np.lexsort((ties[rows], -np.nan_to_num(values[rows], nan=-np.inf), place[rows]))]
    group = place[highest_first]
    starts = np.searchsorted(group, group)
    turn = np.arange(len(group)) - starts
    held[highest_first[turn >= np.floor(max_share * sizes[group])]] = "capped"
    return held


def another_label(index: Array, label: Ints, classes: Mapping[int, str]) -> Array:
    """The label that a rule gives `[M]`, as a class id; empty where it gives none, or the given one.

    Args:
        index: `[M]` index in the edition's class list; NaN or -1 for none.
        label: `[M]` given labels.
        classes: the edition's class ids by index.
    """
    whole = np.nan_to_num(index, nan=-1).astype(np.int64)  # floats if some are missing
    gives = (whole != label) & np.isin(whole, list(classes))
    found = np.full(len(whole), "", dtype=object)
    found[gives] = [classes[one] for one in whole[gives].tolist()]
    return found


def verdicts_of(
    table: Table, said: tuple[Action, str], rows: Ints, held: Array, labels: Array, numbers: tuple[Floats, Floats]
) -> Iterator[Verdicts]:
    """Verdicts with one action and reason, of which those that are held back are a `review`.

    Args:
        table: the decider's.
        said: the action and the reason.
        rows: `[M]` rows of the table, in order.
        held: `[M]` texts: why the action is held back, which is added to the reason; empty where it isn't.
        labels: `[M]` texts: the new or proposed label, empty for none.
        numbers: the values and what asking is worth, `[M]` each, NaN for none.
    """
    (action, reason), (values, worth) = said, numbers
    why, proposed = held.astype(str), labels != ""
    if action == "relabel":
        why = np.where((why == "") & ~proposed, "without_another_label", why)
    for ending in dict.fromkeys(why.tolist()):
        for proposes in (True, False):
            some = (why == ending) & (proposed == proposes)
            if some.any():
                yield table.verdicts(
                    rows[some],
                    "review" if ending else action,
                    f"{reason}_{ending}" if ending else reason,
                    labels=labels[some].tolist() if proposes else None,
                    value=values[some],
                    worth=worth[some] if ending or action == "review" else math.nan,
                )


def decided_figures(table: Table) -> Mapping[str, Json]:
    """Count the pictures of a decider's verdicts, by action and reason, and those that it leaves alone."""
    import pyarrow.compute as pc

    assert table.said is not None
    acted = table.said.filter(pc.not_equal(table.said["action"], "note"))
    counted = acted.group_by(["action", "reason"]).aggregate([([], "count_all")]).to_pylist()
    found = {f"{row['action']} {row['reason']}": row["count_all"] for row in counted}
    return {
        "decided": dict(sorted(found.items())),
        "untouched": len(table) - pc.count_distinct(acted["id"]).as_py(),
    }
