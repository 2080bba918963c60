"""Record people's answers about a picture's labels: the member `labels.json` of a release.

Every picture of a release has one with the same fields, so loaders can read it as typed columns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from variorum.schemas.annotations import STATES
from variorum.schemas.errors import CorruptShard
from variorum.schemas.vote import CATEGORIES, SEVERITIES, TOGETHER

LABELS = "labels.json"
"""Name of the member."""
LISTS = ("given", "label", "state", "p", "votes", "correct", "unclear", "wrong")
MISTAKES = ("label", "category", "severity", "unanimous", "major")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A label that people judged.

    Attributes:
        label: id of the class.
        state: correct, wrong, unclear, or unchecked with too few answers.
        p: probability that the picture shows it.
        votes: number of people who answered.
        category: kind of mistake, if it is wrong; `""` for none.
        severity: of the mistake; `""` for none.
        unanimous: whether all said the same, or decided it together.
        major: probability that the label is wrong and the mistake major, by how reliable those are who say so.
    """

    label: str
    state: str
    p: float
    votes: int
    category: str = ""
    severity: str = ""
    unanimous: bool = False
    major: float = 0.0


@dataclass(frozen=True, slots=True)
class LabelSet:
    """People's answers about one picture.

    Attributes:
        given: the labels that the dataset has.
        labels: those that people judged.
        problematic: whether the picture can't be judged.
        reason: why not; `""` for none.
        n_votes: number of answers about its labels.
    """

    given: tuple[str, ...] = ()
    labels: tuple[Reviewed, ...] = ()
    problematic: bool = False
    reason: str = ""
    n_votes: int = 0
    by_label: Mapping[str, Reviewed] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_label", {one.label: one for one in self.labels})

    def of(self, *states: str) -> list[str]:
        """The labels in these states."""
        return [one.label for one in self.labels if one.state in states]

    @property
    def reviewed(self) -> bool:
        """Return whether people judged a given label, called another one right or unclear, or the picture problematic.

        That a class which nobody proposed is wrong, as controls ask, says nothing of the picture's labels.
        """
        judged = [one for one in self.labels if one.state != "unchecked"]
        return self.problematic or any(one.state != "wrong" or one.label in self.given for one in judged)

    def encode(self) -> bytes:
        """The member's bytes."""
        wrong = [one for one in self.labels if one.state == "wrong"]
        record = {
            "given": list(self.given),
            "label": [one.label for one in self.labels],
            "state": [one.state for one in self.labels],
            "p": [round(one.p, 6) for one in self.labels],
            "votes": [one.votes for one in self.labels],
            "correct": self.of("correct"),
            "unclear": self.of("unclear"),
            "wrong": self.of("wrong"),
            "problematic": self.problematic,
            "reason": self.reason,
            "n_votes": self.n_votes,
            "mistakes": {name: [getattr(one, name) for one in wrong] for name in MISTAKES},
        }
        return json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def read_label_set(data: bytes, where: str) -> LabelSet:
    """The record of a member.

    Raises:
        CorruptShard: it isn't such a record.
    """
    try:
        record = json.loads(data)
        wrong, labels = record["mistakes"], record["label"]
        pairs = zip(wrong["severity"], wrong["unanimous"], strict=True)
        major = wrong.get("major") or [
            float(how == "major" and alike) for how, alike in pairs
        ]  # older releases lack it
        if any(not isinstance(record[name], list) for name in LISTS) or set(record["state"]) - set(STATES):
            raise ValueError("its lists aren't those of reviewed labels")
        kinds = {
            row[0]: row[1:]
            for row in zip(*(_texts(wrong, name) for name in MISTAKES[:3]), wrong["unanimous"], major, strict=True)
        }
        found = tuple(
            Reviewed(label, state, float(p), int(votes), *kinds.get(label, ()))
            for label, state, p, votes in zip(
                _texts(record, "label"), record["state"], record["p"], record["votes"], strict=True
            )
        )
        if len(set(labels)) != len(labels):
            raise ValueError("it has a label twice")
        return LabelSet(
            tuple(_texts(record, "given")),
            found,
            bool(record["problematic"]),
            str(record["reason"]),
            int(record["n_votes"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptShard(f"{where}: its {LABELS} can't be read ({error}); release the edition again") from None


def _texts(record: Mapping[str, Any], name: str) -> list[str]:
    if any(not isinstance(text, str) for text in record[name]):
        raise ValueError(f"{name} must be a list of texts")
    return list(record[name])


def worst(votes: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Category and severity of a mistake from the votes on it: those of a discussion, or else the most frequent ones.

    A tie goes to the less severe, so that the slice of major errors isn't inflated, and to the earlier category.

    Args:
        votes: on one label, with `round`, `category` and `severity`.
    """
    found = []
    for name, order in (("category", CATEGORIES), ("severity", SEVERITIES)):
        said = [vote for vote in votes if vote[name] in order]
        together = [vote for vote in said if vote["round"] == TOGETHER]
        counts = Counter(vote[name] for vote in (together[-1:] or said))
        rank = {value: place for place, value in enumerate(order)}  # severities run from the most severe
        sign = -1 if name == "severity" else 1
        found.append(min(counts, key=lambda value: (-counts[value], sign * rank[value])) if counts else "")
    return found[0], found[1]
