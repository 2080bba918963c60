import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from variorum.stages.agreement import agreement, detector_figures, flag_shares, flagged_classes

SIZES = (60, 60, 30, 30, 6, 6)
"""Two head, two middle and two tail classes."""
CLASSES = [(f"c{k}", f"class {k}") for k in range(len(SIZES))]


def table(**columns):
    label = np.repeat(np.arange(len(SIZES)), SIZES)
    ids = [f"{i:04d}" for i in range(len(label))]
    named = {name.replace("__", "."): values for name, values in columns.items()}
    return pa.table({"id": ids, "label": label, **named})


def test_agreement_is_phi_and_spearman_over_what_both_judged():
    rng = np.random.default_rng(0)
    n = sum(SIZES)
    a, b = rng.random(n), rng.random(n) ** 3
    b[:100] += a[:100]
    a[:7], b[5:20] = np.nan, np.nan
    first, second = np.nan_to_num(a) > 0.7, np.nan_to_num(b) > 0.8
    found = detector_figures(
        table(one__score=a, one__flag=first, two__score=b, two__flag=second, three__flag=a > 2, three__review=first),
        CLASSES,
    )
    pairs = {tuple(pair["of"]): pair for pair in found["agreement"]}
    assert set(pairs) == {("one", "two"), ("one", "three"), ("two", "three")}
    both = ~np.isnan(a) & ~np.isnan(b)
    assert pairs["one", "two"]["rho"] == pytest.approx(spearmanr(a[both], b[both]).statistic, abs=1e-4)
    assert pairs["one", "two"]["phi"] == pytest.approx(np.corrcoef(first[both], second[both])[0, 1], abs=1e-4)
    assert pairs["one", "three"] == {"of": ["one", "three"], "phi": None, "rho": None}  # three flags nothing


def test_a_detector_that_has_judged_nothing_is_left_out():
    n = sum(SIZES)
    one = {"one__score": np.linspace(0, 1, n), "one__flag": np.arange(n) % 9 == 0}
    idle = {"idle__score": np.full(n, np.nan), "idle__flag": np.zeros(n, bool)}
    assert detector_figures(table(**one, **idle), CLASSES) == detector_figures(table(**one), CLASSES)
    assert detector_figures(table(**idle), CLASSES) == {}


def test_a_handful_of_pictures_in_common_says_nothing():
    flag = np.arange(20) % 2 == 0
    judged = {"a": np.arange(20) < 14, "b": np.arange(20) >= 5}
    (pair,) = agreement({"a": flag, "b": flag}, {}, judged)
    assert pair["phi"] is None
    (pair,) = agreement({"a": flag, "b": flag}, {}, {"a": judged["a"], "b": judged["a"]})
    assert pair["phi"] == 1


def test_what_a_detector_flags_alone_in_the_tail_is_told_apart():
    y = np.repeat(np.arange(len(SIZES)), SIZES)
    wrong = np.arange(len(y)) % 6 == 0
    fair, harsh = wrong.copy(), wrong | (y >= 4)
    judged = dict.fromkeys(("fair", "harsh"), np.ones(len(y), bool))
    found = flag_shares({"fair": fair, "harsh": harsh}, judged, y)
    assert found["fair"] == {"all": 0.1667, "tail": 0.1667, "all_alone": 0.0, "tail_alone": None}
    assert found["harsh"]["tail"] == found["harsh"]["tail_alone"] == 1
    assert found["harsh"]["all_alone"] == pytest.approx(10 / 160, abs=1e-4)
    balanced = flag_shares({"fair": fair}, judged, np.arange(len(y)) % 4)
    assert balanced["fair"]["tail"] is balanced["fair"]["tail_alone"] is None


def test_only_what_a_detector_judged_counts_for_it():
    flag = np.zeros(192, bool)
    flag[:6] = True
    judged = {"one": np.arange(192) < 60, "scored": np.ones(192, bool)}
    found = flag_shares({"one": flag}, judged, np.full(192, -1))
    assert found["one"]["all"] == 0.1
    assert set(found["scored"].values()) == {None}


def test_the_classes_flagged_most_come_first():
    y = np.repeat(np.arange(len(SIZES)), SIZES)
    one, two = np.zeros(len(y), bool), np.zeros(len(y), bool)
    one[y == 3], two[np.flatnonzero(y == 1)[:15]] = True, True
    rows = flagged_classes({"one": one, "two": two}, y, [name for name, _ in CLASSES])
    assert [(row["class"], row["flagged"]["any"], row["flagged"]["two"]) for row in rows] == [
        ("c3", 1, 0),
        ("c1", 0.25, 0.25),
    ]
    many = np.arange(5000)
    rows = flagged_classes({"one": np.ones(5000, bool)}, many, [str(k) for k in many])
    assert len(rows) == 30


@pytest.mark.parametrize("columns", [{}, {"one__score": np.arange(192.0)}, {"one__flag": ["no"] * 192}])
def test_without_flags_there_is_nothing_to_tell(columns):
    assert detector_figures(table(**columns), CLASSES) == {}
    assert detector_figures(table(one__flag=np.ones(192, bool)).slice(0, 0), CLASSES) == {}
