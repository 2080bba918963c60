import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.curation.rules.guard import guard
from variorum.curation.rules.policy import Policy
from variorum.curation.rules.rule import Condition
from variorum.edition.verdicts import verdict_table, verdicts_of
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.table import Table

CONTEXT = Context(0, None, None)


def table(label, **columns) -> pa.Table:
    names = [f"c{index}" for index in label]
    data = {
        "id": [f"{number:04d}" for number in range(len(label))],
        "sha256": ["s"] * len(label),
        "label": pa.array(label, pa.int64()),
        "labels": pa.array(
            [[name] if index >= 0 else [] for name, index in zip(names, label, strict=True)], pa.list_(pa.string())
        ),
    }
    return pa.table({**data, **{f"d.{name}": values for name, values in columns.items()}})


def said(step, data) -> pa.Table:
    return verdict_table(step.decide(Table(data, "policy"), CONTEXT), data)


def decided(step, data) -> list:
    return [verdict for verdict in verdicts_of(said(step, data)) if verdict.action != "note"]


def verdicts(rules, data, **fields) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    step = build_component(
        "curate",
        {"name": "policy", "rules": rules, "min_class_size": 1, "max_share_per_class": 1, **fields},
        "here",
    )
    return {v.id: (v.action, v.reason, v.labels) for v in decided(step, data)}


def rule(action="drop", reason="r", column="d.score", **rest):
    test = {key: rest.pop(key) for key in ("above", "at_least", "below", "at_most", "equals", "same_as") if key in rest}
    return {"when": [{"column": column, **(test or {"above": 0.5})}], "action": action, "reason": reason, **rest}


def test_the_first_rule_that_matches_decides():
    data = table([0, 0, 0, 1], score=[0.9, 0.6, 0.1, math.nan], flag=[True, False, True, True])
    found = verdicts(
        [rule(above=0.8, reason="high"), rule("review", "any"), rule("keep", "flagged", "d.flag", equals=True)], data
    )
    assert found == {
        "0000": ("drop", "high", ()),
        "0001": ("review", "any", ()),
        "0002": ("keep", "flagged", ()),
        "0003": ("keep", "flagged", ()),
    }


def test_a_rule_that_withholds_acts_wherever_it_stands_and_in_classes_of_any_size():
    data = table([0, 0, 0], score=[0.9, 0.9, 0.1], flag=[False, True, False], harm=[0.9, 0.9, 0.9])
    rules = [rule("keep", "flagged", "d.flag", equals=True), rule(), rule("withhold", "unsafe", "d.harm")]
    expected = {"0000": ("withhold", "unsafe", ()), "0001": ("keep", "flagged", ()), "0002": ("withhold", "unsafe", ())}
    assert verdicts(rules, data, min_class_size=30) == expected
    step = build_component("curate", {"name": "policy", "rules": rules, "min_class_size": 1}, "here")
    assert step.figures(Table(data, "policy", said=said(step, data)), CONTEXT)["untouched"] == 0


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"above": 2}, [3]),
        ({"at_least": 2}, [2, 3]),
        ({"below": 2}, [1]),
        ({"at_most": 2}, [1, 2]),
        ({"equals": 2}, [2]),
        ({"above": 1, "below": 3}, [2]),
    ],
)
def test_conditions(test, expected):
    values = np.array([1.0, 2.0, 3.0, math.nan])
    assert values[Condition(column="x", **test).matches({"x": values})].tolist() == expected


def test_texts_are_compared_whole():
    values = np.array(["odd", "", "odd_size"], dtype=object)
    assert Condition(column="x", equals="odd").matches({"x": values}).tolist() == [True, False, False]


def test_two_columns_that_must_agree():
    columns = {"x": np.array([1.0, 2.0, math.nan, 3.0]), "y": np.array([1.0, 3.0, math.nan, 3.0])}
    assert Condition(column="x", same_as="y").matches(columns).tolist() == [True, False, False, True]
    assert Condition(column="x", same_as="y", above=2).matches(columns).tolist() == [False, False, False, True]
    assert Policy(rules=[rule(column="a.x", same_as="b.y")]).needs() == ("a", "b")


def test_relabelling_names_the_class_by_its_id():
    data = table([0, 0, 1, 0], score=[1.0, 1.0, 1.0, 1.0], to=[1, 0, 0, 7])
    assert verdicts([rule("relabel", "wrong", to="d.to")], data) == {
        "0000": ("relabel", "wrong", ("c1",)),
        "0001": ("review", "wrong_without_another_label", ()),  # its own label
        "0002": ("relabel", "wrong", ("c0",)),
        "0003": ("review", "wrong_without_another_label", ()),  # a class that the edition doesn't have
    }


