"""What opinions on unsafe pictures come to: labelers with known tables of answers, abstentions, and people's votes."""

import json

import numpy as np
import pyarrow as pa
import pytest
from labelers_that_say import AD, BLUE, GREEN, NAN, THREE, Models, Says, drawn, judged, kept, says, table, vote
from pydantic import ValidationError

from variorum.curation.rules.policy import Policy
from variorum.curation.safety.harms.opinions import answer, family
from variorum.curation.safety.harms.weighing import STATES, Weighing, weighed
from variorum.curation.safety.safety import Safety
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import check_curation
from variorum.schemas.safety import ANY, CONTROL
from variorum.schemas.uses import Use

GOOD = [[0.95, 0.02, 0.03], [0.10, 0.05, 0.85]]
FAIR = [[0.85, 0.05, 0.10], [0.20, 0.10, 0.70]]
LOUD = [[0.55, 0.10, 0.35], [0.05, 0.05, 0.90]]
POOR = [[0.60, 0.10, 0.30], [0.40, 0.10, 0.50]]
TABLES = (GOOD, FAIR, LOUD, POOR, POOR)


def step(*labelers, categories=THREE, **more):
    return Safety(labelers=labelers, categories=categories, **more)


def said(values, labelers, **more):
    found, figures = judged(step(*labelers, **more), table(values, labelers))
    return found, figures


def states(found, category="blue"):
    return found[f"state.{category}"].tolist()


# ── Dawid–Skene ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_recovers_labelers_with_known_tables():
    truth, scores = drawn(3, 2000, TABLES, silent=0.1)
    labelers = [says(f"l{number}") for number in range(len(TABLES))]
    measured = table({f"{one.called}.blue": values for one, values in zip(labelers, scores, strict=True)}, labelers)
    by_method = {}
    for method in ("dawid_skene", "majority"):
        (one, *_) = weighed(labelers, THREE, measured, None, Weighing(method=method))
        by_method[method] = ((one.p[one.cell] >= 0.5) == truth).mean()
        if method == "dawid_skene":
            assert one.by == "dawid_skene"
            assert np.abs(one.tables - np.array(TABLES)).max() < 0.1
            assert np.abs(one.tables - np.array(TABLES)).mean() < 0.02
            assert one.p[one.cell].mean() == pytest.approx(truth.mean(), abs=0.03)
    assert by_method["dawid_skene"] > by_method["majority"] + 0.02
    assert by_method["dawid_skene"] > 0.9


def test_a_rare_category_is_found_from_a_share_of_votes_that_is_far_off():
    truth, scores = drawn(9, 20_000, TABLES, share=0.01)
    labelers = [says(f"l{number}") for number in range(len(TABLES))]
    measured = table({f"{one.called}.blue": values for one, values in zip(labelers, scores, strict=True)}, labelers)
    (one, *_) = weighed(labelers, THREE, measured, None, Weighing())
    p, share = one.p[one.cell], one.share[one.cell]
    assert share.mean() > 0.2
    assert p.mean() == pytest.approx(truth.mean(), abs=0.01)
    assert truth[p >= 0.8].mean() > 0.75


@pytest.mark.parametrize("doubled", [0, 3])
def test_a_labeler_that_is_there_twice_counts_once(doubled):
    _, scores = drawn(4, 1500, TABLES)
    labelers = [says(f"l{number}") for number in range(len(TABLES))]
    values = {f"{one.called}.blue": given for one, given in zip(labelers, scores, strict=True)}
    again = Says(label="again", speaks=("blue",), which=f"l{doubled}")
    assert family(again) == family(labelers[doubled])
    once, _ = said(values, labelers)
    twice, _ = said({**values, "again.blue": scores[doubled]}, [*labelers, again])
    assert np.abs(once["p.blue"] - twice["p.blue"]).max() < 0.03
    assert (once["state.blue"] == twice["state.blue"]).mean() > 0.99
    # as a labeler of its own it would count twice
    other = says("other")
    twice, _ = said({**values, "other.blue": scores[doubled]}, [*labelers, other])
    assert np.abs(once["p.blue"] - twice["p.blue"]).max() > 0.1


