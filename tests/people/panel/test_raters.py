import uuid
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import insert, select

from variorum.kit.raters.agreement import krippendorff_alpha
from variorum.kit.raters.dawid_skene import dawid_skene
from variorum.people.panel.dispatch import next_tasks
from variorum.people.panel.raters import agreement, coverage, hasty, raters
from variorum.people.votes.ballots import cast, counted, join, pause, withdraw
from variorum.people.votes.database import open_database, panels, questions, reading, tasks, writing
from variorum.schemas.vote import ANSWERS, Vote, question_key

PANEL = "panel@1.0.0/main"
NOW = 1_000_000.0
GOLD, DOUBTED = 40, 60
HABITS = {
    "ann": [[0.94, 0.04, 0.02], [0.06, 0.06, 0.88]],
    "bob": [[0.90, 0.06, 0.04], [0.08, 0.12, 0.80]],
    "cem": [[0.95, 0.03, 0.02], [0.05, 0.10, 0.85]],
    "coin": [[0.5, 0, 0.5], [0.5, 0, 0.5]],
    "yes": [[0, 0, 1], [0, 0, 1]],
    "right": [[1, 0, 0], [0, 0, 1]],
}


def truth_of(number):
    return int(number * 7919 % 10 < (5 if number >= DOUBTED else 4))


def make(engine, wanted):
    rows, asked = [], []
    for number in range(DOUBTED + GOLD):
        why = "gold" if number >= DOUBTED else "asked"
        row = {"panel": PANEL, "task": number, "kind": "label", "id": f"p{number}", "sha256": f"{number:064x}"}
        rows.append({**row, "why": why, "wanted": wanted, "open": True, "disputed": False})
        key = question_key("label", f"p{number}", f"{number:064x}", "heron")
        truth = ("no", "yes")[truth_of(number)] if why == "gold" else ""
        one = {"panel": PANEL, "question": key, "task": number, "kind": "label", "subject": "heron"}
        asked.append({**one, "why": why, "truth": truth})
    with writing(engine, PANEL) as connection:
        connection.execute(
            insert(panels), {"panel": PANEL, "edition": "e", "questions": "q", "paused": False, "made": NOW}
        )
        connection.execute(insert(tasks), rows)
        connection.execute(insert(questions), asked)
    for name in HABITS:
        join(engine, PANEL, name, NOW)


def review(engine, name, answers, seed=0, seconds=3.0):
    """Answer what is handed out, by habit, until so many answers or nothing is left."""
    rng, given = np.random.default_rng([seed, *name.encode()]), 0
    while given < answers:
        found = next_tasks(engine, PANEL, name, number=min(10, answers - given), now=NOW)
        if not found:
            break
        said = [ANSWERS[rng.choice(3, p=HABITS[name][truth_of(task.task)])] for task in found]
        votes = [
            Vote(str(uuid.uuid4()), "label", task.id, task.sha256, "heron", name, one, seconds=seconds)
            for task, one in zip(found, said, strict=True)
        ]
        assert {result.state for result in cast(engine, PANEL, votes, NOW)} == {"kept"}
        given += len(votes)
    return given


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """A finished panel of three careful raters, in which somebody clicked at random for thirty answers."""
    engine = open_database(str(tmp_path_factory.mktemp("panel") / "votes.sqlite"))
    make(engine, wanted=3)
    assert review(engine, "coin", 30) == 30
    for name in ("ann", "bob", "cem"):
        review(engine, name, 200)
    yield engine
    engine.dispose()


def test_who_clicks_at_random_is_found_within_thirty_answers_and_nobody_else(panel):
    found = {one.reviewer: one for one in raters(panel, PANEL)}
    assert [name for name, one in found.items() if one.suspect] == ["coin"]
    assert found["coin"].answers == 30
    assert "by a coin" in found["coin"].why
    assert found["ann"].why == ""
    assert found["coin"].bits < 0.2 < min(found[name].bits for name in ("ann", "bob", "cem"))
    assert found["coin"].agreement < min(found[name].agreement for name in ("ann", "bob", "cem"))


