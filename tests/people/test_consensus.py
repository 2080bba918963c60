import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reviewed_set import CLASSES, CONTEXT, PEOPLE, SAID, C, E, columns, kept, picture, table, vote, votes

from variorum.curation.people.consensus import Consensus
from variorum.curation.people.panel.label_sets import LabelSet, Reviewed, read_label_set, worst
from variorum.curation.people.panel.weighing import CORRECT, UNCLEAR, WRONG, Weighing, probabilities, states
from variorum.kit.raters.valid_votes import cells_of
from variorum.people.votes.files import write_votes
from variorum.people.votes.tables import of_votes
from variorum.schemas.errors import CorruptShard, RecipeError, SourceError
from variorum.schemas.table import Table

METHODS = ["dawid_skene", "majority"]


def labels(found, row) -> dict:
    return json.loads(found["member"][row])


def told(found, row) -> dict:
    """By label, what the column `states` says of a picture."""
    return {label: rest for label, *rest in json.loads(found["states"][row])}


@pytest.fixture
def ten(tmp_path):
    return kept(tmp_path, votes())


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", METHODS)
def test_the_states_of_the_ten_pictures(ten, method):
    _, found, figures = columns(Consensus(votes=ten, method=method))
    of = {state: [json.loads(text) for text in found[state]] for state in ("correct", "unclear", "wrong")}
    assert of["correct"][:7] == [["a"], ["a"], ["b"], ["a"], ["a", C], ["b"], ["b"]]
    assert of["correct"][8:] == [[C], [C]]
    assert of["wrong"][2] == ["a"]
    assert of["wrong"][8] == ["d"]
    assert of["unclear"][3] == ["b"] if method == "majority" else of["unclear"][3] in (["b"], [])
    assert found["problematic"].tolist() == [number == 7 for number in range(10)]
    assert found["problem"][7] == "collage"
    assert found["proposed"].tolist()[:5] == [0, 0, 1, 0, 0]
    assert np.flatnonzero(np.delete(found["flag"], 7)).tolist() == [2]
    assert found["score"][2] > 0.9
    assert (found["score"][[0, 1, 3, 4, 5, 6, 8, 9]] < 0.1).all()
    assert figures["labels"]["unchecked"] == 0
    assert figures["pictures"] == {"judged": 10, "with_a_right_label": 9, "problematic": 1}


def test_the_member_has_the_same_fields_for_every_picture(ten):
    edition = table([*table()["labels"].to_pylist(), [E], []])
    found = Consensus(votes=ten).score(Table(edition, "consensus"), CONTEXT)
    records = [json.loads(data) for data in found["member"]]
    assert len({tuple(one) for one in records}) == len({tuple(one["mistakes"]) for one in records}) == 1
    assert records[10] == json.loads(LabelSet((E,)).encode())
    assert records[11]["given"] == []
    eighth = records[8]
    assert (eighth["label"], eighth["state"], eighth["votes"]) == ([C, "d"], ["correct", "wrong"], [3, 3])
    mistakes = eighth["mistakes"]
    assert mistakes.pop("major") == [pytest.approx(1 - eighth["p"][1], abs=0.05)]
    assert mistakes == {"label": ["d"], "category": ["fine_grained"], "severity": ["major"], "unanimous": [True]}
    assert (eighth["n_votes"], eighth["problematic"]) == (6, False)
    assert (records[7]["problematic"], records[7]["reason"]) == (True, "collage")


def test_without_votes_there_is_nothing():
    step = Consensus()
    found = step.score(Table(table(), "consensus"), CONTEXT)
    assert found["member"] == [None] * 10
    assert np.isnan(found["score"]).all()
    assert not found["flag"].any()
    assert (found["proposed"] == -1).all()
    assert found["states"] == [""] * 10
    assert step.figures(Table(table(), "consensus"), CONTEXT) == {}
    assert step.needs() == ()


