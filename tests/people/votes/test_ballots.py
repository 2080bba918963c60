"""Votes are cast, replaced, withdrawn and counted, in SQLite and in PostgreSQL."""

from __future__ import annotations

import itertools
import math
import threading
import uuid
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_panels import (
    CLASSES,
    NOW,
    PANEL,
    ballot,
    counted_again,
    counters,
    done,
    make_panel,
    picture,
    question,
    task,
)
from sqlalchemy import insert, select

from variorum.people.votes.ballots import (
    NameRefused,
    by_secret,
    cast,
    counted,
    is_paused,
    join,
    pause,
    pause_panel,
    recount,
    withdraw,
)
from variorum.people.votes.database import (
    ADDED,
    claims,
    cursors,
    open_database,
    questions,
    reading,
    reviewers,
    votes,
    writing,
)
from variorum.schemas.errors import StoreError


def states(results):
    return [one.state for one in results]


def refusal(engine, *given, **options):
    """Why the last of some votes is refused."""
    *_, last = cast(engine, PANEL, given, NOW, **options)
    assert last.state == "refused"
    assert last.why[-1] not in ".\n"
    assert recount(engine, PANEL) == []
    return last.why


def test_a_vote_is_kept_once_and_fills_its_question(engine):
    vote = ballot(category="non_prototypical", severity="minor", comment="=1+1\nüber", seconds=2.5)
    assert states(cast(engine, PANEL, [vote], NOW)) == ["kept"]
    assert states(cast(engine, PANEL, [vote], NOW + 5)) == ["known"]
    (row,) = counted(engine, PANEL).to_pylist()
    assert row == {
        "vote": vote.vote, "kind": "label", "id": "picture0", "sha256": vote.sha256, "subject": "heron",
        "reviewer": "ann", "answer": "yes", "round": 1, "category": "non_prototypical", "severity": "minor",
        "reason": "", "comment": "=1+1\nüber", "box": None, "seconds": 2.5, "at": NOW, "replaces": "",
        "question": vote.question, "task": 0, "number": row["number"], "truth": "",
    }  # fmt: skip
    kept = question(engine)
    assert (kept.votes, kept.open) == (1, True)
    cast(engine, PANEL, [ballot("ben")], NOW)
    kept = question(engine)
    assert (kept.votes, kept.open) == (2, False)
    assert task(engine).open  # the other label still lacks votes
    assert counters(engine) == counted_again(engine)


def test_the_same_vote_twice_in_one_call_is_one(engine):
    vote = ballot()
    assert states(cast(engine, PANEL, [vote, vote, replace(vote, answer="no")], NOW)) == ["kept", "known", "refused"]
    assert len(counted(engine, PANEL)) == 1


def test_an_id_belongs_to_one_vote(engine):
    vote = ballot(seconds=1.0)
    cast(engine, PANEL, [vote], NOW)
    for other in (replace(vote, answer="no"), replace(vote, seconds=2.0), replace(vote, reviewer="ben")):
        assert "belongs to another vote" in refusal(engine, other)


def test_one_vote_a_person_question_and_round(engine):
    first, second = ballot(), ballot(answer="no")
    why = refusal(engine, first, second)
    assert first.vote in why
    changed = replace(second, replaces=first.vote)
    assert states(cast(engine, PANEL, [changed], NOW)) == ["kept"]
    assert states(cast(engine, PANEL, [first, changed], NOW)) == ["known", "known"]  # sent again by a slow tab
    assert changed.vote in refusal(engine, ballot(answer="unclear", replaces=first.vote))  # another tab's old page
    assert counted(engine, PANEL)["answer"].to_pylist() == ["no"]
    assert question(engine).votes == 1


def test_a_vote_and_its_replacement_may_come_together(engine):
    first = ballot()
    results = cast(engine, PANEL, [first, ballot(answer="no", replaces=first.vote)], NOW)
    assert states(results) == ["kept", "kept"]
    assert counted(engine, PANEL)["answer"].to_pylist() == ["no"]
    assert counters(engine) == counted_again(engine)


def test_nobody_replaces_what_another_person_said(engine):
    mine = ballot()
    cast(engine, PANEL, [mine], NOW)
    assert "another person's" in refusal(engine, ballot("ben", replaces=mine.vote))
    assert "another question" in refusal(engine, ballot(subject="stork", replaces=mine.vote))
    assert "isn't in this panel" in refusal(engine, ballot("ben", replaces="nothing"))