def test_who_is_fast_and_guesses_is_warned_within_a_dozen_answers_and_may_start_anew(tmp_path):
    engine = open_database(str(tmp_path / "votes.sqlite"))
    make(engine, wanted=3)
    review(engine, "yes", 12, seconds=0.9)
    found = hasty(engine, PANEL, "yes")
    assert found.seconds == 0.9
    mine = next(one for one in raters(engine, PANEL) if one.reviewer == "yes")
    assert mine.suspect
    assert "0.9 s an answer" in mine.why
    review(engine, "yes", 12, seconds=0.9)
    assert hasty(engine, PANEL, "yes").sure  # enough to be paused
    assert pause(engine, PANEL, "yes", True)
    assert hasty(engine, PANEL, "yes") is not None
    assert pause(engine, PANEL, "yes", False)
    assert hasty(engine, PANEL, "yes") is None
    engine.dispose()


def test_neither_pace_nor_mistakes_alone_warn_anybody(tmp_path):
    engine = open_database(str(tmp_path / "votes.sqlite"))
    make(engine, wanted=3)
    for name, seconds in (("right", 0.4), ("coin", 3.0)):
        for _ in range(4):
            review(engine, name, 10, seconds=seconds)
            assert hasty(engine, PANEL, name) is None
    assert hasty(engine, PANEL, "coin", below=5.0) is not None
    engine.dispose()


def test_gold_is_counted_with_its_interval(panel):
    found = {one.reviewer: one for one in raters(panel, PANEL)}
    table = counted(panel, PANEL).to_pylist()
    mine = [row for row in table if row["reviewer"] == "ann" and int(row["id"][1:]) >= DOUBTED]
    right = sum(row["answer"] == ("no", "yes")[truth_of(int(row["id"][1:]))] for row in mine)
    gold = found["ann"].gold
    assert (gold.right, gold.of) == (right, len(mine))
    assert gold.low < right / len(mine) < gold.high
    assert found["ann"].seconds_per_answer == 3.0


def test_agreement_is_that_of_the_votes(panel):
    said = agreement(panel, PANEL)
    table = counted(panel, PANEL).to_pylist()
    keys = sorted({row["id"] for row in table})
    counts = np.array([[sum(r["id"] == key and r["answer"] == one for r in table) for one in ANSWERS] for key in keys])
    assert said.alpha == pytest.approx(krippendorff_alpha(counts))
    assert said.questions == (counts.sum(axis=1) >= 2).sum()
    assert 0 < said.ac1 < 1


def test_the_truth_comes_out_of_what_was_handed_out(panel):
    table = [row for row in counted(panel, PANEL).to_pylist() if int(row["id"][1:]) < DOUBTED]
    names = sorted(HABITS)
    cells = np.array([int(row["id"][1:]) for row in table])
    answers = np.array([ANSWERS.index(row["answer"]) for row in table])
    assert np.bincount(cells).tolist() == [3] * DOUBTED
    p = dawid_skene(cells, np.array([names.index(row["reviewer"]) for row in table]), answers, pooling=10).p
    truth = np.array([truth_of(number) for number in range(DOUBTED)])
    assert ((p >= 0.5) == truth).mean() >= 0.95


def test_coverage_says_what_is_left(database):
    engine = open_database(database)
    make(engine, wanted=2)
    empty = coverage(engine, PANEL)
    assert (empty.questions, empty.complete, empty.votes, empty.answers) == (DOUBTED, 0, {0: DOUBTED}, 2 * DOUBTED)
    assert empty.clicks == round(2 * DOUBTED / 0.9)
    assert empty.seconds is None
    review(engine, "ann", 100)
    with reading(engine) as connection:
        given = list(connection.scalars(select(questions.c.votes).where(questions.c.why != "gold")))
    found = coverage(engine, PANEL)
    assert found.votes == {votes: given.count(votes) for votes in sorted(set(given))}
    assert found.answers == 2 * DOUBTED - sum(given)
    assert found.kinds == {"label": (DOUBTED, DOUBTED)}
    assert found.seconds == pytest.approx(3.0 * found.clicks)
    engine.dispose()


