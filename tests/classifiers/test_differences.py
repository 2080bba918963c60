"""Several classifiers on the same photographs: pairing, differences, and the figures of many at once."""

import numpy as np
import pyarrow as pa
import pytest

from variorum.evaluation.classifiers.accuracy_drop import AccuracyDrop
from variorum.kit.predicted.drops import MOST_PAIRS, pairs
from variorum.kit.predicted.pairing import UNSCORED, paired, roots
from variorum.kit.predicted.resamples import Ratio, Resamples, Units
from variorum.reports.figures import interval
from variorum.reports.templates import render
from variorum.schemas.component import Context
from variorum.schemas.table import Table
from variorum.statistics import mean_ratio, paired_interval

VARIANTS = ("original", "control", "size", "colour")


def table(right, *, unscored=()):
    """Rows of photographs with three edits each.

    Args:
        right: by classifier, whether it is right `[sources, 4]`.
        unscored: (classifier, source, variant) that it doesn't know.
    """
    rows = []
    for alias, found in right.items():
        for source, of_source in enumerate(found):
            for number, variant in enumerate(VARIANTS):
                label = UNSCORED if (alias, source, variant) in unscored else 3
                rows.append(
                    {
                        "id": f"s{source:04d}{variant}" if number else f"s{source:04d}",
                        "parent": f"s{source:04d}" if number else "",
                        "variant": variant,
                        "reference": "size" if variant == "colour" else "",
                        "classifier": alias,
                        "label": label,
                        "labels": int(label != UNSCORED),
                        "top1": 3 if of_source[number] else 4,
                        "correct": bool(of_source[number]) and label != UNSCORED,
                        "confidence": 0.25 + 0.5 * float(of_source[number]),
                        "p_label": 0.5,
                        "outputs": 10,
                        "preprocessing": f"as {alias} does",
                    }
                )
    return Table(pa.Table.from_pylist(rows), "accuracy_drop")


def figures(right, **more):
    ctx = Context(seed=5, models=None, memo=lambda key, compute: compute())
    return AccuracyDrop(classifiers=tuple(right), bootstrap=400).figures(table(right, **more), ctx)


@pytest.fixture(scope="module")
def alike():
    """Two classifiers whose errors go together: one is wrong where the other is, and on some more pictures."""
    hard = np.random.default_rng(0).random((150, 4))
    return {"a": hard < 0.7, "b": hard < 0.62}


def width(interval):
    return interval["high"] - interval["low"]


def test_a_difference_is_that_of_the_figures_and_its_interval_is_narrower_than_unpaired(alike):
    found = figures(alike)
    (pair,) = found["differences"]
    assert (pair["of"], pair["n"]) == (["a", "b"], 150)
    one, other = (found["classifiers"][name] for name in ("a", "b"))
    assert pair["original_accuracy"]["value"] == pytest.approx(
        one["original_accuracy"] - other["original_accuracy"], abs=0.011
    )
    for name in ("average_accuracy", "average_drop"):
        assert pair[name]["value"] == pytest.approx(one[name]["value"] - other[name]["value"], abs=0.011)
        assert pair[name]["low"] <= pair[name]["value"] <= pair[name]["high"]
    unpaired = np.hypot(width(one["average_accuracy"]), width(other["average_accuracy"]))
    assert width(pair["average_accuracy"]) < 0.6 * unpaired


def test_a_classifier_differs_from_itself_by_nothing_as_far_as_so_many_photographs_can_say(alike):
    (pair,) = figures({"a": alike["a"], "again": alike["a"]})["differences"]
    end = round(100 * (1 - 0.025 ** (1 / 150)), 2)
    for name in ("original_accuracy", "average_accuracy", "average_drop"):
        assert pair[name] == {"value": 0.0, "low": -end, "high": end, "photographs": 150}


def test_changing_places_changes_the_sign(alike):
    (pair,) = figures(alike)["differences"]
    (turned,) = figures({"b": alike["b"], "a": alike["a"]})["differences"]
    for name in ("original_accuracy", "average_drop"):
        assert turned[name]["value"] == pytest.approx(-pair[name]["value"])
        assert turned[name]["low"] == pytest.approx(-pair[name]["high"], abs=1.0)


