"""Carries out what people said: gives a picture the labels that they call right, and drops what can't be judged.

People's word settles a picture. What models only suspected of it becomes a note; that it is a copy or damaged doesn't.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Decider
from variorum.schemas.verdict import Verdict, Verdicts

if TYPE_CHECKING:
    from variorum.schemas.table import Table


class Reviewed(Decider):
    """Verdicts from the columns of `consensus`."""

    settles: ClassVar[bool] = True

    problematic: Literal["drop", "keep"] = "drop"
    """What becomes of pictures that people call problematic; no label of theirs can be trusted, so `drop` is best."""
    no_label: Literal["review", "drop", "note"] = "review"
    """What becomes of pictures of which people settled every given label, and called none right, nor another one."""

    def needs(self) -> tuple[str, ...]:
        """Ask for the outcome of the votes."""
        return ("consensus",)

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdict | Verdicts]:
        """`drop` for problematic pictures, `relabel` to the right labels, `keep` for labels that people confirmed.

        The right labels are those that people call correct, and given ones that they haven't judged. Given labels come
        first, in their order, so that a picture keeps its class if it can; then the most certain ones.
        """
        states = table.column("consensus.states").to_pylist()
        rows = [row for row, text in enumerate(states) if text]
        if not rows:
            return
        given = dict(zip(rows, table.column("labels").take(np.array(rows, np.int64)).to_pylist(), strict=True))
        problematic, reasons = table["consensus.problematic"], table["consensus.problem"]
        score = table["consensus.score"]
        groups: dict[tuple[Any, str], list[int]] = {}
        new: dict[int, tuple[str, ...]] = {}
        for row in rows:
            action, reason, labels = self._of(given[row] or [], json.loads(states[row]), bool(problematic[row]))
            if action == "relabel":
                new[row] = labels
            if action:
                reason = f"{reason}_{reasons[row]}" if reason == "problematic" and reasons[row] else reason
                groups.setdefault((action, reason), []).append(row)
        for (action, reason), chosen in sorted(groups.items()):
            if action == "relabel":
                yield from self._relabelled(table, chosen, reason, new)
            else:
                yield table.verdicts(chosen, action, reason, value=score[np.array(chosen)])

    def _of(self, given: Sequence[str], judged: Sequence[Any], problematic: bool) -> tuple[Any, str, tuple[str, ...]]:
        """Action (`""` for none), reason and new labels of one picture."""
        if problematic:
            return ("drop", "problematic", ()) if self.problematic == "drop" else ("note", "problematic", ())
        state = {label: (said, p) for label, said, p, *_ in judged}
        right = [label for label, (said, _) in state.items() if said == "correct"]
        unjudged = [label for label in given if state.get(label, ("unchecked", 0))[0] == "unchecked"]
        if not right:
            return ("", "", ()) if unjudged or not given else (self.no_label, "no_right_label", ())
        kept = [label for label in given if label in right or label in unjudged]
        others = sorted((label for label in right if label not in given), key=lambda label: (-state[label][1], label))
        labels = (*kept, *others)
        if labels == tuple(given):
            return ("", "", ()) if unjudged else ("keep", "confirmed", ())
        wrong = any(state.get(label, ("", 0))[0] == "wrong" for label in given)
        return "relabel", "wrong_label" if wrong else "more_labels", labels

    def _relabelled(
        self, table: Table, rows: Sequence[int], reason: str, new: Mapping[int, tuple[str, ...]]
    ) -> Iterator[Verdict | Verdicts]:
        score = table["consensus.score"]
        single = [row for row in rows if len(new[row]) == 1]
        if single:
            labels = [new[row][0] for row in single]
            yield table.verdicts(single, "relabel", reason, labels=labels, value=score[np.array(single)])
        for row in rows:
            if len(new[row]) > 1:
                yield table.verdict(row, "relabel", reason, labels=new[row], value=float(score[row]))

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count pictures that people settled, by action and reason; nothing without votes."""
        assert table.said is not None
        counted = table.said.group_by(["action", "reason"]).aggregate([([], "count_all")]).to_pylist()
        return {f"{row['action']} {row['reason']}": row["count_all"] for row in sorted(counted, key=_place)}


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["action"], row["reason"]