def test_votes_on_changed_and_unknown_pictures_are_counted_and_left_out(tmp_path):
    given = votes()
    edition = table()
    changed = [*edition["sha256"].to_pylist()]
    changed[0] = "f" * 64
    edition = edition.set_column(1, "sha256", pa.array(changed))
    step = Consensus(votes=kept(tmp_path, [*given, vote(99, "label", "a", "ann", "yes")]))
    _, found, figures = columns(step, edition)
    assert found["states"][0] == ""
    assert figures["votes"] == {
        "in_file": len(given) + 1,
        "used": len(given) - 3,
        "unknown_picture": 1,
        "picture_changed": 3,
        "no_class": 0,
    }


def test_a_vote_without_a_hash_is_taken_as_it_is(tmp_path):
    path = tmp_path / "votes.csv"
    lines = [f"{picture(0)[0]},a,{who},no" for who in PEOPLE]
    path.write_text("\n".join(["id,label,reviewer,answer", *lines]))
    _, found, _ = columns(Consensus(votes=path))
    assert json.loads(found["wrong"][0]) == ["a"]


def test_a_vote_on_another_class_is_counted(tmp_path):
    _, _, figures = columns(Consensus(votes=kept(tmp_path, [*votes(), vote(0, "label", "zebra", "ann", "yes")])))
    assert figures["votes"]["no_class"] == 1


def test_only_the_last_vote_of_a_person_counts(tmp_path):
    first = [vote(0, "label", "a", who, "no", at=1.0) for who in PEOPLE]
    later = [
        vote(0, "label", "a", who, "yes", at=2.0, replaces=one.vote) for who, one in zip(PEOPLE, first, strict=True)
    ]
    for said in ([*first, *later], [*later, *first]):
        _, found, figures = columns(Consensus(votes=kept(tmp_path, said)))
        assert json.loads(found["correct"][0]) == ["a"]
        assert figures["votes"]["used"] == 3


def test_the_order_of_the_file_changes_nothing(tmp_path):
    given = votes()
    shuffled = [given[place] for place in np.random.default_rng(0).permutation(len(given))]
    one, other = (
        columns(Consensus(votes=kept(tmp_path, some, name)))[1]
        for some, name in ((given, "one.parquet"), (shuffled, "other.csv"))
    )
    assert one["member"] == other["member"]


# ── what is known, and what is decided together ──────────────────────────────────────────────────────────────────────


def test_a_discussion_decides(tmp_path):
    given = [
        *votes(),
        vote(2, "label", "a", "ann", "yes", round=2, at=1.0),
        vote(8, "label", "d", "ben", "unclear", round=2, at=1.0),
        vote(7, "problem", "", "ann", "no", round=2, at=1.0),
    ]
    _, found, figures = columns(Consensus(votes=kept(tmp_path, given)))
    assert json.loads(found["correct"][2]) == ["a", "b"]
    assert labels(found, 2)["p"][0] == 1
    assert json.loads(found["unclear"][8]) == ["d"]
    assert not found["problematic"][7]
    assert figures["discussion"] == {"not_unanimous": 1, "decided_together": 2, "open": 1}


def test_gold_keeps_its_truth_and_shows_who_is_right(tmp_path):
    gold = tmp_path / "gold.csv"
    rows = [(2, "a", "yes"), (0, "a", "yes"), (5, "b", "yes"), (9, "d", "no")]
    gold.write_text("\n".join(["id,subject,truth", *(f"{picture(n)[0]},{label},{truth}" for n, label, truth in rows)]))
    _, found, figures = columns(Consensus(votes=kept(tmp_path, votes()), gold=gold))
    assert labels(found, 2)["state"][0] == "correct"  # against everybody
    assert labels(found, 9)["state"] == ["correct", "wrong"]
    assert labels(found, 9)["votes"] == [3, 0]  # nobody was asked
    assert figures["raters"]["person 1"]["gold"]["right"] == 2
    assert figures["raters"]["person 1"]["gold"]["of"] == 3
    assert sum(row["cells"] for row in figures["calibration_on_gold"]) == 4


