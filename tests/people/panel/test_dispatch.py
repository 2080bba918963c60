import itertools
import tempfile
import threading
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import insert, select

from variorum.curation.people.panel.raters import LEAST
from variorum.people.panel.dispatch import (
    LEASE,
    disputed,
    disputed_left,
    next_tasks,
    open_subjects,
    progress,
    release_task,
)
from variorum.people.panel.gold import FIRST, FIRST_SHARE, gold_target, is_gold_due, order_of, pool_of
from variorum.people.votes.ballots import cast, join, pause, pause_panel, recount, withdraw
from variorum.people.votes.database import claims, open_database, panels, questions, reading, tasks, votes, writing
from variorum.schemas.errors import StoreError
from variorum.schemas.vote import Vote, question_key

PANEL = "panel@1.0.0/main"
NOW = 1_000_000.0
CLASSES = ("heron", "stork", "crane", "ibis")


def make(engine, *, pictures=6, wanted=2, gold=0, labels=2, agreed=(), classes=CLASSES):
    """A panel of label tasks: gold ones behind the others."""
    rows, asked = [], []
    for number in range(pictures + gold):
        why = "gold" if number >= pictures else "agreed" if number in agreed else "asked"
        row = {"panel": PANEL, "task": number, "kind": "label", "id": f"p{number}", "sha256": f"{number:064x}"}
        rows.append({**row, "why": why, "wanted": wanted, "open": True, "disputed": False})
        for place in range(labels if why != "gold" else 1):
            subject = classes[(number + place) % len(classes)]
            key = question_key("label", f"p{number}", f"{number:064x}", subject)
            truth = ("yes", "no")[number % 2] if why == "gold" else ""
            one = {"panel": PANEL, "question": key, "task": number, "kind": "label", "subject": subject}
            asked.append({**one, "why": why, "truth": truth})
    with writing(engine, PANEL) as connection:
        row = {"panel": PANEL, "edition": "e", "questions": "q", "paused": False, "made": NOW}
        connection.execute(insert(panels), row)
        connection.execute(insert(tasks), rows)
        connection.execute(insert(questions), asked)


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


def ask(engine, reviewer="ann", number=1, now=NOW, **others):
    return next_tasks(engine, PANEL, reviewer, number=number, now=now, **{"gold": 0.0, **others})


def ballots(task, reviewer, answer="yes"):
    return [
        Vote(str(uuid.uuid4()), task.kind, task.id, task.sha256, one.subject, reviewer, answer, seconds=2.0)
        for one in task.questions
    ]


def answer(engine, task, reviewer="ann", said="yes", now=NOW):
    results = cast(engine, PANEL, ballots(task, reviewer, said), now, classes=CLASSES)
    assert {one.state for one in results} <= {"kept"}, results


def numbers(found):
    return [task.task for task in found]


def people(engine, *names):
    for name in names:
        join(engine, PANEL, name, NOW)


def test_tasks_come_in_order_and_none_comes_twice(engine):
    make(engine)
    people(engine, "ann")
    first = ask(engine, number=2)
    assert numbers(first) == [0, 1]
    assert {one.subject for one in first[0].questions} == {"heron", "stork"}
    assert numbers(ask(engine, number=2, holding=[0, 1])) == [2, 3]
    for task in first:
        answer(engine, task)
    assert numbers(ask(engine, number=9, holding=[2, 3])) == [4, 5]


def test_no_more_people_are_asked_than_are_wanted(engine):
    make(engine, pictures=1, wanted=2)
    people(engine, "ann", "bob", "cem")
    assert numbers(ask(engine, "ann")) == numbers(ask(engine, "bob")) == [0]
    assert ask(engine, "cem") == []
    assert numbers(ask(engine, "cem", now=NOW + LEASE + 1)) == [0]


def test_a_page_that_holds_a_task_keeps_it(engine):
    make(engine, pictures=1, wanted=1)
    people(engine, "ann", "bob")
    ask(engine, "ann")
    assert ask(engine, "ann", now=NOW + LEASE - 1, holding=[0]) == []
    assert ask(engine, "bob", now=NOW + LEASE + 1) == []
    assert numbers(ask(engine, "bob", now=NOW + 2 * LEASE)) == [0]