def test_late_and_extra_votes_are_kept(engine):
    with writing(engine, PANEL) as connection:
        connection.execute(
            insert(claims), {"panel": PANEL, "reviewer": "ann", "task": 0, "until": NOW - 999, "done": False}
        )
    people = ["ann", "ben", "cem", "dan"]
    given = [ballot(who, subject) for who in people for subject in CLASSES[:2]]
    assert states(cast(engine, PANEL, given, NOW)) == ["kept"] * 8
    assert question(engine).votes == 4
    assert {("ann", 0), ("dan", 0)} <= done(engine)
    assert not task(engine).open


def test_disputed_until_decided_together(engine):
    given = [ballot("ann"), ballot("ben", answer="no"), ballot("ann", "stork"), ballot("ben", "stork")]
    cast(engine, PANEL, given, NOW)
    assert (task(engine).open, task(engine).disputed) == (False, True)
    decision = ballot("cem", answer="unclear", round=2)
    assert states(cast(engine, PANEL, [decision], NOW)) == ["kept"]
    assert not task(engine).disputed
    assert "the discussion has decided" in refusal(engine, ballot("ben", answer="yes", round=2))
    other = ballot("ben", answer="yes", round=2, replaces=decision.vote)
    assert states(cast(engine, PANEL, [other], NOW)) == ["kept"]
    assert withdraw(engine, PANEL, other.vote, "ben", NOW, "w").state == "kept"
    assert task(engine).disputed
    assert counters(engine) == counted_again(engine)


def test_nothing_is_decided_together_before_the_blind_votes_are_in(engine):
    cast(engine, PANEL, [ballot()], NOW)
    assert "this one is open" in refusal(engine, ballot("ben", round=2))


def test_gold_is_never_complete(engine):
    people = [f"reviewer {number}" for number in range(5)]
    cast(engine, PANEL, [ballot(who, subject, number=2) for who in people for subject in CLASSES[:2]], NOW)
    kept = question(engine, number=2)
    assert (kept.votes, kept.open) == (5, True)
    assert task(engine, 2).open
    assert {(who, 2) for who in people} == done(engine)


def test_a_label_typed_in_is_asked_of_everybody(engine):
    with writing(engine, PANEL) as connection:
        connection.execute(insert(cursors), {"panel": PANEL, "reviewer": "cem", "lane": "label asked", "task": 2})
    cast(engine, PANEL, [ballot(who, subject) for who in ("ann", "ben") for subject in CLASSES[:2]], NOW)
    assert not task(engine).open
    new = ballot("ann", "crane")
    assert "isn't asked about label crane" in refusal(engine, new)
    assert states(cast(engine, PANEL, [new, ballot("ben", "dodo")], NOW, classes=CLASSES)) == ["kept", "refused"]
    kept = question(engine, "crane")
    assert (kept.why, kept.votes, kept.open, kept.truth) == ("added", 1, True, "")
    assert task(engine).open
    assert ("ann", 0) in done(engine)
    assert ("ben", 0) not in done(engine)
    with reading(engine) as connection:  # nobody passes by it
        assert connection.scalar(select(cursors.c.task)) == 0
    assert counters(engine) == counted_again(engine)
    assert withdraw(engine, PANEL, new.vote, "ann", NOW, "undo").state == "kept"
    assert question(engine, "crane") is None
    assert not task(engine).open
    assert recount(engine, PANEL) == []


