import csv
import hashlib
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from variorum.arrays import class_tiers
from variorum.curation.people.audit import Audit
from variorum.curation.people.panel.sampling import draw_order
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.table import Table

CONTEXT = Context(0, None, None)

SIZES = {"cat": 400, "dog": 300, "cow": 100, "elk": 60, "yak": 40, "emu": 20}
"""Two head, two middle and two tail classes."""


def edition(seed=0, rate=0.15):
    """A table with labels wrong at a known rate, and a detector that finds most of them with false alarms."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(SIZES)), list(SIZES.values()))
    names = np.array(list(SIZES))[label]
    wrong = rng.random(len(label)) < rate
    flag = np.where(wrong, rng.random(len(label)) < 0.7, rng.random(len(label)) < 0.05)
    ids = [hashlib.sha256(f"{seed} {i}".encode()).hexdigest()[:32] for i in range(len(label))]
    table = pa.table(
        {
            "id": ids,
            "sha256": [f"hash of {one}" for one in ids],
            "variant": ["original"] * len(label),
            "status": ["accepted"] * len(label),
            "label": label,
            "labels": [[name] for name in names],
            "licence": ["CC0-1.0" if i % 3 else "MIT" for i in range(len(label))],
            "verdict.action": ["keep"] * len(label),
            "verdict.labels": [""] * len(label),
            "finder.flag": flag,
            "finder.score": np.where(flag, 0.8, 0.05) + 0.1 * rng.random(len(label)),
        }
    )
    return table, dict(zip(ids, wrong.tolist(), strict=True))


def judged(seed=0):
    """The same after a policy: most flagged pictures have a new label, which is right for 4 in 5 of the wrong ones.

    Returns:
        The table, whether each given label is wrong, and whether the label in the release is.
    """
    table, wrong = edition(seed)
    rng = np.random.default_rng(seed + 1)
    flag, n = np.array(table["finder.flag"]), table.num_rows
    kind = rng.random(n)
    action = np.where(flag & (kind < 0.6), "relabel", np.where(kind > 0.93, "drop", np.where(flag, "review", "keep")))
    new = np.where(action == "relabel", "ant", "")
    table = table.set_column(table.column_names.index("verdict.action"), "verdict.action", pa.array(action))
    table = table.set_column(table.column_names.index("verdict.labels"), "verdict.labels", pa.array(new))
    was = np.array(list(wrong.values()))
    still = np.where(action == "relabel", ~was | (rng.random(n) < 0.2), was)
    return table, wrong, dict(zip(wrong, still.tolist(), strict=True))


def answer_all(path, table, rows, wrong, still):
    """Answers on these rows in the queue's format, on the new label too if there is one."""
    ids, hashes, new = (np.array(table[name]) for name in ("id", "sha256", "verdict.labels"))
    said = [(ids[i], hashes[i], int(wrong[ids[i]]), int(still[ids[i]]) if new[i] else "", new[i]) for i in rows]
    return write_answers(path, said, ("id", "sha256", "wrong", "new_wrong", "new_labels"))