@pytest.mark.parametrize("held", [False, True])
def test_claims_end_when_the_clock_is_set_back(engine, held):
    make(engine, pictures=1, wanted=1, labels=1)
    people(engine, "ann", "ben", "cho")
    assert numbers(ask(engine, "ann")) == [0]
    assert ask(engine, "ben", now=NOW - 30) == []  # a clock may be corrected by seconds
    early = NOW - 86_400
    if held:  # a page that is still open keeps its task, for the usual time
        assert ask(engine, "ann", now=early, holding=[0]) == []
        assert ask(engine, "ben", now=early) == []
        early += LEASE + 1
    assert numbers(ask(engine, "ben", now=early)) == [0]
    assert ask(engine, "ann", now=early, resume=True) == []


def test_a_grid_gives_what_a_page_held_before_the_clock_was_set_back(engine):
    make(engine, pictures=4, wanted=1, labels=1)
    people(engine, "ann")
    first = ask(engine, "ann", kind="label", subject="heron")
    assert numbers(ask(engine, "ann", kind="label", subject="heron", now=NOW - 86_400)) == numbers(first) == [0]


def test_only_questions_that_are_left_are_shown(engine):
    make(engine, pictures=1, labels=3)
    people(engine, "ann")
    (task,) = ask(engine)
    cast(engine, PANEL, ballots(task, "ann")[:1], NOW)
    (again,) = ask(engine, now=NOW + LEASE + 1)
    assert {one.question for one in again.questions} == {one.question for one in task.questions[1:]}


def test_a_page_that_was_closed_gets_its_tasks_again_when_others_run_out(engine):
    make(engine, pictures=2)
    people(engine, "ann")
    assert numbers(ask(engine)) == [0]
    assert numbers(ask(engine)) == [1]
    assert numbers(ask(engine)) == [0]


def test_what_is_skipped_comes_after_the_others_and_is_free_for_them(engine):
    make(engine, pictures=3, wanted=1)
    people(engine, "ann", "bob")
    assert numbers(ask(engine)) == [0]
    release_task(engine, PANEL, "ann", 0, NOW)
    assert numbers(ask(engine, "bob")) == [0]
    release_task(engine, PANEL, "bob", 0, NOW)
    assert numbers(ask(engine, number=9)) == [1, 2, 0]


def test_labels_are_in_a_random_order_that_stays(engine):
    make(engine, pictures=40, labels=4)
    people(engine, "ann", "bob")
    shown = [[one.subject for one in task.questions] for task in ask(engine, number=40)]
    later = ask(engine, number=40, now=NOW + LEASE + 1)
    assert sorted(shown) == sorted([one.subject for one in task.questions] for task in later)
    assert len({tuple(one) for one in shown}) > 10
    others = [[one.subject for one in task.questions] for task in ask(engine, "bob", number=40)]
    assert others != shown


def test_what_others_say_of_the_picture_counts_as_their_say(engine):
    make(engine, pictures=1, wanted=2)
    people(engine, "ann", "bob", "cem")
    (task,) = ask(engine, "ann")
    problem = Vote(str(uuid.uuid4()), "problem", task.id, task.sha256, "", "ann", "yes", reason="collage")
    cast(engine, PANEL, [problem], NOW)
    assert ask(engine, "ann", now=NOW + LEASE + 1) == []
    assert numbers(ask(engine, "bob")) == [0]
    assert ask(engine, "cem") == []


def test_a_vote_taken_back_opens_the_task_behind_the_cursors(engine):
    make(engine, pictures=4, wanted=1)
    people(engine, "ann", "bob")
    (task,) = ask(engine, "ann")
    cast(engine, PANEL, (given := ballots(task, "ann")), NOW)
    assert numbers(ask(engine, "bob", number=9)) == [1, 2, 3]
    for one in given:
        withdraw(engine, PANEL, one.vote, "ann", NOW, str(uuid.uuid4()))
    assert ask(engine, "bob", holding=[1, 2, 3]) == []  # it is in ann's hands again
    assert numbers(ask(engine, "ann")) == [0]