def test_who_abstains_everywhere_changes_nothing():
    _, scores = drawn(5, 400, TABLES)
    labelers = [says(f"l{number}") for number in range(len(TABLES))]
    values = {f"{one.called}.blue": given for one, given in zip(labelers, scores, strict=True)}
    silent = Says(label="silent", speaks=("blue", "green"), which="l0")  # of the family of one that speaks
    before, figures = said(values, labelers)
    after, with_silent = said(values, [*labelers, silent])
    for name, column in before.items():
        np.testing.assert_array_equal(np.asarray(column), np.asarray(after[name]))
    assert set(states(after, "green")) == {"unscored"}
    assert with_silent["categories"]["green"]["scored_by"] == []
    assert with_silent["categories"]["blue"]["scored_by"] == figures["categories"]["blue"]["scored_by"]


def test_the_order_of_pictures_and_their_number_decide_nothing():
    _, scores = drawn(6, 300, TABLES[:4])
    labelers = [says(f"l{number}") for number in range(4)]
    values = {f"{one.called}.blue": given for one, given in zip(labelers, scores, strict=True)}
    order = np.random.default_rng(0).permutation(300)
    first, _ = said(values, labelers)
    second, _ = said({name: column[order] for name, column in values.items()}, labelers)
    np.testing.assert_array_equal(first["p.blue"][order], second["p.blue"])


# ── few raters ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_with_fewer_than_three_raters_votes_are_counted_and_the_card_says_so():
    values = {"a.blue": [1.0, 1.0, 0.0, NAN, NAN] * 30, "b.blue": [1.0, 0.0, 0.0, 0.0, NAN] * 30}
    found, figures = said(values, [says("a"), says("b")])
    assert found["p.blue"][:4].tolist() == [1.0, 0.5, 0.0, 0.0]
    assert np.isnan(found["p.blue"][4])
    assert states(found)[:5] == ["unsafe", "unclear", "not_found", "not_found", "unscored"]
    assert figures["categories"]["blue"]["weighed_by"] == "share"
    assert any("blue shapes: fewer than 3 raters" in one for one in figures["findings"])
    enough, figures = said({**values, "c.blue": [1.0, 1.0, 0.0, 0.0, NAN] * 30}, [says("a"), says("b"), says("c")])
    assert figures["categories"]["blue"]["weighed_by"] == "dawid_skene"
    assert not any("fewer than 3" in one for one in figures["findings"])
    assert states(enough)[4] == "unscored"


def test_three_of_one_family_are_no_three_raters():
    labelers = [Says(label=name, which="same") for name in "abc"]
    values = {f"{name}.blue": [1.0, 0.0] * 40 for name in "abc"}
    assert said(values, labelers)[1]["categories"]["blue"]["weighed_by"] == "share"


def test_prompts_of_one_labeler_are_one_vote_and_a_tie_is_a_maybe():
    chatty = says("chatty", asked=("p0", "p1", "p2"))
    values = {
        "chatty.p0.blue": [1.0, 1.0, NAN, NAN],
        "chatty.p1.blue": [1.0, 0.0, 1.0, NAN],
        "chatty.p2.blue": [0.0, NAN, NAN, NAN],
        "b.blue": [0.0, 0.0, 0.0, 0.0],
    }
    found, _ = said(values, [chatty, says("b")])
    assert found["share.blue"].tolist() == [0.5, 0.25, 0.5, 0.0]


def test_scores_near_the_threshold_are_a_maybe():
    assert answer(np.array([NAN, 0.39, 0.4, 0.59, 0.6]), 0.5, 0.2).tolist() == [0, 1, 2, 2, 3]
    assert answer(np.array([0.0, 1.0]), 0.5, 0.0).tolist() == [1, 3]
    assert answer(np.array([0.0, 0.1, 1.0]), 0.0, 0.2).tolist() == [2, 2, 3]
    assert answer(np.array([0.0, 0.9, 1.0]), 1.0, 0.2).tolist() == [1, 2, 3]


