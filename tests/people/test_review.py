import csv

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.curation.people.review import ENOUGH, Review, calibrate
from variorum.edition.verdicts import settle, verdict_table, verdicts_of
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.table import Table
from variorum.schemas.verdict import Verdict
from variorum.stages.decide import add_verdicts
from variorum.stages.queue import review_queue

CONTEXT = Context(0, None, None)


def edition(chance, asked, worth=None, action="review") -> tuple[pa.Table, pa.Table]:
    """A table, and the verdicts of the rules that ask about some of its pictures."""
    n = len(chance)
    ids = [f"{place:04d}" for place in range(n)]
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "sha256": pa.array([f"hash {one}" for one in ids], pa.string()),
            "variant": pa.array(["original"] * n, pa.string()),
            "labels": pa.array([["cat"]] * n, pa.list_(pa.string())),
            "origin": pa.array(ids, pa.string()),
            "s.chance": pa.array(np.asarray(chance, np.float64)),
        }
    )
    worths = chance if worth is None else worth
    rules = [Verdict(ids[k], f"hash {ids[k]}", action, "policy", "doubtful", worth=float(worths[k])) for k in asked]
    return table, verdict_table(rules, table)


def reviewed(table, rules, **fields) -> tuple[dict[str, Verdict], dict, pa.Table]:
    """What all verdicts come to by picture, the figures, and all verdicts."""
    step = Review(chance="s.chance", **fields)
    seen = Table(add_verdicts(table, rules), "review")
    said = pa.concat_tables([rules, verdict_table(step.decide(seen, CONTEXT), table)])
    return {one.id: one for one in verdicts_of(settle(said))}, dict(step.figures(seen, CONTEXT)), said


def asked(found) -> list[int]:
    return sorted(int(name) for name, one in found.items() if one.action == "review")


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "sha256", "wrong"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_without_a_budget_every_question_is_asked_and_no_other():
    table, rules = edition(np.linspace(0, 0.9, 10), [1, 5, 9])
    found, figures, _ = reviewed(table, rules)
    assert asked(found) == [1, 5, 9]
    assert (figures["asked"], figures["left_out"], figures["added"]) == (3, 0, 0)


def test_a_budget_takes_the_best_questions_of_all_reasons():
    chance = np.linspace(0, 0.9, 10)
    table, rules = edition(chance, [1, 5, 9], worth=[0.99, 0.99, 0, 0, 0, 0.2, 0, 0, 0, 0.9])
    found, figures, _ = reviewed(table, rules, budget=2)
    assert asked(found) == [1, 9]
    assert (found["0005"].action, found["0005"].reason) == ("unasked", "beyond_budget")
    assert "leaves 1 other questions unasked" in figures["findings"][0]
    assert figures["expected_faults"]["left_out"] is None  # nobody has answered yet


def test_a_budget_that_the_rules_leave_open_is_filled_with_the_next_most_suspect():
    table, rules = edition(np.linspace(0, 0.9, 10), [2])
    found, figures, _ = reviewed(table, rules, budget=4)
    assert asked(found) == [6, 7, 8, 9]  # worth more than the question
    assert found["0009"].reason == "next_most_suspect"
    assert (figures["left_out"], figures["added"]) == (1, 4)


def test_dropped_and_relabelled_pictures_are_never_added():
    table, rules = edition(np.linspace(0, 0.9, 10), [7, 8, 9], action="drop")
    assert asked(reviewed(table, rules, budget=2)[0]) == [5, 6]


def test_what_is_answered_is_not_asked_again_but_may_be_a_control(tmp_path):
    table, rules = edition(np.linspace(0, 0.9, 40), range(20, 40))
    rows = [{"id": f"{k:04d}", "sha256": f"hash {k:04d}", "wrong": int(k > 37)} for k in range(36, 40)]
    found, figures, said = reviewed(table, rules, gold=0.1, answers=write(tmp_path / "a.csv", rows))
    assert asked(found) == list(range(20, 36))
    assert {found[f"{k:04d}"].reason for k in range(36, 40)} == {"answered"}
    controls = [one.id for one in verdicts_of(said) if one.reason == "gold"]
    assert len(controls) == figures["controls"] == 2  # a tenth of 16, rounded up: one of each answer
    assert sum(name in ("0038", "0039") for name in controls) == 1
    lines = "".join(review_queue(said, table)).splitlines()[1:]
    places = [place for place, line in enumerate(lines) if line[:4] in controls]
    assert len(lines) == 18
    assert 0 < places[0] < places[1] < 17  # spread over the queue