def test_small_classes_and_large_shares_go_to_people():
    label = [0] * 10 + [1] * 3
    data = table(label, score=[0.9, 0.8, 0.7, *[0.0] * 7, 1.0, 0.0, 0.0])
    guarded = [rule(value="d.score")]
    found = verdicts(guarded, data, min_class_size=5, max_share_per_class=0.2)
    assert found == {
        "0000": ("drop", "r", ()),
        "0001": ("drop", "r", ()),
        "0002": ("review", "r_capped", ()),
        "0010": ("review", "r_rare", ()),
    }
    free = verdicts([rule(value="d.score", guarded=False)], data, min_class_size=5, max_share_per_class=0.2)
    assert {action for action, *_ in free.values()} == {"drop"}


def test_equal_evidence_goes_by_id_and_not_by_the_order_of_rows():
    data = table([0] * 6, score=[1.0] * 6)
    rules = [rule(value="d.score")]
    found = verdicts(rules, data, min_class_size=1, max_share_per_class=0.5)
    turned = verdicts(rules, data.take([5, 3, 1, 0, 2, 4]), min_class_size=1, max_share_per_class=0.5)
    assert found == turned
    assert [name for name, (action, *_) in sorted(found.items()) if action == "drop"] == ["0000", "0001", "0002"]


@given(
    st.lists(st.tuples(st.integers(-1, 3), st.booleans(), st.floats(0, 1)), max_size=40),
    st.floats(0.05, 1),
    st.integers(1, 6),
)
def test_the_guard_keeps_its_promise(rows, share, least):
    label = np.array([row[0] for row in rows], dtype=np.int64)
    acts = np.array([row[1] for row in rows], dtype=bool)
    values = np.array([row[2] for row in rows], dtype=float)
    held = guard(label, acts, values, np.arange(len(label)), least, share)
    assert not held[~acts].any()
    for index in np.unique(label):
        own = label == index
        acted = own & acts & (held == "")
        if own.sum() < least:
            assert not acted.any()
        else:
            assert acted.sum() == min((own & acts).sum(), math.floor(share * own.sum()))
            capped = own & (held == "capped")
            assert not capped.any() or not acted.any() or values[capped].max() <= values[acted].min()


def test_what_a_recipe_may_not_say():
    def refused(rules, message):
        with pytest.raises(RecipeError, match=message):
            build_component("curate", {"name": "policy", "rules": rules}, "curate.0")

    refused([], "at least 1 item")
    refused([{"when": [{"column": "d.x"}], "action": "drop", "reason": "r"}], "needs above, at_least")
    refused([rule("relabel")], "relabel needs `to`")
    refused([rule("weight")], "weight needs `value`")
    refused([rule(reason="Very bad|<b>")], "should match pattern")
    refused([rule("delete")], "'keep', 'drop'")


def test_a_column_that_isnt_there_and_steps_that_are_needed():
    step = Policy(rules=[rule(column="nope.score"), rule(column="gate.label_p"), rule(column="variant", equals="x")])
    assert step.needs() == ("nope",)
    with pytest.raises(RecipeError, match=r"no column 'nope.score'. Is 'nope' in the recipe's curate list"):
        decided(step, table([0]))


def test_a_gate_that_no_picture_has_matches_none():
    assert verdicts([rule(column="gate.mask_band", above=0)], table([0, 1])) == {}