def reversed_panel(folder, reverse: int, *, known: bool):
    """Figures and share of right states where the first `reverse` of three people take yes for no."""
    rng = np.random.default_rng(7)
    truth = np.arange(120) % 3 == 0
    given = [
        vote(place, "label", "a", who, "yes" if (rng.random() < 0.95) == (is_right != (number < reverse)) else "no")
        for place, is_right in enumerate(truth.tolist())
        for number, who in enumerate(PEOPLE)
    ]
    said = of_votes(given)
    published = [
        ("yes" if truth[int(one, 16)] else "no") if int(one, 16) < 30 else "" for one in said["id"].to_pylist()
    ]
    if known:
        said = said.set_column(said.column_names.index("truth"), said.schema.field("truth"), [published])
    path = folder / "panel.csv"
    write_votes(said, path)
    _, found, figures = columns(Consensus(votes=path), table([["a"]] * 120))
    states_ = np.array([json.loads(text)[0][1] for text in found["states"]])
    settled = np.isin(states_, ["correct", "wrong"])
    return figures, settled[30:].mean(), ((states_ == "correct") == truth)[settled].mean() if settled.any() else None


def test_answers_that_a_panel_was_published_with_are_known(tmp_path):
    figures, settled, right = reversed_panel(tmp_path, 2, known=True)
    assert figures["known"] == 30
    assert settled > 0.9
    assert right > 0.97
    assert [one["below_chance"] for one in figures["raters"].values()] == [True, True, False]
    assert "Below chance: person 1, person 2." in figures["findings"][1]


def test_where_nothing_is_known_half_a_panel_the_wrong_way_round_settles_nothing(tmp_path):
    figures, settled, _ = reversed_panel(tmp_path, 2, known=False)
    assert settled == 0
    assert figures["mirror"] > 0.2
    assert "No answer is known" in figures["findings"][1]
    assert "The opposite of every answer explains the votes nearly as well" in figures["findings"][2]
    assert len(figures["findings"]) == 3  # nobody is said to be below chance: it may be the others
    figures, settled, right = reversed_panel(tmp_path, 0, known=False)
    assert settled > 0.9
    assert right > 0.95
    assert (figures["mirror"], len(figures["findings"])) == (pytest.approx(0, abs=0.02), 2)


def test_gold_may_name_pictures_by_their_origin(tmp_path):
    gold, edition = tmp_path / "gold.csv", table()
    edition = edition.append_column("origin", pa.array([f"{number}.jpg" for number in range(10)]))
    gold.write_text("origin,label,truth,kind\n9.jpg,d,no,label\n9.jpg,a,1,\n8.jpg,,yes,safe\n77.jpg,a,no,\n")
    _, found, _ = columns(Consensus(votes=kept(tmp_path, votes()), gold=gold), edition)
    assert dict(zip(labels(found, 9)["label"], labels(found, 9)["state"], strict=True)) == {
        "a": "correct",
        C: "correct",
        "d": "wrong",
    }


def test_gold_may_be_a_file_of_votes_or_the_questions_of_a_panel(tmp_path):
    experts = [
        vote(9, "label", "d", "Eva", "no"),
        vote(9, "label", "d", "Max", "no"),
        vote(8, "label", "a", "Eva", "yes"),
        vote(8, "label", "a", "Max", "unclear"),  # not known: they differ
        vote(7, "label", "a", "Eva", "yes"),  # not known: one person
    ]
    edition = table()
    given = kept(tmp_path, votes())
    for gold in (kept(tmp_path, experts, "experts.parquet"), questions(tmp_path)):
        _, found, _ = columns(Consensus(votes=given, gold=gold), edition)
        assert told(found, 9)["d"][:2] == ["wrong", 0.0]
        assert not found["states"][8] or "a" not in told(found, 8)
    again = vote(9, "label", "d", "Max", "yes", replaces=experts[1].vote)
    gold = kept(tmp_path, [*experts[:2], again], "changed.parquet")
    _, found, _ = columns(Consensus(votes=given, gold=gold), edition)
    assert not found["states"][9] or "d" not in told(found, 9)