def test_the_interval_of_a_difference_covers_it_as_often_as_it_says():
    rng, n, trials = np.random.default_rng(4), 120, 200
    covered = 0
    for trial in range(trials):
        hard = rng.random(n)
        gained = (hard < 0.8).astype(float) - (hard < 0.7)
        found = Resamples(n, 300, 0.95, seed=trial).mean_of_ratios(gained[:, None], np.ones((n, 1)))
        covered += found["low"] <= 10 <= found["high"]
    assert 0.88 <= covered / trials <= 0.99


def test_pictures_that_one_of_two_cannot_score_count_in_neither(alike):
    right = {"a": np.ones((20, 4), bool), "b": np.ones((20, 4), bool)}
    right["a"][0, 2] = False
    (pair,) = figures(right)["differences"]
    assert pair["average_accuracy"]["value"] == -2.5  # one of 20 in one of two edits
    found = figures(right, unscored={("b", 0, "size")})
    assert found["differences"][0]["average_accuracy"]["value"] == 0.0
    assert found["classifiers"]["a"]["variants"]["size"]["n"] == 20
    assert found["classifiers"]["b"]["variants"]["size"]["n"] == 19
    assert found["unscored"] == 1
    found = figures(right, unscored={("b", 0, "original")})
    assert found["differences"][0]["n"] == 19
    assert (found["classifiers"]["b"]["n"], found["unpaired"]) == (19, 3)


def test_nothing_in_common_is_no_difference():
    right = {"a": np.ones((1, 4), bool), "b": np.ones((1, 4), bool)}
    everything = {("b", 0, variant) for variant in VARIANTS}
    found = figures(right, unscored=everything)
    assert found["differences"] == [{"of": ["a", "b"], "n": 0}]
    assert found["classifiers"]["b"] == {
        "outputs": 10,
        "preprocessing": "as b does",
        "n": 0,
        "variants": {},
        "calibration": {},
    }


def test_few_classifiers_are_all_compared_and_many_with_the_first():
    assert pairs(1) == []
    assert pairs(3) == [(0, 1), (0, 2), (1, 2)]
    assert len(pairs(5)) == MOST_PAIRS
    assert pairs(8) == [(0, other) for other in range(1, 8)]


def test_a_figure_is_the_same_alone_and_among_others():
    rng = np.random.default_rng(2)
    ratios = [Ratio(rng.random((30, width)), 1.0 + rng.integers(0, 3, (30, width))) for width in (1, 4, 2)]
    ratios.append(ratios[0])
    together = Resamples(30, 200, 0.9, seed=7).means_of_ratios(ratios)
    assert together == [Resamples(30, 200, 0.9, seed=7).means_of_ratios([ratio])[0] for ratio in ratios]
    weights = np.random.default_rng(7).multinomial(30, np.full(30, 1 / 30), 200)
    low, high = np.quantile(mean_ratio(weights @ ratios[1].top, weights @ ratios[1].bottom), [0.05, 0.95])
    assert (together[1]["low"], together[1]["high"]) == pytest.approx((100 * low, 100 * high), abs=0.0051)


def test_variants_come_in_the_order_in_which_they_are_made():
    right = np.ones((30, 4), bool)
    whole = table({"a": right}).arrow
    rng = np.random.default_rng(1)
    for _ in range(5):
        keep = (rng.random(len(whole)) < 0.6) | np.array([name == "original" for name in whole["variant"].to_pylist()])
        found = paired(Table(whole.filter(pa.array(keep)), "accuracy_drop"), ("a",))
        assert [found.variants[one] for one in found.order] == ["control", "size", "colour"]


def test_sources_are_the_oldest_ancestors_as_in_a_walk():
    rng = np.random.default_rng(3)
    parents = {f"n{k}": f"n{rng.integers(0, k)}" if k and rng.random() < 0.8 else "" for k in range(200)}
    parents |= {"framed": "not there", "moved": "framed"}
    rows = [
        {"id": one, "parent": parent, "variant": "original" if not parent or one == "framed" else f"v{number % 3}"}
        for number, (one, parent) in enumerate(parents.items())
    ]
    more = {"reference": "", "classifier": "a", "label": 1, "labels": 1, "correct": True, "confidence": 0.5}
    said = Table(pa.Table.from_pylist([{**row, **more, "outputs": 2, "preprocessing": ""} for row in rows]), "x")
    found = paired(said, ("a",))
    root = roots(parents)
    known = sorted({root[row["id"]] for row in rows if row["variant"] == "original"})
    assert found.sources == len(known)
    assert found.source.tolist() == [known.index(root[one]) for one in parents]  # pictures as they come