def test_majority_leaves_ties_unclear():
    values = {"a.blue": [1.0, 1.0], "b.blue": [1.0, 0.0]}
    assert states(said(values, [says("a"), says("b")], method="majority")[0]) == ["unsafe", "unclear"]


def test_too_few_opinions_are_unclear():
    values = {"a.blue": [1.0, 0.0], "b.blue": [1.0, NAN]}
    assert states(said(values, [says("a"), says("b")], least_opinions=2)[0]) == ["unsafe", "unclear"]


# ── what isn't scored ────────────────────────────────────────────────────────────────────────────────────────────────


def test_unscored_is_said_everywhere_and_is_never_safe():
    found, figures = said({"a.blue": [1.0, 0.0, NAN]}, [says("a", "blue", "green")])
    assert states(found) == ["unsafe", "not_found", "unscored"]
    assert states(found, "green") == states(found, "ad") == ["unscored"] * 3
    assert [json.loads(one) for one in found["unscored"]] == [["green", "ad"], ["green", "ad"], ["blue", "green", "ad"]]
    assert np.isnan(found["score"][2])
    assert np.isnan(found["unsafe_p"][2])
    assert not found["flag"][2]
    for member, row in zip(map(json.loads, found["member"]), range(3), strict=True):
        assert dict(zip(member["category"], member["state"], strict=True)) == {
            one.id: found[f"state.{one.id}"][row] for one in THREE
        }
        assert member["unscored"] == json.loads(found["unscored"][row])
        assert [p is None for p in member["p"]] == [state == "unscored" for state in member["state"]]
    blue, green = (figures["categories"][name] for name in ("blue", "green"))
    assert (blue["scored"], blue["unscored"], blue["scored_by"]) == (2, 1, ["a"])
    assert (green["scored"], green["unscored"], green["weighed_by"]) == (0, 3, "nobody")
    assert figures["findings"][0].startswith("Unscored: green shapes, advertising. Nobody looked for these 2")
    assert "Unscored is not safe." in figures["findings"][0]
    assert "blue shapes in 1 of 3" in figures["findings"][1]
    assert figures["pictures"]["nobody_looked"] == 1
    assert not {"safe"} & {*STATES, *(state for member in found["member"] for state in json.loads(member)["state"])}


def test_the_card_calls_what_is_unscored_unscored():
    labelers = [says("a", "blue", CONTROL), says("b")]
    odd = GREEN.model_copy(update={"name": "green | <b>"})
    _, figures = said({"a.blue": [1.0, 0.0], "a.control": [0.0, 1.0]}, labelers, categories=(BLUE, odd, AD))
    text = _render("_safety", figures=json.loads(json.dumps(figures)), manifest=None)
    lines = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert "**nobody: unscored**" in lines["| advertising"]
    assert "| – | – | – | 2 |" in lines["| advertising"]
    assert "unscored" not in lines["| blue shapes"]
    assert "<b>" not in text
    assert "| ok 2 | – | 50.0 % |" in text


def test_no_pictures_at_all():
    assert said({"a.blue": np.zeros(0)}, [says("a")]) == ({}, {})


def test_policy_categories_are_no_harm():
    values = {"a.blue": [0.0, 1.0], "a.ad": [1.0, 1.0]}
    found, figures = said(values, [says("a", "blue", "ad")])
    assert found["policy_only"].tolist() == [True, False]
    assert found["flag"].tolist() == [False, True]
    assert found["score"].tolist() == [0.0, 1.0]
    assert found["unsafe_p"].tolist() == [1.0, 1.0]
    assert [json.loads(one) for one in found["unsafe"]] == [["ad"], ["blue", "ad"]]
    assert (figures["pictures"]["unsafe"], figures["pictures"]["policy_only"]) == (1, 1)