def test_a_label_that_is_typed_in_is_asked_of_those_who_had_finished(engine):
    make(engine, pictures=1, wanted=2)
    people(engine, "ann", "bob")
    answer(engine, ask(engine, "ann")[0], "ann")
    (task,) = ask(engine, "bob")
    added = Vote(str(uuid.uuid4()), "label", task.id, task.sha256, "ibis", "bob", "yes")
    cast(engine, PANEL, [*ballots(task, "bob"), added], NOW, classes=CLASSES)
    (again,) = ask(engine, "ann")
    assert [one.subject for one in again.questions] == ["ibis"]


def test_a_label_that_is_typed_in_on_gold_is_asked_of_everybody(engine):
    make(engine, pictures=1, wanted=2, gold=1)
    people(engine, "ann", "bob")
    for who in ("ann", "bob"):
        while found := ask(engine, who, gold=0.4, number=2):
            for task in found:
                answer(engine, task, who)
    added = Vote(str(uuid.uuid4()), "label", "p1", f"{1:064x}", "ibis", "bob", "yes")
    cast(engine, PANEL, [added], NOW, classes=CLASSES)
    (again,) = ask(engine, "ann")
    assert [one.subject for one in again.questions] == ["ibis"]
    answer(engine, again, "ann")
    assert ask(engine, "ann") == ask(engine, "bob") == []


def test_paused_reviewers_and_panels_get_nothing(engine):
    make(engine)
    people(engine, "ann", "bob")
    pause(engine, PANEL, "ann", True)
    assert ask(engine, "ann") == []
    assert ask(engine, "bob")
    pause_panel(engine, PANEL, True)
    assert ask(engine, "bob", now=NOW + LEASE + 1) == []
    with pytest.raises(StoreError, match="has no reviewer 'eve'"):
        ask(engine, "eve")


# ── the grid ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grid_shows_one_class_and_leaves_the_rest_for_later(engine):
    make(engine, pictures=8)
    people(engine, "ann")
    grid = ask(engine, number=9, kind="label", subject="stork")
    assert numbers(grid) == [0, 1, 4, 5]
    assert {one.subject for task in grid for one in task.questions} == {"stork"}
    assert ask(engine, number=9, subject="stork", holding=numbers(grid)) == []
    for task in grid:
        answer(engine, task)
    assert ask(engine, number=9, subject="stork") == []
    other = ask(engine, number=9, subject="heron")
    assert numbers(other) == [0, 3, 4, 7]
    picture = ask(engine, number=9, now=NOW + LEASE + 1)
    assert {one.subject for task in picture if task.task == 1 for one in task.questions} == {"crane"}


def test_two_grids_of_a_reviewer_share_nothing_until_the_end(engine):
    make(engine, pictures=12)
    people(engine, "ann")
    one = ask(engine, number=3, subject="stork")
    other = ask(engine, number=3, subject="stork")
    assert not set(numbers(one)) & set(numbers(other))


def test_a_grid_mixes_in_gold_of_its_class(engine):
    make(engine, pictures=80, gold=40)
    people(engine, "ann")
    grid = ask(engine, number=12, subject="stork", gold=0.1)
    assert {one.subject for task in grid for one in task.questions} == {"stork"}
    assert any(task.task >= 80 for task in grid)
    assert any(task.task < 80 for task in grid)


def test_open_subjects_are_those_that_are_left(engine):
    make(engine, pictures=6, labels=1, gold=4)
    people(engine, "ann", "bob")
    assert open_subjects(engine, PANEL, "ann", "label") == [("heron", 2), ("stork", 2), ("crane", 1), ("ibis", 1)]
    for task in ask(engine, "bob", number=9, subject="heron"):
        answer(engine, task, "bob")
    assert dict(open_subjects(engine, PANEL, "bob", "label")) == {"stork": 2, "crane": 1, "ibis": 1}