def write_answers(path, rows, header=("id", "sha256", "wrong")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def drawn(step, table):
    return list(step.decide(Table(table, "audit"), CONTEXT))


def figures(step, table):
    return step.figures(Table(table, "audit"), CONTEXT)


def answered(step, table, truth, path):
    verdicts = drawn(step, table)
    write_answers(path, [(v.id, v.sha256, int(truth[v.id])) for v in verdicts])
    return step.model_copy(update={"answers": path})


STEP = Audit(flags=("finder.flag",), sample=100, sample_flagged=100, sample_relabelled=30)


def test_the_draw_holds_what_was_asked_with_its_chances():
    table, _ = edition()
    verdicts = drawn(STEP, table)
    flag = dict(zip(table["id"].to_pylist(), table["finder.flag"].to_pylist(), strict=True))
    label = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert sum(not flag[v.id] for v in verdicts) == 100
    assert sum(flag[v.id] for v in verdicts) == 100
    assert sum(not flag[v.id] and label[v.id] >= 4 for v in verdicts) == 30
    assert {(v.action, v.by, v.reason) for v in verdicts} == {("audit", "audit", "drawn")}
    for state in (False, True):  # the sum of 1 / chance over a stratum is its size
        expected = sum(f == state for f in flag.values())
        assert sum(1 / v.value for v in verdicts if flag[v.id] == state) == pytest.approx(expected)


def test_the_draw_depends_on_neither_the_order_of_rows_nor_on_what_is_not_asked():
    table, _ = edition()
    shuffled = table.take(np.random.default_rng(1).permutation(table.num_rows))
    assert drawn(STEP, shuffled) == drawn(STEP, table)
    other = {v.id for v in drawn(STEP.model_copy(update={"seed": 1}), table)}
    assert other != {v.id for v in drawn(STEP, table)}


def test_a_larger_sample_keeps_those_drawn_before():
    table, _ = edition()
    small, large = ({v.id for v in drawn(Audit(sample=size), table)} for size in (100, 200))
    assert small < large


def test_draws_are_uniform_within_a_stratum():
    ids, strata = [str(i) for i in range(200)], np.repeat([0, 1], [150, 50])
    taken = np.mean([draw_order(ids, strata, seed) < 20 for seed in range(500)], axis=0)
    assert sorted(draw_order(ids, strata, 0)[:150]) == list(range(150))
    assert np.abs(taken[:150] - 20 / 150).max() < 4.5 * math.sqrt(20 / 150 * 130 / 150 / 500)
    assert np.abs(taken[150:] - 0.4).max() < 4.5 * math.sqrt(0.24 / 500)


def test_strata_follow_class_sizes_and_do_not_tear_equal_classes_apart():
    y = np.repeat(np.arange(6), list(SIZES.values()))
    assert [int(class_tiers(y)[y == c][0]) for c in range(6)] == [0, 0, 1, 1, 2, 2]
    assert set(class_tiers(np.repeat([0, 1, 2], 5)).tolist()) == {1}
    assert class_tiers(np.array([0, 0, 0])).tolist() == [1, 1, 1]
    assert class_tiers(np.zeros(0, int)).tolist() == []


def test_another_column_splits_the_strata_and_expected_spread_moves_the_sample():
    table, _ = edition()
    step = Audit(
        flags=("finder.flag",), strata="licence", spread={"unflagged/head/kept/MIT": 0.5, "unflagged/mid/kept/MIT": 0.0}
    )
    plain = Audit(flags=("finder.flag",), strata="licence")
    licence = dict(zip(table["id"].to_pylist(), table["licence"].to_pylist(), strict=True))

    def heads(audit):
        flag = dict(zip(table["id"].to_pylist(), table["finder.flag"].to_pylist(), strict=True))
        label = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
        return sum(not flag[v.id] and label[v.id] < 2 and licence[v.id] == "MIT" for v in drawn(audit, table))

    assert heads(step) > heads(plain) > 2
    assert step.needs() == ("finder",)


def test_without_answers_the_card_says_so():
    table, _ = edition()
    found = figures(STEP, table)
    points = round(100 * found["within"])
    assert found["queue"] == 200
    assert found["state"] == (
        f"not audited: 200 pictures in the queue, which tell the error rate to about ± {points} points"
    )


@pytest.mark.parametrize("number", [120, 336, 920])
def test_a_tenth_of_a_small_folder_is_drawn_and_tells_the_rate_about_as_closely_as_foretold(tmp_path, number):
    whole, truth = edition(rate=0.05)
    table = whole.take(np.random.default_rng(number).permutation(whole.num_rows)[:number])
    step = Audit(flags=("finder.flag",))
    asked, flag = drawn(step, table), dict(zip(table["id"].to_pylist(), table["finder.flag"].to_pylist(), strict=True))
    assert len(asked) == math.ceil(number / 10)
    assert {flag[v.id] for v in asked} == {True, False}
    rate = figures(answered(step, table, truth, tmp_path / "a.csv"), table)["error_rate"]["before"]
    assert figures(step, table)["within"] == pytest.approx((rate["high"] - rate["low"]) / 2, rel=0.3)
    assert len(drawn(step.model_copy(update={"sample": 100}), table)) >= 100  # asked for more


def test_from_a_thousand_pictures_on_the_numbers_are_fixed():
    table, _ = edition()
    more, _ = edition(seed=1)
    asked = drawn(Audit(flags=("finder.flag",)), pa.concat_tables([table, more]))
    flag = dict(zip([*table["id"].to_pylist(), *more["id"].to_pylist()],
                    [*table["finder.flag"].to_pylist(), *more["finder.flag"].to_pylist()], strict=True))  # fmt: skip
    assert [sum(flag[v.id] == state for v in asked) for state in (False, True)] == [100, 100]


def test_figures_are_those_of_the_answers(tmp_path):
    table, truth = edition()
    step = answered(STEP, table, truth, tmp_path / "answers.csv")
    found = figures(step, table)
    wrong, flag = np.array(list(truth.values())), np.array(table["finder.flag"])
    before = found["error_rate"]["before"]
    assert before["low"] <= wrong.mean() <= before["high"]
    assert before["low"] <= before["value"] <= before["high"]
    assert found["error_rate"]["after"] == before  # nothing was changed
    assert found["error_rate"]["from_flagged_alone"] < found["error_rate"]["before"]["value"]
    assert found["precision"]["low"] <= wrong[flag].mean() <= found["precision"]["high"]
    assert found["recall"]["low"] <= flag[wrong].mean() <= found["recall"]["high"]
    tail = np.array(table["label"]) >= 4
    assert found["harm"]["tail"]["low"] <= flag[tail & ~wrong].mean() <= found["harm"]["tail"]["high"]
    assert found["state"] == "audited: 200 of 200 pictures drawn are answered"
    assert found["answers_sha256"] == hashlib.sha256((tmp_path / "answers.csv").read_bytes()).hexdigest()
    assert found["strata_without_answers"] == []
    assert sum(row["answered"] for row in found["strata"].values()) == 200
    assert sum(row["pictures"] for row in found["strata"].values()) == table.num_rows


def test_answers_on_everything_leave_no_doubt(tmp_path):
    table, truth = edition()
    rows = [(i, s, int(truth[i])) for i, s in zip(table["id"].to_pylist(), table["sha256"].to_pylist(), strict=True)]
    found = figures(Audit(flags=("finder.flag",), answers=write_answers(tmp_path / "a.csv", rows)), table)
    wrong, flag = np.array(list(truth.values())), np.array(table["finder.flag"])
    exact = dict.fromkeys(("value", "low", "high"), round(wrong.mean(), 6))
    assert found["error_rate"]["before"] == found["error_rate"]["after"] == exact
    assert found["recall"]["value"] == round(flag[wrong].mean(), 6)
    assert found["recall"]["low"] == found["recall"]["high"] == found["recall"]["value"]
    assert found["harm"]["head"]["value"] == round(flag[~wrong & (np.array(table["label"]) < 2)].mean(), 6)


def test_after_is_the_error_rate_of_what_the_release_keeps_with_the_labels_it_has_there(tmp_path):
    table, wrong, still = judged()
    path = answer_all(tmp_path / "a.csv", table, range(table.num_rows), wrong, still)
    found = figures(STEP.model_copy(update={"answers": path}), table)
    action = np.array(table["verdict.action"])
    left = np.array(list(still.values()))[action != "drop"]
    new = np.array(list(still.values()))[action == "relabel"]
    assert found["error_rate"]["after"] == dict.fromkeys(("value", "low", "high"), round(left.mean(), 6))
    assert found["error_rate"]["before"]["value"] == round(np.mean(list(wrong.values())), 6)
    assert found["new_labels"]["wrong"]["value"] == round(new.mean(), 6)
    assert found["new_labels"]["pictures"] == found["new_labels"]["answered"] == len(new)


def test_the_release_is_told_from_the_sample_and_its_intervals_hold(tmp_path):
    inside = []
    for seed in range(20):
        table, wrong, still = judged(seed)
        asked = {v.id for v in drawn(STEP, table)}
        rows = [i for i, one in enumerate(table["id"].to_pylist()) if one in asked]
        path = answer_all(tmp_path / "a.csv", table, rows, wrong, still)
        found = figures(STEP.model_copy(update={"answers": path}), table)
        left = np.array(list(still.values()))[np.array(table["verdict.action"]) != "drop"].mean()
        after = found["error_rate"]["after"]
        inside.append(after["low"] <= left <= after["high"])
        assert after["value"] < found["error_rate"]["before"]["value"]
    assert sum(inside) >= 18


def test_relabelled_pictures_are_drawn_besides_the_others():
    table, _, _ = judged()
    fate = dict(zip(table["id"].to_pylist(), table["verdict.action"].to_pylist(), strict=True))
    flag = dict(zip(table["id"].to_pylist(), table["finder.flag"].to_pylist(), strict=True))
    step = STEP.model_copy(update={"sample_flagged": 30, "sample_relabelled": 25})
    asked = {v.id for v in drawn(step, table)}
    new = {one for one in asked if fate[one] == "relabel"}
    assert len(new) == 25
    assert len(asked - new) == 130
    assert sum(not flag[one] for one in asked) == 100
    without = drawn(Audit(flags=("finder.flag",), sample_relabelled=0), table)
    assert not any(fate[v.id] == "relabel" for v in without)


def test_the_release_is_not_told_before_all_new_labels_are_judged(tmp_path):
    table, wrong, still = judged()
    ids, new = table["id"].to_pylist(), np.array(table["verdict.labels"])
    path = answer_all(tmp_path / "a.csv", table, range(table.num_rows), wrong, still)
    whole = figures(STEP.model_copy(update={"answers": path}), table)
    right = [i for i, one in enumerate(ids) if new[i] and not wrong[one]]
    lines = path.read_text().splitlines()
    for i in right:  # calling the label right calls the new one wrong
        lines[i + 1] = f"{ids[i]},hash of {ids[i]},0,,ant"
    path.write_text("\n".join(lines))
    assert figures(STEP.model_copy(update={"answers": path}), table)["error_rate"] == whole["error_rate"]
    doubtful = next(i for i, one in enumerate(ids) if new[i] and wrong[one])
    for line in (f"{ids[doubtful]},hash of {ids[doubtful]},1,,ant", f"{ids[doubtful]},hash of {ids[doubtful]},1,0,bee"):
        lines[doubtful + 1] = line  # no answer; an answer on another new label
        path.write_text("\n".join(lines))
        found = figures(STEP.model_copy(update={"answers": path}), table)
        assert found["error_rate"]["after"] is found["new_labels"]["wrong"] is None
        assert found["new_labels"]["not_yet"] == 1
        assert found["error_rate"]["before"] == whole["error_rate"]["before"]


def test_suspicious_pictures_that_were_not_drawn_do_not_count(tmp_path):
    table, truth = edition()
    verdicts = drawn(STEP, table)
    rows = [(v.id, v.sha256, int(truth[v.id])) for v in verdicts]
    asked = {v.id for v in verdicts}
    flag = dict(zip(table["id"].to_pylist(), table["finder.flag"].to_pylist(), strict=True))
    picked = [i for i, wrong in truth.items() if wrong and not flag[i] and i not in asked]
    path = write_answers(tmp_path / "a.csv", rows)
    before = figures(STEP.model_copy(update={"answers": path}), table)
    write_answers(path, rows + [(i, f"hash of {i}", 1) for i in picked])
    after = figures(STEP.model_copy(update={"answers": path}), table)
    assert picked
    assert after["answers"]["not_drawn"] == len(picked)
    assert after["error_rate"] == before["error_rate"]


def test_answers_on_other_pictures_are_counted_and_left_out(tmp_path):
    table, truth = edition()
    first, second, third, *rest = drawn(STEP, table)
    cat = dict(zip(table["id"].to_pylist(), table["labels"].to_pylist(), strict=True))
    rows = [(v.id, v.sha256, int(truth[v.id]), cat[v.id][0]) for v in rest]
    rows += [("gone", "hash", 1, "cat"), (first.id, "as it was before", 1, cat[first.id][0])]
    rows += [(second.id, second.sha256, 1, "as it was called before"), (third.id, third.sha256, "", cat[third.id][0])]
    path = write_answers(tmp_path / "a.csv", rows, ("id", "sha256", "wrong", "labels"))
    found = figures(STEP.model_copy(update={"answers": path}), table)
    assert found["answers"] == {"used": 197, "unknown_picture": 1, "picture_changed": 2, "not_drawn": 0}
    assert found["state"] == "audited: 197 of 200 pictures drawn are answered"


def test_several_reviewers_count_by_majority_and_their_agreement_is_told(tmp_path):
    table, truth = edition()
    header, rows = ("id", "sha256", "wrong", "reviewer"), []
    for v in drawn(STEP, table):
        said = int(truth[v.id])
        rows += [(v.id, v.sha256, 1 - said, "ann"), (v.id, v.sha256, said, "ann")]  # the last answer counts
        rows += [(v.id, v.sha256, said, "bob"), (v.id, v.sha256, 1 - said, "cyn")]
    many = figures(STEP.model_copy(update={"answers": write_answers(tmp_path / "many.csv", rows, header)}), table)
    one = figures(answered(STEP, table, truth, tmp_path / "one.csv"), table)
    assert many["error_rate"] == one["error_rate"]
    assert one["reviewers_alpha"] is None
    assert many["reviewers_alpha"] < 0
    split = [(v.id, v.sha256, answer, answer) for v in drawn(STEP, table) for answer in (0, 1)]
    half = figures(STEP.model_copy(update={"answers": write_answers(tmp_path / "h.csv", split, header)}), table)
    assert half["error_rate"]["before"]["value"] == 0.5


def test_parquet_and_a_queue_with_one_more_column_are_read(tmp_path):
    table, truth = edition()
    verdicts = drawn(STEP, table)
    columns = {"id": [v.id for v in verdicts], "sha256": [v.sha256 for v in verdicts]}
    pq.write_table(pa.table({**columns, "wrong": [truth[v.id] for v in verdicts]}), tmp_path / "a.parquet")
    whole = figures(answered(STEP, table, truth, tmp_path / "a.csv"), table)
    found = figures(STEP.model_copy(update={"answers": tmp_path / "a.parquet"}), table)
    assert {**found, "answers_sha256": ""} == {**whole, "answers_sha256": ""}
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes())  # spreadsheets add a BOM
    again = figures(STEP.model_copy(update={"answers": tmp_path / "a.csv"}), table)
    assert again["error_rate"] == whole["error_rate"]


