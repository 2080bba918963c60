"""Several labels per picture: one or two overlaid digits, with some labels removed and some added."""

import numpy as np
import pyarrow as pa
import pytest
from embedded_edition import CTX, scored, scores
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics import roc_auc_score

from variorum.arrays import arrow_column
from variorum.curation.people.multi_label import MultiLabel, indicator, out_of_fold_cells
from variorum.schemas.errors import RecipeError


def table_of(x, labels, group=None):
    n = len(labels)
    return pa.table(
        {
            "id": [f"{k:032x}" for k in range(n)],
            "source": [f"{k:032x}" for k in range(n)],
            "labels": pa.array([list(own) for own in labels], pa.list_(pa.string())),
            "features.embedding": arrow_column(np.asarray(x, np.float16)),
            "duplicates.group": np.arange(n) if group is None else group,
        }
    )


@pytest.fixture(scope="module")
def overlaid():
    """Features, right labels, given labels.

    15 % of the pictures with two labels lose one; 5 % of the others get another, which is sometimes one they have.
    """
    pixels, digit = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    one, other = rng.integers(len(pixels), size=(2, 1200))
    both = rng.random(1200) < 0.5
    x = np.where(both[:, None], np.maximum(pixels[one], pixels[other]), pixels[one])
    x = np.asarray(RBFSampler(gamma=0.001, n_components=1000, random_state=0).fit_transform(x))
    right = [{int(digit[a])} | ({int(digit[b])} if two else set()) for a, b, two in zip(one, other, both, strict=True)]
    given = [set(own) for own in right]
    for own in given:
        if len(own) == 2 and rng.random() < 0.15:
            own.discard(int(rng.choice(sorted(own))))
        elif rng.random() < 0.05:
            own.add(int(rng.integers(10)))
    return x, [{f"d{k}" for k in own} for own in right], [{f"d{k}" for k in own} for own in given]


@pytest.fixture(scope="module")
def found(overlaid):
    x, _, given = overlaid
    return scores(MultiLabel(c=100), table_of(x, [sorted(own) for own in given]))


def test_pictures_with_wrong_or_missing_labels_come_first(overlaid, found):
    _, right, given = overlaid
    mistaken = np.array([a != b for a, b in zip(right, given, strict=True)])
    assert 0.05 < mistaken.mean() < 0.2
    assert roc_auc_score(mistaken, found["score"]) > 0.85
    assert mistaken[found["flag"]].mean() > 3 * mistaken.mean()


def test_the_class_that_is_missing_or_wrong_is_named(overlaid, found):
    _, right, given = overlaid
    lost = [(k, next(iter(a - b))) for k, (a, b) in enumerate(zip(right, given, strict=True)) if a - b]
    added = [(k, next(iter(b - a))) for k, (a, b) in enumerate(zip(right, given, strict=True)) if b - a]
    assert np.mean([found["missing"][k] == label for k, label in lost]) > 0.7
    assert np.mean([found["wrong"][k] == label for k, label in added]) > 0.9
    named = {k: (set(own), found["wrong"][k], found["missing"][k]) for k, own in enumerate(given)}
    assert all(wrong in own and missing not in own for own, wrong, missing in named.values())


def test_the_order_of_rows_changes_nothing(overlaid, found):
    x, _, given = overlaid
    turned = table_of(x, [sorted(own) for own in given]).take(pa.array(np.arange(len(x))[::-1]))
    again = scores(MultiLabel(c=100), turned)
    assert np.allclose(again["score"][::-1], found["score"])
    assert again["missing"][::-1] == found["missing"]


def test_copies_are_not_used_to_judge_each_other():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(60, 8)), 2, axis=0)
    has = np.repeat(rng.random((60, 3)) < 0.5, 2, axis=0)
    apart = out_of_fold_cells(x, has, np.arange(120) % 2, 1e3)
    together = out_of_fold_cells(x, has, np.arange(120) // 2 % 2, 1e3)
    assert (np.abs(apart - has) < 0.5).mean() > (np.abs(together - has) < 0.5).mean() + 0.15


def test_pictures_that_cannot_be_judged_are_not():
    x = np.random.default_rng(0).normal(size=(30, 4))
    x[3] = np.nan
    labels = [["a"], ["b"], ["a", "b"]] * 10
    labels[5] = []
    found = scored(MultiLabel(), table_of(x, labels))
    assert np.flatnonzero(np.isnan(found["score"])).tolist() == [3, 5]
    assert found["wrong"][5] == found["missing"][5] == ""
    assert MultiLabel().figures(found, CTX)["judged"] == 28
    assert scores(MultiLabel(), table_of(x, labels).slice(0, 0))["flag"].shape == (0,)
    with pytest.raises(RecipeError, match="no picture has a label"):
        scores(MultiLabel(), table_of(x, [[]] * 30))


@pytest.mark.parametrize("labels", [[["a"]] * 12, [["a"]] * 11 + [["b"]], [["a", "b"]] * 12])
def test_few_classes_and_rare_ones_give_probabilities(labels):
    found = scores(MultiLabel(grouped=False), table_of(np.random.default_rng(0).normal(size=(12, 4)), labels))
    assert ((found["score"] >= 0) & (found["score"] <= 1)).all()


def test_the_indicator_has_one_cell_per_label():
    assert indicator([[0, 2], [], [1]], 3).tolist() == [[True, False, True], [False] * 3, [False, True, False]]
