"""What each kind of question says to people."""

from __future__ import annotations

import json

import pytest

from variorum.people.panel.kinds import ASKED, CATEGORIES, FLAWS, PROBLEMS, SEVERITIES
from variorum.schemas import vote


def test_every_kind_that_people_are_asked_has_words():
    assert set(ASKED) == set(vote.KINDS) - {"problem"}
    for kind, asked in ASKED.items():
        assert asked.kind == kind
        assert asked.ask.endswith("?")
        assert len({asked.yes, asked.no, asked.unclear}) == 3


def test_only_a_label_and_a_way_to_be_unsafe_are_called_by_their_names():
    for kind, asked in ASKED.items():
        assert ("{name}" in asked.ask) == (kind in ("label", "unsafe"))
        assert asked.ask.format(name="a tench")


def test_everything_that_can_be_voted_has_words():
    assert set(PROBLEMS) == set(vote.PROBLEMS)
    assert set(CATEGORIES) == set(vote.CATEGORIES)
    assert set(SEVERITIES) == set(vote.SEVERITIES)
    assert set(FLAWS) == set(vote.FLAWS)
    for kind, asked in ASKED.items():
        assert [one for one, _ in asked.reasons] == list(vote.REASONS.get(kind, ()))


@pytest.mark.parametrize("kind", ASKED)
def test_the_page_gets_json(kind):
    said = ASKED[kind].as_json()
    assert json.loads(json.dumps(said)) == said
    assert {"ask", "yes", "no", "unclear", "reasons", "mistakes"} <= set(said)
    assert said["mistakes"] == (kind == "label")