def test_guesses_help_where_they_are_good_and_must_be_probabilities(tmp_path):
    table, truth = edition()
    wrong = np.array(list(truth.values()))
    good = table.append_column("finder.p", pa.array(np.where(wrong, 0.9, 0.1)))
    step = answered(STEP, table, truth, tmp_path / "a.csv").model_copy(update={"guesses": "finder.p"})
    found = figures(step, good)
    plain, helped = found["error_rate"]["before"], found["error_rate_with_guesses"]
    assert helped["value"] == pytest.approx(wrong.mean(), abs=0.02)
    assert helped["high"] - helped["low"] < 0.8 * (plain["high"] - plain["low"])
    bad = good.append_column("finder.loss", pa.array(wrong * 7.0))
    with pytest.raises(RecipeError, match=r"finder\.loss runs from 0 to 7"):
        figures(step.model_copy(update={"guesses": "finder.loss"}), bad)


def test_a_stratum_without_answers_is_taken_to_be_like_its_kind_and_named(tmp_path):
    table, truth = edition()
    label = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    rows = [(v.id, v.sha256, int(truth[v.id])) for v in drawn(STEP, table) if label[v.id] < 4]
    found = figures(STEP.model_copy(update={"answers": write_answers(tmp_path / "a.csv", rows)}), table)
    assert found["strata_without_answers"] == ["unflagged/tail/kept", "flagged/tail/kept"]
    assert found["harm"]["tail"] is None
    assert found["strata"]["flagged/tail/kept"]["rate"] is None
    assert found["error_rate"]["before"]["value"] == pytest.approx(np.mean(list(truth.values())), abs=0.05)