# ── what people are asked ────────────────────────────────────────────────────────────────────────────────────────────


def test_people_are_asked_what_labelers_leave_open():
    values = {"a.blue": [1.0, 1.0, 0.0, 0.5], "b.blue": [0.0, 1.0, 0.0, NAN], "a.green": [0.0, 0.0, 0.0, 0.52]}
    found, _ = said(values, [says("a", "blue", "green"), says("b")])
    assert found["needs_human"].tolist() == [True, False, False, True]
    assert [json.loads(one) for one in found["ask"]] == [
        [["blue", 1.0]],
        [],
        [],
        [["blue", 1.0], ["green", 1.0]],
    ]


def test_an_alarm_without_a_category_and_a_refusal_ask_about_every_harm():
    labelers = [says("a", "blue", ANY), says("b", "green")]
    values = {
        "a.any": [1.0, 1.0, 0.0, 0.0],
        "a.blue": [0.0, 1.0, 0.0, 0.0],
        "b.heard": ["ok", "ok", "refusal", "abstain"],
    }
    found, figures = said(values, labelers)
    assert found["needs_human"].tolist() == [True, False, True, False]
    asked = [[name for name, _ in json.loads(one)] for one in found["ask"]]
    assert asked == [["blue", "green"], [], ["blue", "green"], []]
    assert any("b is silent on some pictures: 1 refused, 1 no usable answer" in one for one in figures["findings"])


def test_a_lone_dissenter_is_no_contradiction_but_a_third_is():
    labelers = [says(name) for name in "abcd"]
    values = {"a.blue": [1.0, 1.0], "b.blue": [0.0, 1.0], "c.blue": [0.0, 0.0], "d.blue": [0.0, 0.0]}
    found, _ = said(values, labelers)
    assert found["needs_human"].tolist() == [True, True]  # a quarter of the votes is unclear
    labelers = [says(name) for name in "abcdef"]
    values = {f"{name}.blue": [float(name == "a"), float(name in "ab")] for name in "abcdef"}
    found, _ = said(values, labelers)
    assert states(found) == ["not_found", "unclear"]
    assert found["needs_human"].tolist() == [False, True]


# ── people's votes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_people_agree_on_is_known(tmp_path):
    values = {"a.blue": [1.0, 1.0, 0.0, 0.0, 1.0], "b.blue": [1.0, 0.0, 0.0, 0.0, 1.0]}
    votes = [
        *(vote(0, "blue", who, "no") for who in ("ann", "ben")),  # against all labelers
        *(vote(1, "blue", who, "yes") for who in ("ann", "ben")),
        *(vote(2, "green", who, "yes") for who in ("ann", "ben")),  # where nobody looked
        vote(3, "blue", "ann", "yes"),  # alone against the labelers
        vote(4, "blue", "ann", "yes"),
        vote(4, "blue", "ben", "no"),
        vote(4, "purple", "ben", "no"),
    ]
    found, figures = said(values, [says("a"), says("b")], votes=kept(tmp_path, votes))
    assert found["p.blue"][:2].tolist() == [0.0, 1.0]
    assert states(found)[:2] == ["not_found", "unsafe"]
    assert states(found, "green") == ["unscored", "unscored", "unsafe", "unscored", "unscored"]
    assert found["flag"][2]
    assert found["needs_human"].tolist() == [False, False, False, True, True]
    assert json.loads(found["member"][4])["people"] == [2, 0, 0]
    people = figures["people"]
    assert people["unknown_category"] == 1
    assert people["contradicted"] == 1
    assert people["reviewers"] == 2
    assert figures["categories"]["green"]["judged_by_people"] == 1
    assert len(figures["votes_sha256"]) == 64
    alone, _ = said(values, [says("a"), says("b")], votes=kept(tmp_path, votes), least_votes=1)
    assert states(alone)[3] == "unsafe"


