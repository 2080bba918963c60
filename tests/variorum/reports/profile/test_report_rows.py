"""From answers to rows: what a value, a difference, a curve and the twelve pictures are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from asked_rows import answers, asked
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.reports.profile.document import Difference, Row
from variorum.reports.profile.measure import measure
from variorum.schemas.rows import Answers, Figure, Shown

MODELS = "a", "b", "c"


def difference(row: Row, of: str, to: str) -> Difference:
    return next(one for one in row.differences if (one.of, one.to) == (of, to))


def first(count: int, n: int = 40) -> np.ndarray:
    """`count` photographs right of `n`."""
    return (np.arange(n) < count).astype(float)


def test_values_differences_and_holm_over_the_page():
    strong = {"a": answers(first(36)), "b": answers(first(20)), "c": answers(first(35))}
    weak = {"a": answers(first(30)), "b": answers(first(23)), "c": answers(first(30))}
    one, two = measure([asked("strong", strong), asked("weak", weak)], MODELS, seed=1)
    assert [found.figure.value for found in one.models.values()] == [90, 50, 87.5]
    worse = difference(one, "b", "a")
    assert (worse.value, worse.n, worse.verdict) == (-40, 40, "worse")
    assert worse.low < -40 < worse.high < 0
    better = difference(one, "a", "b")
    assert (better.value, better.low, better.high, better.verdict) == (40, -worse.high, -worse.low, "better")
    assert difference(one, "c", "a").verdict == "same"
    # 7 photographs all one way: p = 2 / 2⁷, which is not enough among the four tests with this reference
    doubtful = difference(two, "b", "a")
    assert doubtful.p == pytest.approx(1 / 64, abs=1e-6)
    assert (doubtful.holm, doubtful.verdict) == (pytest.approx(3 / 64, abs=1e-6), "worse")
    third, _ = measure([asked("weak", weak), asked("others", {**strong, "b": strong["c"]})], MODELS, seed=1)
    assert difference(third, "b", "a").holm == pytest.approx(4 / 64, abs=1e-6)
    assert difference(third, "b", "a").verdict == "perhaps worse"


def test_ties_are_the_same_with_p_1():
    [row] = measure([asked("tied", {name: answers(first(40)) for name in "ab"})], MODELS, seed=1)
    found = difference(row, "b", "a")
    assert (found.value, found.p, found.holm, found.verdict) == (0, 1, 1, "same")
    assert found.low < 0 < found.high  # 40 photographs don't show that there is none
    assert row.models["a"].figure.low == pytest.approx(91.19, abs=0.01)  # Clopper and Pearson, 40 of 40
    assert row.models["c"].why_not == "not asked"
    assert row.seen is None


def test_lower_is_better_turns_differences_round_and_none_has_no_side():
    said = {"a": answers(first(36)), "b": answers(first(20))}
    lower, neither = measure(
        [asked("lower", said, better="lower"), asked("neither", said, better="none")], ["a", "b"], seed=1
    )
    assert (difference(lower, "b", "a").value, difference(lower, "b", "a").verdict) == (40, "better")
    assert (difference(neither, "b", "a").value, difference(neither, "b", "a").verdict) == (-40, "differs")
    assert lower.scale == 100


@pytest.mark.parametrize(("n", "verdict"), [(29, None), (30, "worse")])
def test_few_photographs(n, verdict):
    said = {"a": answers(np.ones(n)), "b": answers(np.zeros(n))}
    [row] = measure([asked("few", said)], ["a", "b"], seed=1)
    if verdict is None:
        assert not row.differences
        assert row.models["a"].why_not == "too few photographs: 29, and 30 are needed"
    else:
        assert difference(row, "b", "a").verdict == verdict


def test_a_row_may_need_more_photographs_than_others():
    [row] = measure([asked("few", {"a": answers(first(9, 30))}, fewest=40)], ["a"], seed=1)
    assert row.models["a"].why_not == "too few photographs: 30, and 40 are needed"


def test_a_mean_over_columns_weighs_variants_alike_and_patterns_choose_them():
    top = np.stack([first(40), first(10), first(0)], axis=1)
    bottom = np.stack([np.ones(40), first(20), np.ones(40)], axis=1)
    said = answers(top * bottom, bottom, columns=("size_1", "size_2", "blur"))
    every, sizes, none = measure(
        [
            asked("every", {"a": said}),
            asked("sizes", {"a": said}, variants=["size_*"]),
            asked("none", {"a": said}, variants=["x*"]),
        ],
        ["a"],
        seed=1,
    )
    assert every.models["a"].figure.value == 50  # of 100, 50 and 0
    assert sizes.models["a"].figure.value == 75
    assert sizes.pictures_each == "1.5 pictures each"
    assert none.models["a"].why_not == "no picture of this kind: x*"


def test_differences_are_over_the_photographs_that_both_answered():
    one = answers(first(30))
    other = replace(answers(first(30)), photographs=[f"p{place:04}" for place in range(10, 50)])
    [row] = measure([asked("half", {"a": one, "b": other})], ["a", "b"], seed=1)
    found = difference(row, "b", "a")
    assert row.n == 50
    assert found.n == 30
    assert found.value == 33.33  # 30 of 30 beside 20 of 30
    assert row.models["b"].figure.value == 75


def test_swapping_whole_photographs_when_models_have_other_numbers_of_pictures():
    """As with decisions by shape: a model has them for some pictures of a photograph only."""
    rng = np.random.default_rng(1)
    shown = [rng.integers(1, 4, (60, 2)) for _ in "ab"]
    said = {name: answers(rng.binomial(n, p), n) for name, n, p in zip("ab", shown, (0.8, 0.4), strict=True)}
    [row] = measure([asked("cues", said, better="none")], ["a", "b"], seed=1)
    assert difference(row, "b", "a").verdict == "differs"


def test_a_whole_figure_by_column_has_a_curve_and_is_their_mean():
    rng = np.random.default_rng(4)
    hits = rng.random((60, 3)) < [0.9, 0.6, 0.2]
    of = {"a": hits, "b": np.zeros_like(hits)}

    def by(model):
        return lambda counts: np.array([counts @ column / counts.sum() for column in of[model].T.astype(float)])

    axes = {"variant": ("c0", "c1", "c2")}
    said = {name: answers(np.zeros((60, 3)), axes=axes, whole_by=by(name)) for name in of}
    asks = {"curve": ["variant"], "variants": ["c0", "c2"]}
    [row] = measure([asked("detection", said, Figure("AP", "whole"), **asks)], list(of), seed=1)
    shares = 100 * hits[:, [0, 2]].mean(axis=0)
    assert row.models["a"].figure.value == pytest.approx(shares.mean(), abs=0.01)
    line = next(one for one in row.curve.lines if one.model == "a")
    assert [one.value for one in line.points] == pytest.approx(shares, abs=0.01)
    for one in (row.models["a"].figure, *line.points):
        assert one.low < one.value < one.high
    assert row.differences[0].value == pytest.approx(-shares.mean(), abs=0.01)


def test_a_whole_figure_is_computed_anew_in_each_draw():
    right = np.stack([first(53, 60), first(24, 60)], axis=1)

    def error(model: int):
        return lambda counts: float(abs(counts @ (right[:, model] - 0.85)) / counts.sum())

    photographs = [f"p{place:04}" for place in range(60)]
    said = {
        name: Answers("f", name, photographs, whole=error(model), floor=0.04, note="15 bins")
        for model, name in enumerate("ab")
    }
    [row] = measure([asked("calibration", said, Figure("ECE", "whole", "lower"))], ["a", "b"], seed=1)
    assert row.models["a"].figure.says == ("at its floor",)
    assert row.models["b"].figure.says == ()
    assert row.models["b"].figure.floor == 4
    assert row.scale == 100
    found = difference(row, "b", "a")
    assert (found.verdict, found.p) == ("worse", 1 / 400)
    assert row.note == "15 bins"
    assert row.curve is None


def test_the_least_group_is_chosen_anew_and_has_20_photographs():
    groups = np.repeat(np.eye(4), [30, 30, 30, 10], axis=0)
    right = np.concatenate([first(27, 30), first(15, 30), first(29, 30), first(0, 10)])[:, None]
    [row] = measure(
        [asked("worst", {"a": answers(groups * right, groups)}, Figure("accuracy", "least"))], ["a"], seed=1
    )
    found = row.models["a"].figure
    assert found.value == 50  # the group of ten doesn't count
    assert found.low < 50 < found.high
    assert 65 < found.floor < 78.9  # groups alike would all be at 78.9, their least a bit lower
    assert found.says == ()
    level = np.concatenate([first(24, 30)] * 3 + [first(10, 10)])[:, None]
    [row] = measure(
        [asked("worst", {"a": answers(groups * level, groups)}, Figure("accuracy", "least"))], ["a"], seed=1
    )
    assert row.models["a"].figure.says == ("at its floor",)
    small = np.repeat(np.eye(4), 10, axis=0)
    [row] = measure([asked("worst", {"a": answers(small, small)}, Figure("accuracy", "least"))], ["a"], seed=1)
    assert row.models["a"].why_not == "no group has 20 photographs"


def test_chance_is_told_where_the_row_has_it():
    said = {"a": answers(first(6), floor=0.1), "b": answers(first(30), floor=0.1)}
    with_it, without = measure([asked("with", said, chance="classes"), asked("without", said)], ["a", "b"], seed=1)
    assert with_it.chance == 10
    assert with_it.models["a"].figure.says == ("at chance",)
    assert with_it.models["b"].figure.says == ()
    assert without.chance is None
    assert without.models["a"].figure.says == ()


def test_curves_run_along_an_axis_with_a_line_for_each_value_of_a_second():
    top = np.stack([first(40), first(30), first(20), first(10), first(0)], axis=1)
    axes = {"severity": (1.0, 3.0, 1.0, 3.0, None), "kind": ("snow", "snow", "fog", "fog", None)}
    said = {"a": answers(top, axes=axes)}
    one, two = measure(
        [asked("one", said, curve=["severity"]), asked("two", said, curve=["severity", "kind"])], ["a"], seed=1
    )
    assert one.curve.at == (1, 3)
    assert [point.value for line in one.curve.lines for point in line.points] == [75, 50]
    assert [(line.series, [point.value for point in line.points]) for line in two.curve.lines] == [
        ("snow", [100, 75]),
        ("fog", [50, 25]),
    ]
    assert two.curve.lines[0].points[0].low == pytest.approx(91.19, abs=0.01)


def test_a_curve_by_names_stands_in_their_order_and_has_gaps():
    bottom = np.stack([np.ones(40), first(9)], axis=1)
    said = {"a": answers(bottom, bottom, axes={"variant": ("soft", "rich")})}
    [row] = measure([asked("one", said, curve=["variant"])], ["a"], seed=1)
    assert row.curve.at == ("soft", "rich")
    assert row.curve.lines[0].points[1] is None  # nine photographs


def shown(p: np.ndarray, classes: int, said: str = "other") -> Shown:
    """A picture of each of the columns `[n, V]` of each photograph; photograph i shows class i modulo `classes`."""
    n, width = p.shape
    labels = [f"class {place % classes}" for place in np.repeat(np.arange(n), width)]
    return Shown(
        ids=[f"{place:05}" for place in range(p.size)],
        photograph=np.repeat(np.arange(n), width),
        column=np.tile(np.arange(width), n),
        p_label=p.ravel().astype(np.float32),
        said=[label if one >= 0.5 else said for label, one in zip(labels, p.ravel(), strict=True)],
        right=p.ravel() >= 0.5,
        label=labels,
    )


def test_the_twelve_pictures_are_those_with_the_widest_gap():
    rng = np.random.default_rng(1)
    p = {name: rng.random((60, 4)) for name in MODELS}
    p["b"][7, 2] = np.nan
    p["a"][:3], p["c"][:3] = 1, 0  # three photographs of three classes with the widest gap in all four pictures
    said = {name: answers(one > 0.5, pictures=shown(one, 20)) for name, one in p.items()}
    [row] = measure([asked("edits", said, variants=["c0", "c1", "c2"])], MODELS, seed=1)
    assert len(row.pictures) == 12
    assert [one.id for one in row.pictures[:6]] == ["00000", "00001", "00004", "00005", "00008", "00009"]
    assert all(one.column != "c3" for one in row.pictures)
    photographs = [one.photograph for one in row.pictures]
    assert max(map(photographs.count, photographs)) == 2
    labels = [one.label for one in row.pictures]
    assert max(map(labels.count, labels)) <= 3
    assert [(one.model, one.answer, one.p_label, one.right) for one in row.pictures[0].said] == [
        ("a", "class 0", 1.0, True),
        ("b", *_said(p["b"][0, 0], "class 0")),
        ("c", "other", 0.0, False),
    ]


def _said(p: float, label: str) -> tuple[str, float, bool]:
    return label if p >= 0.5 else "other", pytest.approx(p, abs=1e-4), bool(p >= 0.5)


def test_at_most_three_pictures_show_one_class_and_one_model_shows_none():
    p = np.ones((40, 1))
    said = {"a": answers(p, pictures=shown(p, 2)), "b": answers(p - 1, pictures=shown(p - 1, 2))}
    [row] = measure([asked("edits", said)], ["a", "b"], seed=1)
    assert [one.label for one in row.pictures] == ["class 0", "class 1"] * 3
    [row] = measure([asked("edits", {"a": said["a"]})], ["a", "b"], seed=1)
    assert row.pictures == ()


def test_labels_that_are_not_told_come_from_a_model_that_is_right():
    p = np.ones((40, 1))
    untold = {"a": replace(shown(p, 2), label=()), "b": replace(shown(p - 1, 2), label=())}
    [row] = measure(
        [asked("edits", {name: answers(p, pictures=one) for name, one in untold.items()})], ["a", "b"], seed=1
    )
    assert [one.label for one in row.pictures] == ["class 0", "class 1"] * 3


def test_reasons_sections_and_under_rows_pass_through():
    said = {"a": answers(first(20)), "b": Answers("f", "b", why_not="gives no embedding")}
    below = {"id": "control", "title": "Control", "edition": "edits", "of": "e.f"}
    one = asked("attack", said, section="Attacks", under=[below])
    rows = measure([one, replace(one, spec=one.spec.under[0]), asked("last", said)], ["a", "b"], seed=1)
    assert [(row.section, row.under) for row in rows] == [("Attacks", ""), ("Attacks", "attack"), ("Attacks", "")]
    assert rows[0].models["b"].why_not == "gives no embedding"
    assert rows[0].models["b"].figure is None
    assert rows[0].differences == ()


@given(st.integers(0, 10**6), st.integers(30, 50), st.integers(1, 3))
@settings(max_examples=10)
def test_rows_depend_on_nothing_but_the_answers(seed, n, width):
    """Neither on the order of photographs, columns and models, nor on the rows beside."""
    rng = np.random.default_rng(seed)
    tops = {name: (rng.random((n, width)) < 0.6).astype(float) for name in "ab"}
    said = {name: answers(one) for name, one in tops.items()}
    [row] = measure([asked("row", said)], ["a", "b"], seed=1)
    for found in row.models.values():
        assert 0 <= found.figure.low <= found.figure.value <= found.figure.high <= 100
    order, columns = rng.permutation(n), rng.permutation(width)
    mixed = {
        name: answers(
            one[order][:, columns],
            columns=tuple(f"c{place}" for place in columns),
            photographs=[f"p{place:04}" for place in order],
        )
        for name, one in tops.items()
    }
    other = asked("other", {name: answers(first(9, n + 1)) for name in "ab"})
    again, _ = measure([asked("row", mixed), other], ["b", "a"], seed=1)
    assert dict(again.models) == dict(row.models)
    for one in row.differences:
        twin = difference(again, one.of, one.to)
        assert (twin.value, twin.low, twin.high, twin.p) == (one.value, one.low, one.high, one.p)