def test_a_label_typed_in_on_a_gold_task_gets_an_ordinary_one(engine):
    new = [ballot("ann", subject, number=2) for subject in ("crane", "ibis")]  # asked only about gold
    assert states(cast(engine, PANEL, new, NOW, classes=CLASSES)) == ["kept", "kept"]
    assert {question(engine, subject, 2).task for subject in ("crane", "ibis")} == {ADDED}
    made = task(engine, ADDED)
    assert (made.id, made.sha256, made.kind, made.why) == (*picture(2), "label", "asked")
    assert (made.wanted, made.open, made.disputed) == (2, True, False)
    assert [row.subject for row in questions_of(engine, 2)] == list(CLASSES[:2])
    assert ("ann", ADDED) in done(engine)
    assert recount(engine, PANEL) == []
    cast(engine, PANEL, [ballot("ben", "crane", "no", 2), ballot("ben", "ibis", "yes", 2)], NOW, classes=CLASSES)
    assert (task(engine, ADDED).open, task(engine, ADDED).disputed) == (False, True)
    assert states(cast(engine, PANEL, [ballot("ann", "stork", number=2)], NOW)) == ["kept"]  # gold stays gold
    for one in new:
        withdraw(engine, PANEL, one.vote, "ann", NOW, str(uuid.uuid4()))
    again = cast(engine, PANEL, [ballot("cem", "ibis", number=2)], NOW, classes=CLASSES)
    assert states(again) == ["kept"]
    assert question(engine, "ibis", 2).task == ADDED  # there is still only one
    assert recount(engine, PANEL) == []


def questions_of(engine, number):
    with reading(engine) as connection:
        mine = questions.c.panel == PANEL, questions.c.task == number
        return connection.execute(select(questions).where(*mine).order_by(questions.c.subject)).all()


def test_a_problem_needs_only_the_picture(engine):
    given = [ballot(who, "", kind="problem", reason="too_small") for who in ("ann", "ben")]
    assert states(cast(engine, PANEL, given, NOW)) == ["kept", "kept"]
    assert done(engine) == {(who, number) for who in ("ann", "ben") for number in (0, 3, 4)}
    assert (question(engine).votes, question(engine).open) == (0, False)  # both have had their say
    assert withdraw(engine, PANEL, given[0].vote, "ann", NOW, "w").state == "kept"
    assert question(engine).open
    assert counters(engine) == counted_again(engine)
    assert "isn't in this panel" in refusal(engine, ballot(subject="", kind="problem", number=9))


def test_a_picture_that_changed(engine):
    old = replace(ballot(), sha256="f" * 64)
    assert "changed since" in refusal(engine, old)
    assert "changed since" in refusal(engine, replace(old, kind="problem", subject=""))
    assert "isn't asked about copy picture1" in refusal(engine, ballot(kind="copy", subject="picture1"))


def test_withdrawing(engine):
    vote = ballot()
    cast(engine, PANEL, [vote], NOW)
    assert "has no vote" in withdraw(engine, PANEL, vote.vote, "ben", NOW, "w0").why
    assert "has no vote" in withdraw(engine, PANEL, "nothing", "ann", NOW, "w0").why
    assert "id of its own" in withdraw(engine, PANEL, vote.vote, "ann", NOW, "").why
    assert "is no vote's id" in withdraw(engine, PANEL, "\x00", "ann", NOW, "w0").why
    assert withdraw(engine, PANEL, vote.vote, "ann", NOW, "w1").state == "kept"
    assert withdraw(engine, PANEL, vote.vote, "ann", NOW, "w1").state == "known"
    assert "doesn't count any more" in withdraw(engine, PANEL, vote.vote, "ann", NOW, "w2").why
    assert "belongs to another vote" in withdraw(engine, PANEL, "other", "ann", NOW, vote.vote).why
    assert len(counted(engine, PANEL)) == 0
    assert question(engine).votes == 0
    assert states(cast(engine, PANEL, [vote], NOW)) == ["known"]  # a slow tab sends it once more
    assert question(engine).votes == 0
    with reading(engine) as connection:
        rows = [(row.vote, row.answer, row.replaces, row.counts) for row in connection.execute(select(votes))]
    assert rows == [(vote.vote, "yes", "", False), ("w1", "", vote.vote, False)]
    assert states(cast(engine, PANEL, [ballot(replaces=vote.vote)], NOW)) == ["kept"]
    assert "has no vote" in withdraw(engine, PANEL, "w1", "ann", NOW, "w3").why