def test_a_discussion_and_known_answers_are_final(tmp_path):
    (tmp_path / "gold.csv").write_text(f"kind,id,subject,truth\nunsafe,{2:032x},blue,yes\nunsafe,{2:032x},other,yes\n")
    votes = [
        vote(0, "blue", "ann", "yes", round=2),
        vote(1, "blue", "ann", "unclear", round=2),
    ]
    values = {"a.blue": [0.0, 1.0, 0.0]}
    found, _ = said(values, [says("a")], votes=kept(tmp_path, votes), gold=tmp_path / "gold.csv")
    assert states(found) == ["unsafe", "unclear", "unsafe"]
    assert not found["needs_human"].any()  # what people left unclear on purpose isn't asked again
    alone, _ = said(values, [says("a")], gold=tmp_path / "gold.csv")
    assert states(alone) == ["not_found", "unsafe", "unsafe"]


def test_votes_on_whether_a_picture_can_be_shown(tmp_path):
    votes = [
        *(vote(0, "", who, "no", kind="safe") for who in ("ann", "ben")),
        *(vote(1, "", who, "yes", kind="safe") for who in ("ann", "ben")),
    ]
    values = {"a.blue": [0.0, 0.0, 0.0], "a.heard": ["ok", "refusal", "refusal"]}
    found, _ = said(values, [says("a")], votes=kept(tmp_path, votes))
    assert found["needs_human"].tolist() == [True, False, True]
    assert states(found) == ["not_found"] * 3


def test_people_are_raters_with_tables_of_their_own(tmp_path):
    truth, scores = drawn(8, 600, [FAIR, POOR, POOR])
    labelers = [says(name) for name in "abc"]
    values = {f"{one.called}.blue": given for one, given in zip(labelers, scores, strict=True)}
    rng = np.random.default_rng(1)
    votes = [
        vote(row, "blue", who, "yes" if truth[row] ^ (rng.random() < 0.05) else "no")
        for row in range(0, 600, 2)
        for who in ("ann", "ben")
    ]
    without, _ = said(values, labelers)
    found, _ = said(values, labelers, votes=kept(tmp_path, votes))
    others = np.arange(1, 600, 2)
    assert ((found["p.blue"] >= 0.5) == truth)[::2].mean() > 0.97
    assert ((found["p.blue"] >= 0.5) == truth)[others].mean() >= ((without["p.blue"] >= 0.5) == truth)[others].mean()


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_figures_of_labelers():
    labelers = [says("a", "blue", "green", CONTROL), says("b", "blue"), says("c", "blue")]
    values = {
        "a.blue": [1.0, 0.0, 1.0, 0.0],
        "a.control": [1.0, 1.0, 0.0, NAN],
        "b.blue": [1.0, 0.0, 0.0, 1.0],
        "c.blue": [1.0, 0.0, NAN, NAN],
    }
    _, figures = said(values, labelers)
    prompt = figures["labelers"]["a"]["prompts"]["one prompt"]
    assert prompt["heard"] == {"ok": 4}
    assert prompt["control"] == {"answers": 3, "unsafe": 2}
    assert prompt["alarms"] == {"blue": {"answers": 4, "unsafe": 2}, "green": {"answers": 0, "unsafe": 0}}
    assert any("a calls 67 % of the pictures unsafe by a harmless definition" in one for one in figures["findings"])
    pairs = {tuple(one["labelers"]): one for one in figures["agreement"]["blue"]["pairs"]}
    assert (pairs["a", "b"]["kappa"], pairs["a", "b"]["pictures"]) == (0.0, 4)
    assert (pairs["a", "c"]["kappa"], pairs["a", "c"]["pictures"]) == (1.0, 2)
    json.dumps(figures, allow_nan=False)


def test_a_labeler_without_its_model_is_said_to_be_unavailable():
    class Needs(Says):
        def uses(self):
            return [Use("eyes")]

    labelers = [Needs(label="a"), says("b")]
    measured = table({"a.heard": ["unavailable"] * 2, "b.blue": [0.0, 0.0]}, labelers)
    _, figures = judged(step(*labelers), measured, Models(lacking="eyes"))
    assert figures["labelers"]["a"]["unavailable"] == "model eyes can't be had here"
    assert "Labeler a said nothing: model eyes can't be had here." in figures["findings"]


