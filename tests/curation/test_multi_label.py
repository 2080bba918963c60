"""Several labels a picture: one or two written digits laid over each other, some labels left out and some added."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics import roc_auc_score

from curation.multi_label import MultiLabel, indicator, out_of_fold_cells
from schemas.component import Context
from schemas.errors import RecipeError
from variorum.columns import arrow_column

CONTEXT = Context(0, None, lambda key, compute: compute())


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

    Of the pictures with two labels 15 % lose one; of the others 5 % get one more, which now and then they had.
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
def scored(overlaid):
    x, _, given = overlaid
    return MultiLabel(c=100).score(table_of(x, [sorted(own) for own in given]), CONTEXT)


def test_pictures_with_wrong_or_missing_labels_come_first(overlaid, scored):
    _, right, given = overlaid
    mistaken = np.array([a != b for a, b in zip(right, given, strict=True)])
    assert 0.05 < mistaken.mean() < 0.2
    assert roc_auc_score(mistaken, scored["score"]) > 0.85
    assert mistaken[scored["flag"]].mean() > 3 * mistaken.mean()


def test_the_class_that_is_missing_or_wrong_is_named(overlaid, scored):
    _, right, given = overlaid
    lost = [(k, next(iter(a - b))) for k, (a, b) in enumerate(zip(right, given, strict=True)) if a - b]
    added = [(k, next(iter(b - a))) for k, (a, b) in enumerate(zip(right, given, strict=True)) if b - a]
    assert np.mean([scored["missing"][k] == label for k, label in lost]) > 0.7
    assert np.mean([scored["wrong"][k] == label for k, label in added]) > 0.9
    named = {k: (set(own), scored["wrong"][k], scored["missing"][k]) for k, own in enumerate(given)}
    assert all(wrong in own and missing not in own for own, wrong, missing in named.values())


def test_the_order_of_rows_changes_nothing(overlaid, scored):
    x, _, given = overlaid
    turned = table_of(x, [sorted(own) for own in given]).take(pa.array(np.arange(len(x))[::-1]))
    again = MultiLabel(c=100).score(turned, CONTEXT)
    assert np.allclose(again["score"][::-1], scored["score"])
    assert again["missing"][::-1] == scored["missing"]


def test_copies_say_nothing_of_one_another():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(60, 8)), 2, axis=0)
    has = np.repeat(rng.random((60, 3)) < 0.5, 2, axis=0)
    apart = out_of_fold_cells(x, has, np.arange(120) % 2, 1e3)
    together = out_of_fold_cells(x, has, np.arange(120) // 2 % 2, 1e3)
    assert (np.abs(apart - has) < 0.5).mean() > (np.abs(together - has) < 0.5).mean() + 0.15


def test_what_cannot_be_judged_is_not():
    x = np.random.default_rng(0).normal(size=(30, 4))
    x[3] = np.nan
    labels = [["a"], ["b"], ["a", "b"]] * 10
    labels[5] = []
    found = MultiLabel().score(table_of(x, labels), CONTEXT)
    assert np.flatnonzero(np.isnan(found["score"])).tolist() == [3, 5]
    assert found["wrong"][5] == found["missing"][5] == ""
    table = table_of(x, labels)
    for name, values in found.items():
        table = table.append_column(f"multi_label.{name}", arrow_column(values))
    assert MultiLabel().summarise(table)["judged"] == 28
    assert MultiLabel().score(table_of(x, labels).slice(0, 0), CONTEXT)["flag"].shape == (0,)
    with pytest.raises(RecipeError, match="no picture has a label"):
        MultiLabel().score(table_of(x, [[]] * 30), CONTEXT)


@pytest.mark.parametrize("labels", [[["a"]] * 12, [["a"]] * 11 + [["b"]], [["a", "b"]] * 12])
def test_few_classes_and_rare_ones_give_probabilities(labels):
    found = MultiLabel(grouped=False).score(table_of(np.random.default_rng(0).normal(size=(12, 4)), labels), CONTEXT)
    assert ((found["score"] >= 0) & (found["score"] <= 1)).all()


def test_the_indicator_has_a_cell_a_label():
    assert indicator([[0, 2], [], [1]], 3).tolist() == [[True, False, True], [False] * 3, [False, True, False]]