def questions(folder):
    """The questions of a panel, as `review.panel.publish` writes them: one known answer and one that is presumed."""
    rows = [(9, "d", "gold", "no", False), (8, "a", "gold", "yes", True), (7, "a", "asked", "", False)]
    names = ("id", "sha256", "subject", "why", "truth", "presumed")
    whole = [(*picture(row), *rest) for row, *rest in rows]
    path = folder / "questions.parquet"
    pq.write_table(
        pa.table({name: list(column) for name, column in zip(names, zip(*whole, strict=True), strict=True)}), path
    )
    return path


def test_most_people_unclear_is_unclear_and_not_wrong(tmp_path):
    said = [vote(0, "label", "a", who, "unclear") for who in PEOPLE]  # p is near 0
    said += [vote(1, "label", "a", who, word) for who, word in zip(PEOPLE, ("unclear", "unclear", "no"), strict=True)]
    said += [vote(2, "label", "a", who, "no") for who in PEOPLE]
    said += [vote(3, "label", "a", who, "yes") for who in PEOPLE]
    some = ("no", "no", "unclear")
    said += [vote(row, "label", "b", who, word) for row in range(4, 10) for who, word in zip(PEOPLE, some, strict=True)]
    said += [vote(row, "label", C, who, "yes") for row in range(4, 10) for who in PEOPLE]
    _, found, _ = columns(Consensus(votes=kept(tmp_path, said)), table())
    assert [told(found, row)["a"][0] for row in range(4)] == ["unclear", "unclear", "wrong", "correct"]
    assert told(found, 0)["a"][1] < 0.05
    assert json.loads(found["wrong"][0]) == []
    assert not found["flag"][0]
    gold = tmp_path / "gold.csv"
    gold.write_text(f"id,label,truth\n{picture(0)[0]},a,no\n")
    _, found, _ = columns(Consensus(votes=kept(tmp_path, said), gold=gold), table())
    state, _, _, _, _, unanimous, _ = told(found, 0)["a"]
    assert (state, unanimous) == ("wrong", False)  # it is known, but nobody said no


def test_a_label_that_all_call_unclear_is_not_right_because_its_p_is_high(tmp_path):
    said = [vote(0, "label", "a", who, "unclear") for who in PEOPLE]
    said += [vote(1, "label", "a", who, word) for who, word in zip(PEOPLE, ("unclear", "yes", "yes"), strict=True)]
    said += [vote(row, "label", "b", who, "no") for row in range(2, 5) for who in PEOPLE]
    _, found, _ = columns(Consensus(votes=kept(tmp_path, said)), table())
    assert told(found, 0)["a"][1] >= 0.8  # by Dawid–Skene alone: only right labels are ever called unclear
    assert told(found, 0)["a"][0] == "unclear"
    assert told(found, 1)["a"][0] == "correct"