# ── gold ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_beginner_gets_mostly_gold_and_later_a_tenth(engine):
    make(engine, pictures=160, wanted=5, gold=60, labels=1)
    people(engine, "ann")
    shown = []
    while len(shown) < 130:
        shown += (found := ask(engine, number=10, gold=0.1))
        cast(engine, PANEL, [vote for task in found for vote in ballots(task, "ann")], NOW)
    gold = [task.task >= 160 for task in shown]
    assert LEAST <= sum(gold[:FIRST]) <= FIRST * FIRST_SHARE + 1
    for answers in range(10, 131, 10):
        assert sum(gold[:answers]) >= max(0.1 * answers, gold_target(answers, 0.1) - 1)
    assert sum(gold) <= gold_target(130, 0.1) + 1
    assert len({tuple(gold[start : start + 10]) for start in range(30, 130, 10)}) > 3  # no pattern to be learnt


def test_reviewers_see_different_gold(engine):
    make(engine, pictures=60, wanted=5, gold=60, labels=1)
    people(engine, "ann", "bob")
    seen = [
        [task.task for task in ask(engine, name, number=30, gold=0.1) if task.task >= 60] for name in ("ann", "bob")
    ]
    assert min(map(len, seen)) >= LEAST
    assert seen[0] != seen[1]
    with reading(engine) as connection:
        pool = pool_of(connection, engine, PANEL)
    assert seen[0] == list(order_of(pool, "ann", ("label", "copy", "edit", "box", "safe"), None))[: len(seen[0])]


def test_nobody_is_asked_gold_when_nothing_else_is_left(engine):
    make(engine, pictures=1, gold=20)
    people(engine, "ann")
    found = ask(engine, number=9, gold=0.1)
    while 0 not in numbers(found):
        found += ask(engine, number=9, gold=0.1, holding=numbers(found))
    for task in found:
        answer(engine, task)
    assert ask(engine, number=9, gold=0.1) == []


def test_without_gold_wanted_none_is_due():
    assert gold_target(100, 0.0) == 0
    assert not any(is_gold_due(asked, 0, 0.0, "seed") for asked in range(100))


# ── what was said ────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_complete_questions_without_unanimity_are_discussed(engine):
    make(engine, pictures=3, wanted=2)
    people(engine, "ann", "bob")
    for name, said in (("ann", "yes"), ("bob", "no")):
        for task in ask(engine, name, number=2 if name == "bob" else 3):
            answer(engine, task, name, said if task.task else "yes")
    (task,) = disputed(engine, PANEL, after=-1, number=9)
    assert (task.task, disputed_left(engine, PANEL)) == (1, 1)
    assert [(one.reviewer, one.answer) for one in task.questions[0].votes] == [("ann", "yes"), ("bob", "no")]
    assert disputed(engine, PANEL, after=1, number=9) == []
    decide = Vote(str(uuid.uuid4()), "label", task.id, task.sha256, task.questions[0].subject, "ann", "no", round=2)
    cast(engine, PANEL, [decide], NOW)
    (task,) = disputed(engine, PANEL, after=-1, number=9)
    assert len(task.questions) == 1


def test_progress_counts_and_compares_on_complete_questions_only(engine, database):
    make(engine, pictures=4, wanted=2, labels=1)
    people(engine, "ann", "bob")
    assert progress(engine, PANEL, "ann", NOW) == {
        "answered": 0, "left": 4, "seconds_per_answer": None, "agreement": None,
    }  # fmt: skip
    for name, number in (("ann", 3), ("bob", 2)):
        for task in ask(engine, name, number=number):
            answer(engine, task, name, "yes" if task.task else "no" if name == "ann" else "yes")
    fresh = open_database(database)  # estimates are kept for a while
    assert progress(fresh, PANEL, "ann", NOW) == {
        "answered": 3, "left": 1, "seconds_per_answer": 2.0, "agreement": 0.5,
    }  # fmt: skip
    fresh.dispose()


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_twenty_at_once_are_given_nothing_twice_and_nothing_too_often(engine):
    wanted, pictures = 3, 12
    make(engine, pictures=pictures, wanted=wanted, labels=1)
    names = [f"r{number}" for number in range(20)]
    people(engine, *names)
    failed = []

    def review(name):
        try:
            while found := ask(engine, name, number=3):
                for task in found:
                    answer(engine, task, name)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=review, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with reading(engine) as connection:
        given = Counter(connection.scalars(select(votes.c.question)))
        claimed = Counter(connection.scalars(select(claims.c.task)))
    assert set(given.values()) == {wanted}
    assert set(claimed.values()) == {wanted}
    assert len(given) == pictures