def test_ids_that_are_each_others_ancestors_share_one():
    found = roots({"a": "b", "b": "a", "c": "a", "d": "", "e": "e"})
    assert found["a"] == found["b"] == found["c"]
    assert (found["d"], found["e"]) == ("d", "e")


def test_resamples_that_are_kept_are_those_that_would_be_drawn(monkeypatch):
    rng = np.random.default_rng(3)
    ratio = rng.random((40, 3)), np.ones((40, 3))
    kept = Resamples(40, 300, 0.9, seed=11).mean_of_ratios(*ratio)
    assert Resamples(40, 300, 0.9, seed=11).mean_of_ratios(*ratio) == kept
    assert Resamples(40, 300, 0.9, seed=12).mean_of_ratios(*ratio) != kept
    monkeypatch.setattr("variorum.kit.predicted.resamples.KEPT", 0)
    assert Resamples(40, 300, 0.9, seed=11).mean_of_ratios(*ratio) == kept


def test_two_hundred_thousand_rows_take_no_loop_over_rows():
    """A loop over the rows takes 10 s for these; the arrays take one, and a busy machine gets some more."""
    import time

    sources, kinds = 5000, ["original", *[f"edit_{k:02d}" for k in range(9)]]
    ids = [f"s{s:06d}" if k == 0 else f"s{s:06d}-{k}" for s in range(sources) for k in range(10)]
    base = {
        "id": ids,
        "parent": ["" if k == 0 else f"s{s:06d}" for s in range(sources) for k in range(10)],
        "variant": kinds * sources,
        "reference": [""] * len(ids),
    }
    rng, parts = np.random.default_rng(0), []
    for name in "abcd":
        right = rng.random(len(ids)) < 0.7
        numbers = {"label": np.ones(len(ids), int), "labels": np.ones(len(ids), int), "correct": right}
        more = {"confidence": rng.random(len(ids)), "outputs": np.full(len(ids), 10)}
        texts = {"classifier": [name] * len(ids), "preprocessing": ["squashed"] * len(ids)}
        parts.append(pa.table({**base, **numbers, **more, **texts}))
    whole = Table(pa.concat_tables(parts), "accuracy_drop")
    began = time.process_time()
    ctx = Context(seed=5, models=None, memo=lambda key, compute: compute())
    found = AccuracyDrop(classifiers=tuple("abcd"), bootstrap=200).figures(whole, ctx)
    assert time.process_time() - began < 6
    assert len(found["differences"]) == 6
    assert found["classifiers"]["a"]["variants"]["edit_03"]["n"] == sources


def test_exact_paired_intervals_hold_as_often_as_they_say():
    assert paired_interval(0, 0, 9) == pytest.approx((0.025 ** (1 / 9) - 1, 1 - 0.025 ** (1 / 9)), abs=1e-3)
    assert paired_interval(3, 1, 40) == tuple(-end for end in reversed(paired_interval(1, 3, 40)))
    rng = np.random.default_rng(0)
    for n, lost, gained in ((12, 0.3, 0.3), (36, 0.15, 0.05), (60, 0.05, 0.05), (100, 0.06, 0.0)):
        found = rng.multinomial(n, [lost, gained, 1 - lost - gained], 400)
        ends = np.array([paired_interval(int(one), int(other), n) for one, other, _ in found])
        low, high = (ends[:, 0] > lost - gained + 1e-9).mean(), (ends[:, 1] < lost - gained - 1e-9).mean()
        assert max(low, high) < 0.045  # 2.5 % each, with the noise of 400