def test_pauses(engine):
    name, _ = join(engine, PANEL, "ann", NOW)
    before = ballot()
    cast(engine, PANEL, [before], NOW)
    assert pause(engine, PANEL, name, True)
    assert not pause(engine, PANEL, "nobody", True)
    assert not pause(engine, PANEL, "\x00", True)
    assert is_paused(engine, PANEL, "ann")
    assert not is_paused(engine, PANEL, "ben")
    assert "ann is paused" in refusal(engine, ballot(subject="stork"))
    assert "ann is paused" in withdraw(engine, PANEL, before.vote, "ann", NOW, "w").why
    assert states(cast(engine, PANEL, [before, ballot("ben")], NOW)) == ["known", "kept"]
    pause(engine, PANEL, name, False)
    assert pause_panel(engine, PANEL, True)
    assert is_paused(engine, PANEL)
    assert "the panel is paused" in refusal(engine, ballot(subject="stork"))
    assert "the panel is paused" in withdraw(engine, PANEL, before.vote, "ann", NOW, "w").why
    pause_panel(engine, PANEL, False)
    assert states(cast(engine, PANEL, [ballot(subject="stork")], NOW)) == ["kept"]


def test_no_such_panel(engine):
    with pytest.raises(StoreError, match="other isn't in this database"):
        cast(engine, "other", [ballot()], NOW)
    with pytest.raises(StoreError, match="other isn't in this database"):
        withdraw(engine, "other", "v", "ann", NOW, "w")
    assert len(counted(engine, "other")) == 0


def test_panels_in_one_database_are_apart(engine):
    make_panel(engine, "other@1.0.0/main")
    vote = ballot()
    assert states(cast(engine, PANEL, [vote], NOW)) == ["kept"]
    assert states(cast(engine, "other@1.0.0/main", [vote], NOW)) == ["kept"]
    withdraw(engine, PANEL, vote.vote, "ann", NOW, "w")
    assert len(counted(engine, PANEL)) == 0
    assert len(counted(engine, "other@1.0.0/main")) == 1


def test_joining(engine):
    name, secret = join(engine, PANEL, "  Zoë   Müller ", NOW)
    assert name == "Zoë Müller"
    assert by_secret(engine, PANEL, secret) == name
    assert by_secret(engine, PANEL, "x") is None
    assert by_secret(engine, "other", secret) is None
    with reading(engine) as connection:
        assert secret not in str(connection.execute(select(reviewers)).all())
    with pytest.raises(NameRefused, match="has joined already"):
        join(engine, PANEL, "Zoe\u0308 Müller", NOW)
    name, again = join(engine, PANEL, "Zoë Müller", NOW, again=True)
    assert by_secret(engine, PANEL, secret) is None
    assert by_secret(engine, PANEL, again) == name


@pytest.mark.parametrize("name", ["", "   ", "a" * 101, "a\x00b", "a\nb", "\ud800", "a\u202eb", "\x1b[31m"])
def test_names_that_nobody_has(tmp_path, name):
    engine = open_database(str(tmp_path / "votes.sqlite"))
    with pytest.raises(NameRefused):
        join(engine, PANEL, name, NOW)
    engine.dispose()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("vote", "", "UUID"),
        ("vote", "a" * 65, "UUID"),
        ("vote", "a b", "UUID"),
        ("vote", 7, "isn't text"),
        ("replaces", "../x", "UUID"),
        ("kind", "colour", "known are label, copy"),
        ("answer", "", "known are no, unclear, yes"),
        ("answer", "maybe", "'maybe'"),
        ("answer", None, "isn't text"),
        ("category", "typo", "fine_grained"),
        ("severity", "huge", "borderline"),
        ("reason", "too_small", "none for this kind"),
        ("comment", "a" * 2001, "2001 characters"),
        ("comment", "a\x00", "U+0000"),
        ("comment", "\ud800", "U+D800"),
        ("reviewer", "a" * 101, "101 characters"),
        ("reviewer", "a\x07", "U+0007"),
        ("reviewer", " ", "empty"),
        ("sha256", "AB", "64 digits"),
        ("subject", "\x00", "U+0000"),
        ("id", "x" * 65, "65 characters"),
        ("round", 3, "round is 3"),
        ("round", True, "round is True"),
        ("seconds", -1.0, "seconds is -1.0"),
        ("seconds", math.inf, "seconds is inf"),
        ("seconds", 1e9, "seconds is"),
        ("seconds", "7", "seconds is '7'"),
        ("at", math.nan, "at is nan"),
        ("box", (1.0, 2.0, 3.0), "left, top, width and height"),
        ("box", (1.0, 2.0, 3.0, math.nan), "finite"),
        ("box", (1.0, 2.0, 0.0, 3.0), "above 0"),
        ("box", "abcd", "left, top"),
        ("box", (1, 2, 3, "4"), "left, top"),
    ],
)
def test_votes_that_cannot_be(tmp_path, field, value, said):
    engine = open_database(str(tmp_path / "votes.sqlite"))
    make_panel(engine)
    bad, good = replace(ballot(), **{field: value}), ballot("ben")
    results = cast(engine, PANEL, [bad, good], NOW)
    assert states(results) == ["refused", "kept"]  # one bad vote keeps no good one out
    assert said in results[0].why
    assert len(counted(engine, PANEL)) == 1
    engine.dispose()