def test_nothing_answered_gives_no_figures(tmp_path):
    table, _ = edition()
    found = figures(STEP.model_copy(update={"answers": write_answers(tmp_path / "a.csv", [])}), table)
    assert found["error_rate"]["before"] is None
    assert found["precision"] is found["recall"] is None


def test_without_flags_it_tells_the_error_rate_alone(tmp_path):
    table, truth = edition()
    found = figures(answered(Audit(sample=100), table, truth, tmp_path / "a.csv"), table)
    assert found["queue"] == 100
    assert found["precision"] is found["error_rate"]["from_flagged_alone"] is None
    assert found["recall"]["value"] == 0
    assert found["harm"]["tail"] == {"value": 0, "low": 0, "high": 0}


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_small_and_empty_editions(tmp_path, keep):
    table, truth = edition()
    small = table.slice(0, keep)
    assert len(drawn(STEP, small)) == keep
    found = figures(answered(STEP, small, truth, tmp_path / "a.csv"), small)
    assert found["queue"] == keep


def test_unlabelled_pictures_and_plates_are_not_asked_about():
    table, _ = edition()
    n = table.num_rows
    label = pa.array([-1 if i % 2 else v for i, v in enumerate(table["label"].to_pylist())], pa.int64())
    variant = pa.array(["plate" if i < 100 else "original" for i in range(n)])
    table = table.set_column(table.column_names.index("label"), "label", label)
    table = table.set_column(table.column_names.index("variant"), "variant", variant)
    asked = {v.id for v in drawn(Audit(sample=2000), table)}
    assert asked == {one for i, one in enumerate(table["id"].to_pylist()) if i >= 100 and i % 2 == 0}