def test_what_is_kept_follows_the_votes(database):
    engine = open_database(database)
    make(engine, wanted=2)
    assert [(one.reviewer, one.answers, one.suspect) for one in raters(engine, PANEL)] == [
        (name, 0, False) for name in sorted(HABITS)
    ]
    assert agreement(engine, PANEL).alpha is None
    (task,) = next_tasks(engine, PANEL, "ann", number=1, now=NOW, gold=0)
    vote = Vote(str(uuid.uuid4()), "label", task.id, task.sha256, "heron", "ann", "yes")
    cast(engine, PANEL, [vote], NOW)
    assert raters(engine, PANEL)[0].answers == 1
    withdraw(engine, PANEL, vote.vote, "ann", NOW, str(uuid.uuid4()))
    pause(engine, PANEL, "ann", True)
    found = raters(engine, PANEL)[0]
    assert (found.reviewer, found.answers, found.paused, found.gold.of) == ("ann", 0, True, 0)
    engine.dispose()


def naive(engine):
    """Answers, gold right and of, and agreement by reviewer, from the table of all votes that count."""
    table = [row for row in counted(engine, PANEL).to_pylist() if row["round"] == 1 and row["kind"] != "problem"]
    found = {}
    for name in {row["reviewer"] for row in table}:
        mine = {row["question"]: row for row in table if row["reviewer"] == name}
        gold = [row for row in mine.values() if int(row["id"][1:]) >= DOUBTED]
        right = sum(row["answer"] == ("no", "yes")[truth_of(int(row["id"][1:]))] for row in gold)
        others = [row for row in table if row["reviewer"] != name and row["question"] in mine]
        same = [row["answer"] == mine[row["question"]]["answer"] for row in others]
        found[name] = len(mine), right, len(gold), pytest.approx(sum(same) / len(same)) if same else None
    return found


def quick(engine):
    rows = [one for one in raters(engine, PANEL) if one.answers]
    return {one.reviewer: (one.answers, one.gold.right, one.gold.of, one.agreement) for one in rows}


def test_what_is_added_up_is_what_a_count_of_all_votes_gives(database):
    engine = open_database(database)
    make(engine, wanted=2)
    rng, kept = np.random.default_rng(0), []
    for step in range(8):
        name = sorted(HABITS)[step % len(HABITS)]
        for task in next_tasks(engine, PANEL, name, number=4, now=NOW):
            said = ANSWERS[rng.integers(3)]
            kept.append(Vote(str(uuid.uuid4()), "label", task.id, task.sha256, "heron", name, said))
            cast(engine, PANEL, [kept[-1]], NOW)
        other = kept.pop(rng.integers(len(kept)))
        withdraw(engine, PANEL, other.vote, other.reviewer, NOW, str(uuid.uuid4()))
        old = kept.pop(rng.integers(len(kept)))
        again = replace(old, vote=str(uuid.uuid4()), answer=ANSWERS[rng.integers(3)], replaces=old.vote)
        problem = replace(old, vote=str(uuid.uuid4()), kind="problem", subject="", answer="yes", reason="collage")
        assert {one.state for one in cast(engine, PANEL, [again], NOW)} == {"kept"}
        cast(engine, PANEL, [problem], NOW)
        kept.append(again)
        assert quick(engine) == naive(engine)
    fresh = open_database(database)
    assert quick(fresh) == naive(fresh)
    fresh.dispose()
    engine.dispose()


def test_a_large_panel_is_judged_on_a_sample_of_its_questions(panel, monkeypatch):
    from variorum.people.panel import raters as module

    whole = agreement(panel, PANEL)
    everybody = {one.reviewer: one for one in raters(panel, PANEL)}
    monkeypatch.setattr(module, "SAMPLE", 150)
    again = open_database(panel.url.database)
    some = agreement(again, PANEL)
    table = counted(panel, PANEL).to_pylist()
    share = 150 / len(table)
    low = [row["question"] for row in table if row["question"] < f"{int(share * 16**8):08x}"]
    pairs = sum(low.count(key) >= 2 for key in set(low))
    assert 0 < some.questions == round(pairs / share)
    assert some.alpha != whole.alpha
    assert some.alpha == pytest.approx(whole.alpha, abs=0.15)
    for one in raters(again, PANEL):
        same = everybody[one.reviewer]
        assert (one.answers, one.gold, one.suspect, one.why) == (same.answers, same.gold, same.suspect, same.why)
        assert one.bits == pytest.approx(same.bits, abs=0.3)
    again.dispose()