def test_reasons_belong_to_their_kind(engine):
    assert "known are no_object" in refusal(engine, ballot(subject="", kind="problem", reason="artefact"))
    given = [ballot(subject="", kind="edit", answer="no", reason="artefact")]
    given += [ballot(subject="0", kind="box", answer="no", box=(1, 2.5, 30, 40))]
    assert states(cast(engine, PANEL, given, NOW)) == ["kept", "kept"]
    assert counted(engine, PANEL)["box"].to_pylist() == [None, [1.0, 2.5, 30.0, 40.0]]


def test_twenty_people_at_once(engine):
    """Threads that vote, change their minds, join and withdraw at once: no deadlock, nothing lost, nothing doubled."""
    people = [f"reviewer {number}" for number in range(20)]
    problems: list[BaseException] = []
    kept: list[str] = []
    start = threading.Barrier(len(people))

    def review(who: str) -> None:
        try:
            start.wait()
            join(engine, PANEL, who, NOW)
            given = [ballot(who, subject) for subject in CLASSES[:3]]
            again = replace(given[0], vote=str(uuid.uuid4()), answer="no", replaces=given[0].vote)
            results = cast(engine, PANEL, given, NOW, classes=CLASSES)
            results += cast(engine, PANEL, [*given, again], NOW, classes=CLASSES)
            assert {one.state for one in results} <= {"kept", "known"}
            withdraw(engine, PANEL, given[1].vote, who, NOW, str(uuid.uuid4()))
            kept.extend([again.vote, given[2].vote])
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=review, args=(who,)) for who in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert sorted(counted(engine, PANEL)["vote"].to_pylist()) == sorted(kept)
    assert len(set(kept)) == 20 * 2
    assert recount(engine, PANEL) == []
    assert counters(engine) == counted_again(engine)


actions = st.lists(
    st.tuples(
        st.sampled_from(["cast", "cast", "change", "withdraw", "problem", "decide", "again"]),
        st.sampled_from(["ann", "ben", "cem"]),
        st.integers(0, 2),
        st.sampled_from(CLASSES[:3]),
        st.sampled_from(["no", "unclear", "yes"]),
        st.booleans(),
    ),
    max_size=12,
)
fresh = itertools.count()


@settings(max_examples=25)
@given(actions)
def test_counters_are_what_the_votes_add_up_to(tmp_path_factory, steps):
    engine = _shared_engine(tmp_path_factory)
    panel = f"p{next(fresh)}@1.0.0/main"
    make_panel(engine, panel)
    sent = []
    for action, who, number, subject, answer, brought in steps:
        options = {"classes": CLASSES, "brought": brought}
        mine = [vote for vote in sent if vote.reviewer == who]
        if action == "withdraw" and mine:
            withdraw(engine, panel, mine[-1].vote, who, NOW, str(uuid.uuid4()))
            continue
        if action == "again" and sent:
            cast(engine, panel, sent[-3:], NOW, **options)
            continue
        vote = ballot(who, subject, answer, number)
        if action == "change" and mine:
            vote = replace(mine[-1], vote=vote.vote, answer=answer, replaces=mine[-1].vote)
        elif action == "problem":
            vote = ballot(who, "", answer, number, "problem", reason="collage")
        elif action == "decide":
            vote = replace(vote, round=2)
        sent += [vote] if cast(engine, panel, [vote], NOW, **options)[0].state == "kept" else []
    assert recount(engine, panel) == []
    assert counters(engine, panel) == counted_again(engine, panel)


def _shared_engine(factory, kept=[]):  # noqa: B006
    if not kept:
        kept.append(open_database(str(factory.mktemp("property") / "votes.sqlite")))
    return kept[0]