def test_what_was_drawn_and_is_answered_leaves_the_queue(tmp_path):
    table, rules = edition(np.linspace(0, 0.9, 10), [9])
    drawn = [Verdict(f"{k:04d}", f"hash {k:04d}", "audit", "audit", "drawn") for k in (1, 2)]
    rules = pa.concat_tables([rules, verdict_table(drawn, table)])
    rows = [{"id": "0001", "sha256": "hash 0001", "wrong": 0}]
    _, _, said = reviewed(table, rules, gold=0, answers=write(tmp_path / "a.csv", rows))
    assert [line[:4] for line in "".join(review_queue(said, table)).splitlines()[1:]] == ["0009", "0002"]


def test_answers_calibrate_the_chances_once_there_are_enough(tmp_path):
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.02, 0.98, 600)
    truth = rng.random(600) < chance**3  # the chances are too high
    table, rules = edition(chance, np.flatnonzero(chance > 0.5))
    rows = [{"id": f"{k:04d}", "sha256": f"hash {k:04d}", "wrong": int(truth[k])} for k in rng.permutation(600)[:100]]
    few = reviewed(table, rules, answers=write(tmp_path / "few.csv", rows[: ENOUGH - 1]))[1]
    assert few["expected_faults"] == {"asked": None, "left_out": None, "all_others": None}
    _, figures, _ = reviewed(table, rules, budget=80, answers=write(tmp_path / "all.csv", rows))
    answered = [int(row["id"]) for row in rows]
    total = sum(figures["expected_faults"].values())
    assert total == pytest.approx(truth.sum() - truth[answered].sum(), rel=0.25)
    assert figures["answers"] == 100
    found = reviewed(table, rules, budget=80, answers=tmp_path / "all.csv")[0]
    assert len(asked(found)) == 80
    best = sorted((one.worth for one in found.values() if one.action == "review"), reverse=True)
    assert best[0] < 0.98  # no longer what the rule said


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30),
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30),
)
def test_calibration_keeps_the_order(chance, answers):
    given_chance, wrong = (np.array(column, np.float64) for column in zip(*answers, strict=True))
    better = calibrate(np.array(chance), given_chance, wrong)
    assert ((better >= 0) & (better <= 1)).all()
    order = np.argsort(chance, kind="stable")
    assert (np.diff(better[order]) >= -1e-9).all()


@given(st.permutations(range(12)), st.integers(0, 12))
def test_the_order_of_rows_changes_nothing(order, budget):
    chance = np.array([0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.9, 0.9, 0.9, 0.2, 0.3, 0.4])
    table, rules = edition(chance, [0, 3, 4, 6, 7])
    first = asked(reviewed(table, rules, budget=budget)[0])
    assert asked(reviewed(table.take(list(order)), rules, budget=budget)[0]) == first
    assert len(first) == budget


def test_refused_values(tmp_path):
    table, rules = edition([0.5, 1.5], [0])
    with pytest.raises(RecipeError, match=r"curate\.review\.chance: s\.chance runs from 0\.5 to 1\.5"):
        reviewed(table, rules)
    with pytest.raises(SourceError, match=r"curate\.review\.answers: .*none\.csv can't be read"):
        Review(answers=tmp_path / "none.csv").check(CONTEXT)
    with pytest.raises(RecipeError, match="an edition has no column 'chance'"):
        Review(chance="chance").check(CONTEXT)
    with pytest.raises(RecipeError, match=r"curate\.review\.chance: quality\.issue holds texts, not numbers"):
        Review(chance="quality.issue").check_columns({"quality": {"issue": "texts"}})


def test_an_empty_edition_and_one_without_chances():
    table, rules = edition([], [])
    assert reviewed(table, rules, budget=3)[0] == {}
    table, rules = edition([np.nan] * 4, [1, 2], worth=[np.nan] * 4)
    assert asked(reviewed(table, rules, budget=1)[0]) == [1]
