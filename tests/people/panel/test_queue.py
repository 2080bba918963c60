"""The queue of a panel: what is asked, in which order, and which controls are among it."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from asked_pictures import classes, drawn, pictures_of
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.edition.verdicts import verdict_table
from variorum.people.panel.controls import read_gold
from variorum.people.panel.panel import parquet_of
from variorum.people.panel.proposals import label_cells
from variorum.people.panel.queue import COLUMNS, counts, questions_of
from variorum.people.panel.settings import Settings
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.verdict import Verdict

WHOLE = settings(max_examples=25)


def asked(pictures, *, answers=None, known=None, **fields):
    return questions_of(pictures, Settings(**fields), answers, known=known)


def rows(table):
    return table.to_pylist()


def by_task(table):
    found = defaultdict(list)
    for row in rows(table):
        found[row["task"]].append(row)
    return found


# ── what holds of every queue ────────────────────────────────────────────────────────────────────────────────────────


@WHOLE
@given(
    n=st.integers(0, 120), k=st.integers(2, 12), seed=st.integers(0, 99), cap=st.integers(1, 8), right=st.floats(0, 1)
)
def test_every_queue(n, k, seed, cap, right):
    pictures = pictures_of(drawn(n, k, seed, right), k)
    table = asked(pictures, cap=cap, seed=seed)
    assert tuple(table.column_names) == COLUMNS
    found = rows(table)
    keys = [(row["kind"], row["id"], row["subject"]) for row in found]
    assert len(set(keys)) == len(keys)
    assert [row["task"] for row in found] == sorted(row["task"] for row in found)
    assert set(table["task"].to_pylist()) == set(range(counts(table)["tasks"]))
    label = dict(zip(pictures.ids.to_pylist(), pictures.column("label").tolist(), strict=True))
    for task in by_task(table).values():
        assert len(task) <= cap + (cap == 1)
        assert len({row["id"] for row in task}) == 1
        whys = {row["why"] for row in task}
        assert len(whys) == 1  # what everybody is asked isn't in a gold task, which only some are
        if whys != {"gold"}:
            assert f"c{label[task[0]['id']]}" in {row["subject"] for row in task}
    assert all((row["truth"] != "") == (row["why"] != "asked") for row in found)
    assert all(row["presumed"] == (row["why"] != "asked") for row in found)  # no file has any answer
    assert all(row["worth"] >= 0 for row in found)


@WHOLE
@given(seed=st.integers(0, 999))
def test_the_order_of_rows_decides_nothing(seed):
    columns = drawn(60, 5, seed)
    shuffled = np.random.default_rng(seed).permutation(60).tolist()
    first, second = (asked(pictures_of(columns, 5, order=order), seed=3) for order in (None, shuffled))
    assert parquet_of(first) == parquet_of(second)
    assert parquet_of(first) != parquet_of(asked(pictures_of(columns, 5), seed=4))


@WHOLE
@given(seed=st.integers(0, 99), gold=st.sampled_from([0.0, 0.1, 0.2]), agreed=st.sampled_from([0.0, 0.1, 0.2]))
def test_the_controls_have_their_shares_in_both_polarities(seed, gold, agreed):
    table = asked(pictures_of(drawn(600, 10, seed, 0.9), 10), gold=gold, agreed=agreed)
    number = counts(table)
    assert number["gold"] >= gold * number["questions"]
    assert number["agreed"] >= agreed * number["questions"]
    assert number["gold"] <= 1.3 * gold * number["questions"] + 3
    assert number["gold"] == number["gold_yes"] + number["gold_no"]
    tasks = [[row["truth"] for row in task] for task in by_task(table).values() if task[0]["why"] == "gold"]
    assert all(task.count("yes") == 1 for task in tasks if len(task) > 1)
    alone = Counter(task[0] for task in tasks if len(task) == 1)
    assert abs(alone["yes"] - alone["no"]) <= 1


def test_controls_are_spread_and_look_like_other_tasks():
    table = asked(pictures_of(drawn(3000, 20, 0, 0.8), 20))
    tasks = list(by_task(table).values())
    whys = ["gold" if "gold" in {row["why"] for row in task} else task[0]["why"] for task in tasks]
    for why in ("gold", "agreed"):
        tenths = np.histogram([place for place, one in enumerate(whys) if one == why], 10, (0, len(tasks)))[0]
        assert tenths.min() > 0.4 * tenths.mean()
    sizes = {why: np.mean([len(t) for t, one in zip(tasks, whys, strict=True) if one == why]) for why in set(whys)}
    assert abs(sizes["gold"] - sizes["asked"]) < 0.4
    assert abs(sizes["agreed"] - sizes["asked"]) < 0.4


def test_a_presumed_no_is_a_class_that_nobody_proposes():
    pictures = pictures_of(drawn(400, 8, 1), 8)
    cells = label_cells(pictures, Settings())
    proposed = set(zip(pictures.ids.take(cells.picture).to_pylist(), cells.label.tolist(), strict=True))
    found = [row for row in rows(asked(pictures)) if (row["why"], row["truth"]) == ("gold", "no")]
    assert found
    assert not [row for row in found if (row["id"], int(row["subject"][1:])) in proposed]


# ── doubt ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_doubt_by_hand():
    columns = {
        "label": [0, 0, 0, 1],
        "labels": [["c0"], ["c0"], ["c0"], ["c1"]],
        "neighbours.proposed": [0, 1, -1, 1],
        "probabilities.p": np.array([[0.9, 0.1, 0], [0.25, 0.75, 0], [np.nan] * 3, [0.0, 1, 0]], np.float32),
    }
    columns["label"] = np.array(columns["label"])
    columns["neighbours.proposed"] = np.array(columns["neighbours.proposed"])
    # the third class occurs nowhere, so the probabilities are of two
    columns["probabilities.p"] = columns["probabilities.p"][:, :2]
    pictures = pictures_of(columns, 3)
    cells = label_cells(pictures, Settings())
    origin = pictures.arrow("origin").take(cells.picture).to_pylist()
    found = {
        (one, int(label)): (q, d) for one, label, q, d in zip(origin, cells.label, cells.q, cells.doubt, strict=True)
    }
    assert found["0.jpg", 0] == pytest.approx((2.9 / 3, 4 * 2.9 / 3 * 0.1 / 3), abs=1e-6)
    assert found["1.jpg", 0] == pytest.approx((1.25 / 3, 4 * 1.25 * 1.75 / 9), abs=1e-6)
    assert found["1.jpg", 1] == pytest.approx((1.75 / 3, 4 * 1.25 * 1.75 / 9), abs=1e-6)
    assert found["2.jpg", 0] == (1, 0.2)  # nobody has judged it
    assert found["3.jpg", 1] == (1, 0)
    assert ("0.jpg", 1) not in found  # .1 isn't above .1
    doubted = dict(zip(pictures.arrow("origin").to_pylist(), cells.doubted(4).tolist(), strict=True))
    assert doubted == {"0.jpg": False, "1.jpg": True, "2.jpg": True, "3.jpg": False}


def test_rare_classes_come_first():
    label = np.array([0] * 100 + [1] * 4 + [2] * 100)
    columns = {
        "label": label,
        "labels": [[f"c{one}"] for one in label],
        "neighbours.proposed": np.where(np.arange(204) % 2 == 0, label, 2),
    }
    table = asked(pictures_of(columns, 3), gold=0, agreed=0)
    first = [row["subject"] for row in rows(table) if row["subject"] != "c2"][:2]
    assert first == ["c1", "c1"]


def test_a_budget_takes_the_most_informative_and_then_what_nobody_doubts():
    pictures = pictures_of(drawn(200, 6, 5, 0.9), 6)
    whole = asked(pictures, gold=0, agreed=0)
    worth = sorted((max(r["worth"] for r in task) for task in by_task(whole).values()), reverse=True)
    some = asked(pictures, budget=20, gold=0, agreed=0)
    assert 15 < len(some) <= 20
    kept = [max(r["worth"] for r in task) for task in by_task(some).values()]
    assert kept == worth[: len(kept)]
    assert counts(asked(pictures, budget=10_000, gold=0, agreed=0))["tasks"] == 200
    assert counts(whole)["tasks"] < 200


def test_models_that_do_not_know_a_class_do_not_contradict_it():
    columns = {
        "label": np.array([0, 0]),
        "labels": [["c0"], ["c0"]],
        "candidates.proposals": np.array([[0, 1], [0, 1]]),
        "candidates.chances": np.array([[0.99, np.nan, 0.0, 0.2], [0.99, 0.0, 0.0, 0.9]]),
    }
    pictures = pictures_of(columns, 2)
    cells = label_cells(pictures, Settings())
    origin = pictures.arrow("origin").take(cells.picture).to_pylist()
    q = {(one, int(label)): q for one, label, q in zip(origin, cells.label, cells.q, strict=True)}
    assert q["0.jpg", 0] == pytest.approx(1.99 / 2)
    assert q["1.jpg", 0] == pytest.approx(1.99 / 3)


def test_a_given_label_of_which_no_model_knows_the_class_is_a_question():
    columns = {
        "label": np.array([0, 1]),
        "labels": [["c0"], ["c1"]],
        "candidates.proposals": np.array([[0, -1], [1, -1]]),
        "candidates.chances": np.array([[np.nan, np.nan, 0.0, 0.0], [0.99, 0.98, 0.0, 0.0]]),
    }
    found = rows(asked(pictures_of(columns, 2), gold=0, agreed=0))
    assert [(row["subject"], row["why"]) for row in found] == [("c0", "asked")]


def test_classes_that_cannot_be_told_apart_are_asked_together():
    columns = drawn(50, 6, 2, 0.3)
    table = asked(pictures_of(columns, 6), collapsed={"c0": ("c5",)}, gold=0, agreed=0, cap=8)
    for task in by_task(table).values():
        subjects = {row["subject"] for row in task}
        assert "c5" in subjects or "c0" not in subjects
    with pytest.raises(RecipeError, match="'c9' is no class"):
        asked(pictures_of(columns, 6), collapsed={"c0": ("c9",)})


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ledger_drops_asks_and_proposes():
    columns = drawn(40, 5, 3, 1.0)  # nobody contradicts a label
    columns["neighbours.proposed"] = columns["label"].copy()
    bare = pictures_of(columns, 5)
    keys = list(zip(bare.ids.to_pylist(), bare.sha256.to_pylist(), strict=True))
    label = bare.column("label").tolist()
    said = [
        Verdict(*keys[0], "drop", "policy", "copy"),
        Verdict(*keys[1], "review", "policy", "wrong_label", (f"c{(label[1] + 1) % 5}",), worth=0.9),
        Verdict(*keys[2], "review", "policy", "odd"),
        Verdict(*keys[3], "relabel", "policy", "certain", (f"c{(label[3] + 2) % 5}",)),
        Verdict(*keys[4], "review", "policy", "odd"),
        Verdict(*keys[4], "drop", "policy", "copy"),
    ]
    verdicts = verdict_table(said, bare.table.arrow)
    table = asked(pictures_of(columns, 5, verdicts=verdicts), gold=0, agreed=0)
    tasks = {task[0]["id"]: {row["subject"] for row in task} for task in by_task(table).values()}
    assert set(tasks) == {keys[1][0], keys[2][0], keys[3][0]}
    assert tasks[keys[1][0]] == {f"c{label[1]}", f"c{(label[1] + 1) % 5}"}
    assert tasks[keys[2][0]] == {f"c{label[2]}"}
    assert tasks[keys[3][0]] == {f"c{label[3]}", f"c{(label[3] + 2) % 5}"}
    assert rows(table)[0]["id"] in {keys[1][0], keys[3][0]}
    everything = asked(pictures_of(columns, 5, verdicts=verdicts), budget=999)
    assert not {keys[0][0], keys[4][0]} & set(everything["id"].to_pylist())


def test_the_random_check_comes_after_all_questions_and_asks_for_the_given_label():
    columns = drawn(60, 5, 3, 1.0)
    columns["neighbours.proposed"] = columns["label"].copy()
    bare = pictures_of(columns, 5)
    keys = list(zip(bare.ids.to_pylist(), bare.sha256.to_pylist(), strict=True))
    label = bare.column("label").tolist()
    said = [Verdict(*keys[place], "review", "policy", "odd") for place in range(5)]
    said += [Verdict(*keys[place], "audit", "audit", "drawn", value=0.1) for place in (2, 20, 30, 40)]
    said += [Verdict(*keys[50], "audit", "review", "gold", value=0.1)]
    table = asked(pictures_of(columns, 5, verdicts=verdict_table(said, bare.table.arrow)), gold=0, agreed=0)
    found = [(row["id"], row["subject"]) for row in rows(table)]
    assert {one for one, _ in found[:5]} == {keys[place][0] for place in range(5)}
    assert sorted(found[5:]) == sorted((keys[place][0], f"c{label[place]}") for place in (20, 30, 40))


def test_further_questions_repeat_none():
    pictures = pictures_of(drawn(300, 6, 7), 6)
    first = asked(pictures, budget=100)
    more = drawn(300, 6, 7)
    more["neighbours.proposed"] = (more["label"] + 1) % 6
    whole = asked(pictures_of(more, 6), known=first, budget=250)
    assert whole.slice(0, len(first)).equals(first)
    new = whole.slice(len(first))
    assert min(new["task"].to_pylist()) == max(first["task"].to_pylist()) + 1
    keys = [(row["id"], row["subject"]) for row in rows(whole)]
    assert len(set(keys)) == len(keys)
    assert counts(whole)["asked"] <= 250
    assert counts(whole)["asked"] > 150


def test_nothing_new_adds_nothing():
    pictures = pictures_of(drawn(300, 6, 7), 6)
    first = asked(pictures)
    assert asked(pictures, known=first).equals(first)


# ── known answers ────────────────────────────────────────────────────────────────────────────────────────────────────


def written(folder, lines):
    (folder / "gold.csv").write_text("\n".join(lines) + "\n")
    return read_gold(folder / "gold.csv")


def test_known_answers_come_from_a_file(tmp_path):
    columns = drawn(200, 6, 8)
    pictures = pictures_of(columns, 6)
    lines = [f"{row}.jpg,c{columns['label'][row]},yes" for row in range(80)]
    lines += [f"{row}.jpg,c{(columns['label'][row] + 1) % 6},no" for row in range(80, 120)]
    table = asked(pictures, answers=written(tmp_path, ["origin,label,truth", *lines, "none.jpg,c1,yes"]))
    number = counts(table)
    assert number["gold"] >= 0.1 * number["questions"]
    known = {tuple(line.split(",")) for line in lines}
    origins = dict(zip(pictures.ids.to_pylist(), pictures.arrow("origin").to_pylist(), strict=True))
    of_file = [r for r in rows(table) if r["why"] == "gold" and not r["presumed"]]
    assert all((origins[r["id"]], r["subject"], r["truth"]) in known for r in of_file)
    said = Counter(r["truth"] for r in of_file)
    assert abs(said["yes"] - said["no"]) <= 1
    others = [r for r in rows(table) if r["why"] == "gold" and r["presumed"]]
    assert len(others) == number["gold_presumed"]
    assert {r["truth"] for r in others} == {"no"}
    assert not {(origins[r["id"]], r["subject"]) for r in others} & {one[:2] for one in known}


def test_gold_takes_no_question_away_but_the_known_ones(tmp_path):
    columns = drawn(200, 6, 8, 0.3)
    pictures = pictures_of(columns, 6)
    lines = [f"{row}.jpg,c{columns['label'][row]},{'yes' if row % 2 else 'no'}" for row in range(200)]
    gold = written(tmp_path, ["origin,label,truth", *lines])
    without, table = (rows(asked(pictures, answers=one, agreed=0)) for one in (None, gold))
    ordinary, known = (
        {(r["id"], r["subject"]) for r in table if r["why"] == why and not r["presumed"]} for why in ("asked", "gold")
    )
    assert len(known) >= 0.1 * len(ordinary)
    assert ordinary == {(r["id"], r["subject"]) for r in without if r["why"] == "asked"} - known
    both = {one for one, _ in ordinary} & {one for one, _ in known}
    assert both  # and these have two tasks
    tasks = {why: {r["task"] for r in table if r["id"] in both and r["why"] == why} for why in ("asked", "gold")}
    assert not tasks["asked"] & tasks["gold"]


def test_a_known_no_is_about_a_picture_that_nobody_is_asked_about_if_there_is_one(tmp_path):
    columns = drawn(300, 6, 8, 0.6)
    pictures = pictures_of(columns, 6)
    lines = [f"{row}.jpg,c{(columns['label'][row] + 1) % 6},no" for row in range(300)]
    table = rows(asked(pictures, answers=written(tmp_path, ["origin,label,truth", *lines]), budget=100, agreed=0))
    elsewhere = {r["id"] for r in table if r["why"] == "asked"}
    known = [r for r in table if r["why"] == "gold" and not r["presumed"]]
    assert len(known) >= 10
    assert not [r for r in known if r["id"] in elsewhere]


def test_unanimous_votes_are_known_answers(tmp_path):
    pictures = pictures_of(drawn(60, 4, 9), 4)
    ids, shas = pictures.ids.to_pylist(), pictures.sha256.to_pylist()
    votes = ["kind,id,sha256,subject,reviewer,round,answer"]
    for row in range(20):
        sha = shas[row] if row else "0" * 64  # the first picture has changed since
        votes += [f"label,{ids[row]},{sha},c{row % 4},{who},1,{'yes' if row % 2 else 'no'}" for who in "ab"]
    votes += [f"label,{ids[30]},{shas[30]},c0,a,1,yes", f"label,{ids[30]},{shas[30]},c0,b,1,no"]
    votes += [f"label,{ids[31]},{shas[31]},c0,a,1,yes", f"label,{ids[32]},{shas[32]},c0,a,2,yes"]
    gold = written(tmp_path, votes)
    assert Counter(gold.table["truth"].to_pylist()) == {"yes": 10, "no": 10}
    place, _, _ = gold.of("label", pictures, pa.array([one for one, _ in classes(4)]))
    assert sorted(pictures.ids.take(place).to_pylist()) == sorted(ids[1:20])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,label"], "needs the columns"),
        (["origin,label,truth", "0.jpg,c0,perhaps"], "answer 1: truth is 'perhaps'; known are yes and no"),
        (["origin,label,truth,kind", "0.jpg,c0,yes,smell"], "answer 1: kind is 'smell'"),
        (["origin,label,truth", "0.jpg,zebra,yes"], "'zebra' is no subject"),
        (["origin,label,truth", "0.jpg,c0,yes", "0.jpg,c0,no"], "answered with yes and with no"),
    ],
)
def test_odd_gold_is_refused(tmp_path, lines, message):
    with pytest.raises(SourceError, match=message):
        asked(pictures_of(drawn(10, 3, 0), 3), answers=written(tmp_path, lines))


def test_missing_gold_is_refused(tmp_path):
    with pytest.raises(SourceError, match="can't be read"):
        read_gold(tmp_path / "none.csv")


# ── other kinds ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_boxes_copies_edits_and_safety():
    n = 12
    columns = {
        "label": np.zeros(n, np.int64),
        "labels": [["c0"]] * n,
        "objects": np.arange(n) % 4,
        "risk": np.linspace(0, 1, n),
        "gate.seam": np.array([np.nan] * 6 + [1.0, 2.0, 2.9, 1.5, 0.1, 2.5]),
    }
    bare = pictures_of(columns, 1)
    by_origin = dict(zip(bare.arrow("origin").to_pylist(), bare.ids.to_pylist(), strict=True))
    ids = [by_origin[f"{row}.jpg"] for row in range(n)]
    columns |= {
        "variant": ["original"] * 6 + ["background"] * 6,
        "duplicates.group": np.array([0, 0, 0, 3, 3, 5, *range(6, n)]),
        "duplicates.keeper": [ids[one] for one in (0, 0, 0, 3, 3, 5, *range(6, n))],
        "duplicates.layer": ["", "embedding", "file", "", "hash", *[""] * 7],
        "duplicates.score": np.array([0, 0.9, 1, 0, 0.5, *[0.0] * 7]),
        "duplicates.conflict": np.array([False, False, False, True, True, *[False] * 7]),
    }
    pictures = pictures_of(columns, 1)
    boxes = by_task(asked(pictures, kinds=("box",), cap=2))
    assert sorted(len(task) for task in boxes.values()) == sorted([1, 2, 2, 1] * 3)
    assert {row["subject"] for task in boxes.values() for row in task} == {"0", "1", "2"}

    copies = rows(asked(pictures, kinds=("copy",)))
    assert [(r["id"], r["subject"]) for r in copies if r["why"] == "asked"] == [(ids[3], ids[4]), (ids[0], ids[1])]
    assert [(r["id"], r["subject"]) for r in copies if r["why"] == "agreed"] == [(ids[0], ids[2])]

    edits = questions_of(
        pictures,
        Settings(kinds=("edit",)),
        refused=lambda: {"gate.seam": np.array([3.0, 4.0]), "gate.none": np.ones(1)},
    )
    assert [row["id"] for row in rows(edits)] == [ids[one] for one in (8, 11, 7, 9, 6, 10)]

    safe = asked(pictures, kinds=("safe",), safe_by="risk")
    assert [row["id"] for row in rows(safe)] == ids[::-1]
    assert {row["subject"] for row in rows(safe)} == {""}
    with pytest.raises(RecipeError, match="no column 'nothing'"):
        asked(pictures, kinds=("safe",), safe_by="nothing")
    both = asked(pictures, kinds=("safe", "box"))
    assert both["kind"].to_pylist() == sorted(both["kind"].to_pylist(), reverse=True)
    assert set(both["task"].to_pylist()) == set(range(counts(both)["tasks"]))


def test_known_answers_of_other_kinds(tmp_path):
    columns = drawn(40, 3, 1)
    pictures = pictures_of(columns, 3)
    lines = [f"safe,{row}.jpg,,{'yes' if row % 2 else 'no'}" for row in range(10)]
    table = asked(pictures, kinds=("safe",), answers=written(tmp_path, ["kind,origin,subject,truth", *lines]))
    number = counts(table)
    assert number["questions"] == 40
    assert (number["gold_yes"], number["gold_no"]) == (3, 2)


def test_what_cannot_be_asked_is_refused():
    pictures = pictures_of(drawn(5, 3, 0), 3)
    for kind, message in (("copy", "detector duplicates"), ("box", "no objects")):
        with pytest.raises(RecipeError, match=message):
            asked(pictures, kinds=(kind,))


def test_marked_pictures_are_asked_about_first_and_stay_so_within_a_budget():
    pictures = pictures_of(drawn(80, 6, 3, 0.95), 6)
    before = asked(pictures)
    unasked = [one for one in pictures.ids.to_pylist() if one not in set(before["id"].to_pylist())]
    marked = [*unasked[:3], rows(before)[-1]["id"]]
    table = questions_of(pictures, Settings(), marked=marked)
    order = list(dict.fromkeys(row["id"] for row in rows(table) if row["why"] == "asked"))
    assert set(order[:4]) == set(marked)
    assert counts(table)["asked"] > counts(before)["asked"]
    few = questions_of(pictures, Settings(budget=12), marked=marked)
    assert set(marked) < {row["id"] for row in rows(few) if row["why"] == "asked"} < set(order)
    assert parquet_of(questions_of(pictures, Settings(), marked=["unknown"])) == parquet_of(before)


def test_marked_pictures_come_after_questions_that_are_published():
    pictures = pictures_of(drawn(80, 6, 3, 0.95), 6)
    before = asked(pictures)
    marked = [one for one in pictures.ids.to_pylist() if one not in set(before["id"].to_pylist())][:2]
    table = questions_of(pictures, Settings(), known=before, marked=marked)
    assert table.slice(0, len(before)).equals(before)
    assert {row["id"] for row in rows(table.slice(len(before))) if row["why"] == "asked"} == set(marked)
    assert questions_of(pictures, Settings(), known=table, marked=marked).equals(table)