class Panel(RuleBasedStateMachine):
    """People who come and go in any order: what is handed out stays within the rules."""

    WANTED, PEOPLE = 2, ("ann", "bob", "cem")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = open_database(str(Path(self.folder.name) / "votes.sqlite"))
        self.now = NOW
        make(self.engine, pictures=4, wanted=self.WANTED, gold=2)
        people(self.engine, *self.PEOPLE)
        self.hands = {name: {} for name in self.PEOPLE}
        self.given = {name: {} for name in self.PEOPLE}
        self.late = Counter()

    def teardown(self):
        self.engine.dispose()
        self.folder.cleanup()

    @rule(name=st.sampled_from(PEOPLE), number=st.integers(1, 3), subject=st.sampled_from((None, None, *CLASSES)))
    def ask(self, name, number, subject):
        hand = self.hands[name]
        found = ask(self.engine, name, number, self.now, subject=subject, gold=0.1, holding=list(hand))
        assert len(found) <= number
        for task in found:
            assert task.task not in hand
            assert task.questions
            assert not {one.question for one in task.questions} & set(self.given[name])
            hand[task.task] = task

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data(), said=st.sampled_from(("yes", "no", "unclear")))
    def answer(self, data, said):
        name = data.draw(st.sampled_from([name for name, hand in self.hands.items() if hand]))
        task = self.hands[name].pop(data.draw(st.sampled_from(sorted(self.hands[name]))))
        some = data.draw(st.integers(1, len(task.questions)))
        for one in ballots(task, name, said)[:some]:
            (result,) = cast(self.engine, PANEL, [one], self.now)
            assert result.state == "kept", result
            self.given[name][one.question] = one.vote

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data())
    def skip(self, data):
        name = data.draw(st.sampled_from([name for name, hand in self.hands.items() if hand]))
        number = data.draw(st.sampled_from(sorted(self.hands[name])))
        del self.hands[name][number]
        release_task(self.engine, PANEL, name, number, self.now)

    @rule()
    def wait(self):
        """Claims run out, and the pages that held them are closed or, worse, still open."""
        self.now += LEASE + 1
        for hand in self.hands.values():
            for task in hand.values():
                for one in task.questions:
                    self.late[one.question] += 1

    @rule(name=st.sampled_from(PEOPLE))
    def close(self, name):
        self.hands[name].clear()

    @precondition(lambda self: any(self.given.values()))
    @rule(data=st.data())
    def take_back(self, data):
        name = data.draw(st.sampled_from([name for name, given in self.given.items() if given]))
        question = data.draw(st.sampled_from(sorted(self.given[name])))
        withdraw(self.engine, PANEL, self.given[name].pop(question), name, self.now, str(uuid.uuid4()))

    @invariant()
    def nothing_is_voted_on_too_often(self):
        with reading(self.engine) as connection:
            for row in connection.execute(select(questions).where(questions.c.why != "gold")):
                assert row.votes <= self.WANTED + self.late[row.question]

    @invariant()
    def counters_are_right(self):
        assert recount(self.engine, PANEL) == []


Panel.TestCase.settings = settings(
    max_examples=6, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPanel = Panel.TestCase


def test_whatever_happened_the_panel_can_be_finished(engine):
    make(engine, pictures=8, wanted=2, gold=4)
    people(engine, "ann", "bob", "cem")
    for step, name in zip(range(9), itertools.cycle(("ann", "bob", "cem"))):
        found = ask(engine, name, number=2, now=NOW + step, gold=0.1)
        if step % 3 == 1:
            release_task(engine, PANEL, name, found[0].task, NOW + step)
        elif step % 3 == 2:
            cast(engine, PANEL, ballots(found[0], name)[:1], NOW + step)
    now = NOW + 2 * LEASE
    while any(turn := [(name, task) for name in ("ann", "bob", "cem") for task in ask(engine, name, 1, now, gold=0.1)]):
        for name, task in turn:
            answer(engine, task, name)
    with reading(engine) as connection:
        left = connection.execute(select(questions).where(questions.c.why != "gold", questions.c.votes != 2)).all()
    assert left == []