def test_intervals_are_widened_where_photographs_share_a_lender_that_matters():
    rng, photographs, shared, alone = np.random.default_rng(1), 120, [], []
    for trial in range(150):
        lender = rng.integers(0, 20, photographs)
        hard = rng.choice([0.1, 0.5], 20)  # a lender's plate hides some objects
        lost = np.concatenate([np.zeros(photographs), rng.random(photographs) < hard[lender]])[:, None]
        own, borrowed = np.zeros((photographs, 1)), np.ones((photographs, 1))
        source = np.arange(photographs)
        units = Units(np.tile(source, 2), np.concatenate([np.full(photographs, -1), lender]))
        for found, given in ((shared, units), (alone, None)):
            top, bottom = (lost, np.concatenate([own, borrowed])) if given else (lost[photographs:], borrowed)
            one = Resamples(photographs, 200, 0.95, trial, given).mean_of_ratios(top, bottom, signed=True)
            found.append(one["low"] <= 30 <= one["high"])
    assert np.mean(alone) < 0.88
    assert np.mean(shared) > 0.89
    one = Units(np.array([0, 1, 2, 0, 1, 2]), np.array([-1, -1, -1, 0, 1, 2]))
    lost = np.array([0, 0, 0, 1.0, 0, 1])[:, None]
    bottom = np.array([0, 0, 0, 1.0, 1, 1])[:, None]
    plain = Resamples(3, 200, 0.95, 0).mean_of_ratios(lost[3:], bottom[3:], signed=True)
    assert Resamples(3, 200, 0.95, 0, one).mean_of_ratios(lost, bottom, signed=True) == plain  # a lender for each


def test_a_family_is_compared_over_the_photographs_that_have_all_of_it():
    right = {"a": np.ones((40, 4), bool)}
    right["a"][:8, 2] = False
    rows = [row for row in table(right).arrow.to_pylist() if not (row["variant"] == "colour" and row["id"] >= "s0032")]
    ctx = Context(seed=5, models=None, memo=lambda key, compute: compute())
    step = AccuracyDrop(classifiers=("a",), families={"both": ("control", "size", "col*"), "one": ("size",)})
    found = step.figures(Table(pa.Table.from_pylist(rows), "accuracy_drop"), ctx)["classifiers"]["a"]
    both, one = found["families"]["both"], found["families"]["one"]
    assert (both["n"], both["edits"], both["drop"]["value"]) == (32, ["size", "colour"], 12.5)
    assert (both["drops"]["size"]["value"], found["variants"]["size"]["drop"]["value"]) == (25.0, 20.0)
    assert (one["n"], one["drop"]["value"]) == (40, 20.0)
    assert (both["drop_vs_reference"]["value"], both["drops"]["control"]["photographs"]) == (0.0, 32)
    few = [row for row in rows if row["id"] < "s0020" or row["variant"] != "size"]
    found = step.figures(Table(pa.Table.from_pylist(few), "accuracy_drop"), ctx)["classifiers"]["a"]
    assert found["averaged"] == ["colour"]  # 20 photographs of size are too few
    assert interval(found["variants"]["size"]["drop"]) == "too few (20)"


def test_judges_are_ordered_and_those_that_are_not_here_are_told(alike):
    ctx = Context(seed=5, models=None, memo=lambda key, compute: compute())
    step = AccuracyDrop(classifiers=("b", "a"), further=("c",), bootstrap=400)
    found = step.figures(table(alike), ctx)
    assert (found["names"], found["missing"]) == (["b", "a"], ["c"])
    first, second = found["ordering"]
    assert (first["name"], first["behind"], second["name"]) == ("a", None, "b")
    assert second["behind"]["value"] == -found["differences"][0]["average_accuracy"]["value"] > second["behind"]["low"]
    known = step.figures(table({**alike, "c": alike["b"]}), ctx)
    assert (known["names"], known["missing"], len(known["ordering"])) == (["b", "a", "c"], [], 3)
    pins = {"a": "x/resnet-50@1", "b": "google/vit-base@2", "c": "efficientnet-lite1@sha256:3"}
    text = render("parts/ordering", names=["a", "b"], models=pins, missing=["c"], ordered=["a 1"], by="")
    assert "two families (resnet, vit), so this card shows no ordering" in text
    assert "lacks them: c." in text
    text = render("parts/ordering", names=[*"abc"], models=pins, missing=[], ordered=["a 1", "b 2"], by="by x")
    assert text.startswith("**Ordering** by x, of 3 families (resnet, vit, efficientnet): a 1; b 2.")