def test_gold_must_be_readable(tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text(f"id,subject,truth\n{picture(0)[0]},a,maybe\n")
    with pytest.raises(
        SourceError, match=r"curate\.consensus\.gold: .*answer 1: truth is 'maybe'; known are yes and no"
    ):
        Consensus(gold=gold).check(CONTEXT)
    gold.write_text("id,truth\n")
    with pytest.raises(SourceError, match="label or subject, and truth; it has id, truth"):
        Consensus(gold=gold).check(CONTEXT)
    with pytest.raises(SourceError, match=r"curate\.consensus\.votes: .*none.parquet can't be read"):
        Consensus(votes=tmp_path / "none.parquet").check(CONTEXT)


def test_few_answers_leave_a_label_unchecked(tmp_path):
    given = [one for one in votes() if one.reviewer == "ann"]
    _, found, figures = columns(Consensus(votes=kept(tmp_path, given)))
    assert figures["labels"]["unchecked"] == len([1 for one in SAID.values() for _ in one])
    assert not found["problematic"].any()
    assert np.isnan(found["score"]).all()
    assert "fewer than 2 answers" in figures["findings"][0]
    _, found, _ = columns(Consensus(votes=kept(tmp_path, given), least_votes=1, method="majority"))
    assert json.loads(found["correct"][4]) == ["a", C]


def test_half_of_those_who_judged_make_a_picture_problematic(tmp_path):
    def said(problems: int) -> bool:
        given = [vote(0, "label", "a", who, "yes") for who in ("p", "q", "r", "s")]
        given += [vote(0, "problem", "", who, "yes", reason="overlay") for who in ("p", "q", "r", "s")[:problems]]
        return bool(columns(Consensus(votes=kept(tmp_path, given)))[1]["problematic"][0])

    assert [said(problems) for problems in (1, 2, 3)] == [False, True, True]


def test_category_and_severity_are_those_of_most_and_ties_are_not_severe():
    def judged(category: str, severity: str, round_: int = 1) -> dict:
        return {"category": category, "severity": severity, "round": round_}

    three = [judged("fine_grained", "major"), judged("fine_grained", "major"), judged("spurious_correlation", "minor")]
    assert worst(three) == ("fine_grained", "major")
    assert worst(three[1:]) == ("fine_grained", "minor")
    assert worst([*three, judged("non_prototypical", "borderline", 2)]) == ("non_prototypical", "borderline")
    assert worst([judged("", "")]) == ("", "")


def test_who_calls_everything_major_makes_no_mistake_major(tmp_path):
    rng, severe = np.random.default_rng(2), np.arange(60) % 3 == 0
    given = []
    for place, is_major in enumerate(severe.tolist()):
        said = ["major" if is_major == (rng.random() < 0.9) else "minor" for _ in range(3)] + ["major", "major"]
        who = [number for number in range(5) if number > 2 or rng.random() < 0.7]
        given += [vote(place, "label", "a", f"rater {number}", "no", severity=said[number]) for number in who]
    _, found, _ = columns(Consensus(votes=kept(tmp_path, given)), table([["a"]] * 60))
    mistakes = [json.loads(member)["mistakes"] for member in found["member"]]
    by_count = np.array([one["severity"] == ["major"] for one in mistakes])
    weighed = np.array([one["major"][0] >= 0.8 for one in mistakes])
    assert (weighed == severe).mean() > (by_count == severe).mean() + 0.1
    assert not weighed[~severe].mean() > 0.1


# ── other kinds of questions ─────────────────────────────────────────────────────────────────────────────────────────


def test_other_kinds_have_columns_of_their_own(tmp_path):
    copy = picture(1)[0]
    given = [
        *(vote(0, "edit", "", who, "no") for who in PEOPLE),
        *(vote(1, "edit", "", who, "yes") for who in PEOPLE),
        *(vote(2, "safe", "", who, "yes") for who in PEOPLE),
        *(vote(3, "safe", "", who, "no") for who in PEOPLE),
        *(vote(0, "copy", copy, who, "yes") for who in PEOPLE),
        *(vote(2, "copy", copy, who, "no") for who in PEOPLE),
        *(vote(4, "box", str(number), who, answer) for who in PEOPLE for number, answer in ((0, "yes"), (1, "no"))),
        vote(5, "edit", "", "ann", "no"),
    ]
    _, found, _ = columns(Consensus(votes=kept(tmp_path, given)))
    assert found["clean_p"][0] < 0.2 < 0.8 < found["clean_p"][1]
    assert np.isnan(found["clean_p"][[2, 5]]).all()
    assert found["safe_p"][3] < 0.2 < 0.8 < found["safe_p"][2]
    assert json.loads(found["copies"][0])[0][0] == copy
    assert json.loads(found["copies"][0])[0][1] > 0.8
    assert [name for name, _ in json.loads(found["boxes"][4])] == ["0", "1"]
    assert found["states"] == [""] * 10


# ── models, priors, CROWDLAB ─────────────────────────────────────────────────────────────────────────────────────────


def panel(seed: int, *, number: int = 250, people: int = 8, each: int = 3, sloppy: int = 1):
    """Simulated votes on one label each, with known truth: table, votes, truth, a model's probabilities."""
    rng = np.random.default_rng(seed)
    truth = rng.random(number) < 0.3
    right = np.where(np.arange(people) < sloppy, 0.5, 0.92)
    given = []
    for place in range(number):
        for who in rng.permutation(people)[:each]:
            yes = truth[place] == (rng.random() < right[who])
            said = "unclear" if rng.random() < 0.08 else ("yes" if yes else "no")
            given.append(vote(place, "label", "a", f"rater {who}", said))
    return table([["a"]] * number), given, truth, np.clip(0.2 + 0.6 * truth + rng.normal(0, 0.2, number), 0, 1)


def decided(found, truth) -> tuple[float, float]:
    """Share of cells that are settled, and share of these that are right."""
    state = np.array([json.loads(text)[0][1] for text in found["states"]])
    settled = np.isin(state, ["correct", "wrong"])
    return settled.mean(), ((state == "correct") == truth)[settled].mean()


def test_a_simulated_panel_recovers_the_truth_and_a_model_helps(tmp_path):
    edition, given, truth, p = panel(0)
    cells = [json.dumps([["a", 2, [round(float(one), 4)]]]) for one in p]
    edition = edition.append_column("candidates.cells", pa.array(cells))
    path = kept(tmp_path, given)
    _, alone, figures = columns(Consensus(votes=path), edition)
    _, helped, with_model = columns(Consensus(votes=path, models=("candidates.cells",)), edition)
    _, counted, _ = columns(Consensus(votes=path, method="majority"), edition)
    share, right = decided(alone, truth)
    assert share > 0.88
    assert right > 0.94
    assert right > decided(counted, truth)[1]
    assert np.prod(decided(helped, truth)) > share * right
    bits = {name: one["bits"] for name, one in figures["raters"].items()}
    assert len(bits) == 8
    assert min(bits.values()) < 0.1 < sorted(bits.values())[1]  # one guesses
    assert "candidates.cells" in with_model["raters"]
    assert Consensus(votes=path, models=("candidates.cells",)).needs() == ("candidates",)


def test_a_vector_of_probabilities_is_a_model_too(tmp_path):
    edition, given, truth, p = panel(1)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(p), 1)
    edition = edition.append_column("probabilities.p", vectors)
    _, found, _ = columns(Consensus(votes=kept(tmp_path, given), models=("probabilities.p",)), edition)
    assert json.loads(found["states"][0])[0][-1] in ([0], [1], [2])
    assert decided(found, truth)[1] > 0.95