def test_values_that_a_rule_cannot_use():
    data = table(
        [0, 0, 1], score=[1.0, 0.0, 0.0], kind=["a", "b", "c"], weight=[2.5, 1.0, math.nan], to=[math.nan, 1, 0]
    )
    with pytest.raises(RecipeError, match=r"d\.weight gives the weight 2\.5"):
        verdicts([rule("weight", column="d.score", at_least=0, value="d.weight")], data)
    fine = rule("weight", column="d.weight", at_most=1, value="d.weight")
    assert verdicts([fine], data) == {"0001": ("weight", "r", ())}
    assert verdicts([rule("relabel", column="d.score", at_least=0, to="d.to")], data) == {
        "0000": ("review", "r_without_another_label", ()),
        "0001": ("relabel", "r", ("c1",)),
        "0002": ("relabel", "r", ("c0",)),
    }


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (rule(column="d.kind", above=1), "rule r: column d.kind holds texts, not numbers; only numbers have an order"),
        (rule(column="d.flag", above=0.5), "d.flag holds true and false, not numbers"),
        (rule(column="d.flag", equals="true"), 'd.flag holds true and false, not texts; equals: "true" would never'),
        (rule(column="d.flag", equals=1), "d.flag holds true and false, not numbers; equals: 1 would never match"),
        (rule(column="d.score", equals=True), "d.score holds numbers, not true and false; equals: true"),
        (rule(column="d.kind", equals=3), "d.kind holds texts, not numbers"),
        (rule(column="d.score", same_as="d.kind"), "d.kind holds texts, not numbers; d.score can't be the same"),
        (rule(value="d.kind"), "d.kind holds texts, not numbers; name another column in value"),
        (rule("weight", value="d.flag"), "d.flag holds true and false, not numbers; name another column in value"),
        (rule("relabel", to="d.kind"), "d.kind holds texts, not numbers; name another column in to"),
        (rule(column="labels", equals="c0"), r"column labels holds list<.*>, not texts"),
    ],
)
def test_columns_of_another_kind_are_refused_even_where_nothing_matches(bad, message):
    data = table([0, 0], score=[0.0, 0.0], kind=["a", "b"], flag=[True, False])
    with pytest.raises(RecipeError, match=message):
        verdicts([bad], data)


def test_verdicts_come_by_rule_and_the_worst_first():
    data = table([0] * 6, score=[0.2, 0.9, 0.6, 0.3, 0.6, math.nan], flag=[True] * 6)
    step = Policy(
        rules=[rule("review", "high", above=0.5, value="d.score"), rule("review", "any", "d.flag", equals=True)]
    )
    found = [(v.id, v.reason) for v in decided(step, data)]
    assert [name for name, reason in found if reason == "high"] == ["0001", "0002", "0004"]  # ties by id
    assert found[3:] == [("0000", "any"), ("0003", "any"), ("0005", "any")]


def test_every_other_rule_that_matches_is_noted():
    data = table([0] * 4, score=[0.9, 0.9, 0.2, 0.9], flag=[True, False, True, True])
    rules = [
        rule("keep", "fine", "id", equals="0003"),
        rule("drop", "high", above=0.5, guarded=False),
        rule("review", "flagged", "d.flag", equals=True),
    ]
    step = Policy(rules=rules, min_class_size=1)
    found = [(v.id, v.action, v.reason) for v in verdicts_of(said(step, data))]
    assert found == [
        ("0003", "keep", "fine"),  # and nothing more about it
        ("0000", "drop", "high"),
        ("0001", "drop", "high"),
        ("0002", "review", "flagged"),
        ("0000", "note", "flagged"),
    ]


def test_a_question_is_worth_what_its_best_reason_makes_of_it():
    data = table([0] * 3, score=[0.9, 0.6, 0.6], chance=[0.3, 0.4, math.nan], flag=[True, True, False])
    rules = [
        rule("review", "high", above=0.5, chance=0.2, worth=0.5),
        rule("review", "doubt", "d.flag", equals=True, chance="d.chance"),
        rule("review", "rest", "d.score", above=0),
    ]
    found = {v.id: v.worth for v in decided(Policy(rules=rules), data)}
    assert found == {"0000": 0.3, "0001": 0.4, "0002": 0.1}
    with pytest.raises(RecipeError, match=r"rule doubt: d\.chance gives the chance 1\.5, outside \[0, 1\]"):
        decided(Policy(rules=rules), table([0], score=[0.9], chance=[1.5], flag=[True]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (rule("drop", chance=0.5), "drop asks nobody; remove `chance`"),
        (rule("review", chance=2), "a chance is between 0 and 1, not 2"),
        (rule("drop", to="d.new"), "drop gives no label; remove `to`"),
    ],
)
def test_what_a_rule_cannot_say(bad, message):
    with pytest.raises(RecipeError, match=message):
        verdicts([bad], table([0], score=[0.9]))


def test_a_review_may_propose_a_label():
    data = table([0, 1, 2], score=[1.0] * 3, new=[2, 1, 9])
    found = verdicts([rule("review", "other", to="d.new")], data)
    assert [(action, labels) for action, _, labels in found.values()] == [
        ("review", ("c2",)),
        ("review", ()),
        ("review", ()),
    ]


# ── copies and what they are copies of ───────────────────────────────────────────────────────────────────────────────

COPY = rule(reason="copy", column="duplicates.flag", equals=True, guarded=False)


