"""Sum up the answers on each picture: states of its labels, kinds of mistakes, whether it can be judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from variorum.curation.people.panel.label_sets import Reviewed, worst
from variorum.curation.people.panel.weighing import NAMES, WRONG, majors, unanimous
from variorum.kit.raters.valid_votes import Cells, Counted
from variorum.schemas.vote import BLIND, PROBLEMS, TOGETHER

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints


def judged_labels(
    cells: Cells, p: Floats, state: Ints, classes: Sequence[str]
) -> Iterator[tuple[int, tuple[tuple[Reviewed, ...], list[int]]]]:
    """By row of each judged picture, its labels and their cells."""
    number, together = cells.number(), unanimous(cells, state)
    major = majors(cells, p, state)
    names = ("cell", "round", "at", "category", "severity")
    noted = cells.votes.select(names).to_pylist() if (state == WRONG).any() else []
    why = {
        cell: worst(sorted(group, key=lambda vote: vote["at"]))
        for cell, group in groupby(noted, key=lambda vote: vote["cell"])
        if state[cell] == WRONG
    }
    for row, group in groupby(range(len(cells)), key=lambda cell: int(cells.row[cell])):
        mine = list(group)
        yield (
            row,
            (
                tuple(
                    Reviewed(
                        classes[int(cells.subject[cell])],
                        NAMES[int(state[cell])],
                        float(p[cell]),
                        int(number[cell]),
                        *why.get(cell, ("", "")),
                        bool(together[cell]),
                        round(float(major[cell]), 6),
                    )
                    for cell in mine
                ),
                mine,
            ),
        )


def problematic(counted: Counted, cells: Cells, least: int) -> dict[int, tuple[bool, str]]:
    """By row, whether a picture that somebody calls problematic is, and the reason.

    It is if at least half of the people who judged it say so. Nobody is asked, and whoever doesn't mention a problem
    may have overlooked it, so a larger majority would keep too many. A decision of a discussion comes first.

    Args:
        counted: all votes.
        cells: of the labels; whoever answered one has judged the picture.
        least: people who must have judged it.
    """
    votes = counted.of("problem")
    rows = votes.votes.append_column("row", [votes.row]).to_pylist()
    if not rows:
        return {}
    wanted = {row["row"] for row in rows}
    judges: dict[int, set[str]] = {row: set() for row in wanted}
    for cell, rater in zip(cells.cell.tolist(), cells.rater.tolist(), strict=True):
        if (row := int(cells.row[cell])) in wanted:
            judges[row].add(cells.people[rater])
    found = {}
    for row, group in groupby(sorted(rows, key=lambda vote: (vote["row"], vote["at"])), key=lambda vote: vote["row"]):
        said = list(group)
        decided = [vote for vote in said if vote["round"] == TOGETHER]
        yes = {vote["reviewer"]: vote["reason"] for vote in said if vote["round"] == BLIND and vote["answer"] == "yes"}
        everybody = judges[row] | {vote["reviewer"] for vote in said if vote["round"] == BLIND}
        if decided:
            is_one, reasons = decided[-1]["answer"] == "yes", [decided[-1]["reason"]]
        else:
            is_one, reasons = len(everybody) >= least and 2 * len(yes) >= len(everybody) > 0, list(yes.values())
        counts = Counter(reason for reason in reasons if reason in PROBLEMS)
        reason = min(counts, key=lambda one: (-counts[one], PROBLEMS.index(one))) if counts else ""
        found[row] = (is_one, reason if is_one else "")
    return found