def test_a_model_must_have_probabilities(tmp_path):
    path = kept(tmp_path, votes())
    with pytest.raises(RecipeError, match="isn't a JSON list"):
        columns(Consensus(votes=path, models=("x.cells",)), table(**{"x.cells": pa.array(["{"] * 10)}))
    with pytest.raises(RecipeError, match="holds int64, not probabilities"):
        columns(Consensus(votes=path, models=("x.cells",)), table(**{"x.cells": pa.array([1] * 10)}))
    with pytest.raises(RecipeError, match="'cells' is no column of a detector"):
        Consensus(models=("cells",)).check(CONTEXT)


def test_both_priors_are_reported(tmp_path):
    rng = np.random.default_rng(3)
    given = []
    for place in range(80):
        for label, share in (("a", 0.9), ("b", 0.02)):
            true = rng.random() < share
            given += [
                vote(place, "label", label, who, "yes" if true == (rng.random() < 0.8) else "no") for who in PEOPLE
            ]
    path, edition = kept(tmp_path, given), table([["a"]] * 80)
    _, _, over_all = columns(Consensus(votes=path), edition)
    _, _, by_label = columns(Consensus(votes=path, prior_by_label=True), edition)
    low, high = by_label["priors"]["by_label"]
    assert low < 0.2 < over_all["priors"]["over_all"] < 0.7 < high
    assert (over_all["priors"]["in_use"], by_label["priors"]["in_use"]) == ("over_all", "by_label")
    assert over_all["priors"]["cells_that_differ"] == by_label["priors"]["cells_that_differ"] > 0
    assert over_all["priors"]["labels_with_the_other"] == by_label["labels"]