# ── wrong recipes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_wrong_recipes_are_refused_before_any_work(tmp_path):
    with pytest.raises(ValidationError, match="two labelers are called 'a'; give one a label"):
        step(says("a"), says("a"))
    with pytest.raises(ValidationError, match="one or more categories"):
        step(says("a"), categories=())
    with pytest.raises(ValidationError, match="one or more labelers"):
        step()
    ctx = Context(0, Models(), None)
    with pytest.raises(RecipeError, match=r"labelers.1: b speaks of none of blue, green, ad; it knows control, purple"):
        step(says("a"), says("b", "purple", CONTROL)).check(ctx)
    step(says("a", "blue", "purple"), says("b", ANY)).check(ctx)
    with pytest.raises(SourceError, match=r"curate.safety.votes: .*nothing.parquet"):
        step(says("a"), votes=tmp_path / "nothing.parquet").check(ctx)
    with pytest.raises(SourceError, match=r"curate.safety.gold: .*nothing.csv"):
        step(says("a"), gold=tmp_path / "nothing.csv").check(ctx)


def test_rules_can_name_its_columns_and_no_others():
    chatty = says("chatty", "blue", ANY, asked=("p0", "p1"))

    def rule(column, **test):
        return Policy(rules=({"when": [{"column": column, **test}], "action": "review", "reason": "r"},))

    one = step(chatty, says("b", "ad"))
    for column, test in (
        ("safety.p.blue", {"at_least": 0.5}),
        ("safety.chatty.p1.any", {"at_least": 0.5}),
        ("safety.b.heard", {"equals": "refusal"}),
        ("safety.state.ad", {"equals": "unsafe"}),
        ("safety.flag", {"equals": True}),
    ):
        check_curation([one, rule(column, **test)])
    with pytest.raises(RecipeError, match=r"safety gives no column 'p.blu'; did you mean safety.p.blue"):
        check_curation([one, rule("safety.p.blu", at_least=0.5)])
    with pytest.raises(RecipeError, match="holds texts"):
        check_curation([one, rule("safety.state.ad", at_least=0.5)])
    measured = table({"chatty.p0.blue": [1.0]}, one.labelers)
    found, _ = judged(one, measured)
    measured = {name.removeprefix("safety.") for name in measured.arrow.column_names if name.startswith("safety.")}
    assert {*found} | measured == {*one.known_columns()}


def test_more_labelers_than_fit_into_a_number():
    labelers = [says(f"l{number}", "blue") for number in range(33)]
    values = {f"{one.called}.blue": [1.0, 0.0, float(place % 2)] for place, one in enumerate(labelers)}
    assert states(said(values, labelers)[0]) == ["unsafe", "not_found", "unclear"]
    assert pa.array(said(values, labelers)[0]["member"]).type == pa.binary()


@pytest.mark.parametrize("name", ["heard", "text", "tokens", "any", "control"])
def test_no_category_has_the_name_of_another_column(name):
    with pytest.raises(ValidationError, match=f"no category can have the id '{name}'"):
        Safety(categories=(BLUE.model_copy(update={"id": name}),), labelers=(says("a"),))


@pytest.mark.parametrize("name", ["p", "share", "entropy", "state"])
def test_no_labeler_has_the_name_of_other_columns(name):
    with pytest.raises(ValidationError, match=f"no labeler can be called '{name}'"):
        Safety(categories=THREE, labelers=(says(name),))


def test_an_error_in_a_labeler_says_where_the_labeler_is():
    with pytest.raises(RecipeError, match=r"^curate\.0\.labelers\.threshold: input should be less than or equal to 1"):
        build_component("curate", {"name": "safety", "labelers": [{"name": "open_nsfw", "threshold": 2}]}, "curate.0")