def test_bad_input_is_refused(tmp_path):
    table, _ = edition()
    with pytest.raises(RecipeError, match=r"no column 'other\.flag'"):
        drawn(Audit(flags=("other.flag",)), table)
    with pytest.raises(RecipeError, match=r"finder\.score holds float64, not true and false"):
        drawn(Audit(flags=("finder.score",)), table)
    for name in ("tail", "unflagged/tail", "unflagged/tail/gone"):
        with pytest.raises(RecipeError, match=f"'{name}' is not a stratum"):
            build_component("curate", {"name": "audit", "spread": {name: 0.3}}, "curate.0")
    with pytest.raises(SourceError, match=r"none\.csv can't be read"):
        figures(Audit(answers=tmp_path / "none.csv"), table)
    path = write_answers(tmp_path / "a.csv", [("a", "b")], ("id", "sha256"))
    with pytest.raises(SourceError, match="no column wrong; it has id, sha256"):
        figures(Audit(answers=path), table)
    write_answers(path, [("a", "b", "1"), ("a", "b", "perhaps")])
    with pytest.raises(SourceError, match="answer 2: wrong is 'perhaps'; write 0, 1 or nothing"):
        figures(Audit(answers=path), table)
    write_answers(path, [("a", "b", "1", "2")], ("id", "sha256", "wrong", "new_wrong"))
    with pytest.raises(SourceError, match="answer 1: new_wrong is '2'; write 0, 1 or nothing"):
        figures(Audit(answers=path), table)


def test_the_answers_place_is_no_part_of_what_it_is():
    assert Audit(answers="here.csv").fingerprint() == Audit(answers="there.csv").fingerprint() == Audit().fingerprint()
    assert Audit(flags=("a.flag", "b.flag"), guesses="a.p", strata="licence").needs() == ("a", "b")