def test_crowdlab_for_single_labels(tmp_path):
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, 120)
    p = np.full((120, 3), 0.15)
    p[np.arange(120), np.where(rng.random(120) < 0.85, truth, (truth + 1) % 3)] = 0.7
    given = []
    for place, right in enumerate(truth.tolist()):
        for who in rng.permutation(6)[:2].tolist():
            said = right if rng.random() < (0.6 if who == 0 else 0.85) else (right + 1) % 3
            given += [
                vote(place, "label", ("a", "b", C)[label], f"rater {who}", "yes" if label == said else "no")
                for label in sorted({right, said})
            ]
    edition = table([[("a", "b", C)[k % 3]] for k in range(120)])
    edition = edition.append_column("probabilities.p", pa.FixedSizeListArray.from_arrays(pa.array(p.ravel()), 3))
    step = Consensus(votes=kept(tmp_path, given), method="crowdlab", threshold=0.6)
    assert step.needs() == ("probabilities",)
    _, found, _ = columns(step, edition)
    proposed = found["proposed"]
    settled = proposed >= 0
    assert settled.mean() > 0.6
    assert (proposed == truth)[settled].mean() > 0.95
    assert all(len(json.loads(text)) <= 1 for text in found["correct"])
    single = kept(tmp_path, [one for one in given if one.reviewer == "rater 1"], "one.parquet")
    with pytest.raises(SourceError, match="no picture has two votes"):
        columns(step.model_copy(update={"votes": single}), edition)


# ── invariants ───────────────────────────────────────────────────────────────────────────────────────────────────────

ANSWERS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from(PEOPLE), st.sampled_from(["no", "unclear", "yes"])),
    min_size=1,
    max_size=40,
    unique_by=lambda one: one[:3],
)


@settings(max_examples=30)
@given(ANSWERS, st.floats(0.55, 1), st.sampled_from(METHODS))
def test_a_higher_threshold_settles_less_and_each_cell_has_one_state(said, threshold, method):
    given = of_votes([vote(row, "label", CLASSES[label].id, who, answer) for row, label, who, answer in said])
    cells = cells_of(given, np.array([one[0] for one in said]), np.array([one[1] for one in said]))
    nothing = np.zeros((0, len(cells)), np.int64)
    found = {}
    for t in (0.55, threshold):
        how = Weighing(method, t, least=1)
        p = probabilities(cells, nothing, how)
        assert ((p >= 0) & (p <= 1)).all()
        found[t] = states(cells, p, how)
        assert set(found[t].tolist()) <= {CORRECT, UNCLEAR, WRONG}
    settled = found[threshold] != UNCLEAR
    assert (found[threshold][settled] == found[0.55][settled]).all()
    assert len(cells.cell) == len(said)


@given(
    st.lists(
        st.builds(
            Reviewed,
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
            st.sampled_from(["correct", "unclear", "wrong", "unchecked"]),
            st.floats(0, 1).map(lambda p: round(p, 6)),
            st.integers(0, 9),
        ),
        max_size=5,
        unique_by=lambda one: one.label,
    ),
    st.booleans(),
)
def test_a_member_reads_back(reviewed, problematic):
    one = LabelSet(("a", "b"), tuple(reviewed), problematic, "other" if problematic else "", 7)
    assert read_label_set(one.encode(), "here") == one


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"mistakes": {}, "label": []}'])
def test_another_member_is_refused(data):
    with pytest.raises(CorruptShard, match=r"^picture 7: its labels\.json can't be read"):
        read_label_set(data, "picture 7")