def with_copies(keeper: list[int], label=None, detail=None, **columns) -> pa.Table:
    """A table in which row k is a copy of row `keeper[k]`, or stays if that is k itself."""
    data = table(label or [0] * len(keeper), **columns)
    more = {
        "flag": [k != own for own, k in enumerate(keeper)],
        "keeper": [f"{k:04d}" for k in keeper],
        "detail": [float(value) for value in detail or [1] * len(keeper)],
        "height": [10] * len(keeper),
        "width": [10] * len(keeper),
    }
    for name, values in more.items():
        data = data.append_column(f"duplicates.{name}", pa.array(values))
    return data


def dropped(rules, data, **fields) -> dict[str, str]:
    return {name: reason for name, (action, reason, _) in verdicts(rules, data, **fields).items() if action == "drop"}


BLURRED = rule(reason="blurred", column="d.blur", above=0.5, guarded=False)


def test_a_copy_stays_when_the_picture_that_it_is_a_copy_of_goes():
    data = with_copies([0, 0, 2, 2], blur=[1.0, 0.0, 0.0, 0.0])
    assert dropped([BLURRED, COPY], data) == {"0000": "blurred", "0003": "copy"}


def test_of_several_copies_the_best_stays_in_its_place():
    data = with_copies([0, 0, 0, 0], detail=[9, 2, 5, 5], blur=[1.0, 0.0, 0.0, 0.0])
    assert dropped([BLURRED, COPY], data) == {"0000": "blurred", "0001": "copy", "0003": "copy"}


def test_a_copy_that_stays_is_judged_by_the_rules_that_follow():
    data = with_copies([0, 0, 0], detail=[9, 5, 2], blur=[1.0, 0.0, 0.0], doubt=[0.0, 1.0, 0.0])
    later = rule("review", "doubtful", "d.doubt", above=0.5)
    found = verdicts([BLURRED, COPY, later], data)
    assert found["0001"][:2] == ("review", "doubtful")
    assert dropped([BLURRED, COPY, later], data) == {"0000": "blurred", "0002": "copy"}
    goes = rule(reason="bad", column="d.doubt", above=0.5, guarded=False)  # the next copy stays instead
    assert dropped([BLURRED, COPY, goes], data) == {"0000": "blurred", "0001": "bad"}


def test_a_drop_that_is_held_back_costs_no_copy():
    guarded = rule(reason="blurred", column="d.blur", above=0.5, value="d.blur")
    data = with_copies([0, 0, 2, 3], blur=[1.0, 0.0, 0.0, 0.0])
    assert dropped([guarded, COPY], data, min_class_size=9) == {"0001": "copy"}
    assert dropped([guarded, COPY], data) == {"0000": "blurred"}


def test_a_rule_on_groups_that_would_drop_all_of_one_keeps_its_best():
    data = with_copies([0, 0, 0, 3]).append_column("duplicates.group_size", pa.array([3, 3, 3, 1]))
    everything = rule(reason="in_a_group", column="duplicates.group_size", above=1, guarded=False)
    assert dropped([everything], data) == {"0000": "in_a_group", "0002": "in_a_group"}
    alone = rule(reason="alone", column="duplicates.group_size", equals=1, guarded=False)
    assert dropped([alone], data) == {"0003": "alone"}


@given(st.lists(st.tuples(st.integers(0, 11), st.booleans(), st.booleans(), st.floats(0, 1)), min_size=1, max_size=12))
def test_of_a_picture_and_its_copies_one_stays_if_one_has_no_fault_of_its_own(rows):
    roots = [k for k, row in enumerate(rows) if row[1]] or [0]
    keeper = [own if own in roots else roots[row[0] % len(roots)] for own, row in enumerate(rows)]
    blur, value = [float(row[2]) for row in rows], [row[3] for row in rows]
    data = with_copies(keeper, detail=value, blur=blur, value=value)
    late = rule(reason="late", column="d.value", above=0.7, guarded=False)
    gone = dropped([BLURRED, COPY, late], data)
    for root in roots:
        family = [own for own, mine in enumerate(keeper) if mine == root]
        left = [own for own in family if f"{own:04d}" not in gone]
        assert bool(left) == any(not blur[own] and value[own] <= 0.7 for own in family)
        assert len(left) <= 1
        assert left or "copy" not in {gone[f"{own:04d}"] for own in family}


def test_weights_and_an_empty_edition():
    data = table([0, 0], score=[1.0, 0.0], weight=[0.25, 1.0])
    step = Policy(rules=[rule("weight", "doubt", value="d.weight")])
    assert [(v.action, v.value) for v in decided(step, data)] == [("weight", 0.25)]
    seen = Table(data, "policy", said=said(step, data))
    assert step.figures(seen, CONTEXT) == {"decided": {"weight doubt": 1}, "untouched": 1}
    assert decided(step, data.slice(0, 0)) == []
