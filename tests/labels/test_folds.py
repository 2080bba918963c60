"""Folds that keep copies and variants of a photograph together, and the detectors that use them."""

import numpy as np
import pyarrow as pa
import pytest
from embedded_edition import edition, scores
from sklearn.model_selection import StratifiedGroupKFold

from variorum.curation.labels.linear_separation import LinearSeparation
from variorum.curation.labels.probabilities import Probabilities
from variorum.curation.labels.representation_calibration import RepresentationCalibration
from variorum.curation.people.multi_label import MultiLabel
from variorum.curation.quality.out_of_distribution import OutOfDistribution
from variorum.kit.labels.folds import deal, dealt_folds
from variorum.schemas.table import Table


def pictures(n, source=None, group=None):
    """Two separate classes, and losses, one in five of them large."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 4)) + 3 * np.eye(4)[y]
    table = edition(
        x,
        y,
        {
            "duplicates.group": np.arange(n) if group is None else group,
            "training_dynamics.loss_history": (np.arange(n) % 5 == 0)[:, None] + rng.random((n, 2)),
            "probabilities.p": np.full((n, 2), 0.5, np.float32),
        },
    )
    place = table.column_names.index("source")
    return table if source is None else table.set_column(place, "source", pa.array(source, pa.string()))


def test_copies_and_variants_stay_together():
    rng = np.random.default_rng(0)
    source = [f"photograph {k}" for k in rng.integers(0, 60, 200)]
    group = rng.integers(0, 150, 200)
    table, y = pictures(200, source, group), np.arange(200) % 2
    for copies in (False, True):
        fold = dealt_folds(Table(table), y, 5, np.random.default_rng(0), copies=copies)
        assert set(fold) == set(range(5))
        assert all(len(set(fold[np.array(source) == one])) == 1 for one in set(source))
        together = all(len(set(fold[group == one])) == 1 for one in np.unique(group))
        assert together == copies


def test_folds_depend_on_ids_and_not_on_the_order_of_rows():
    table, y = pictures(90, [f"{k // 3}" for k in range(90)]), np.arange(90) // 3 % 4
    fold = dealt_folds(Table(table), y, 5, np.random.default_rng(0), copies=True)
    order = np.random.default_rng(1).permutation(90)
    assert np.array_equal(
        dealt_folds(Table(table.take(order)), y[order], 5, np.random.default_rng(0), copies=True), fold[order]
    )
    assert not np.array_equal(dealt_folds(Table(table), y, 5, np.random.default_rng(2), copies=True), fold)


def test_a_picture_without_a_source_is_its_own_and_without_a_class_is_no_ones():
    table = pictures(100, [""] * 100)
    y = np.where(np.arange(100) < 50, np.arange(100) % 5, -1)
    fold = dealt_folds(Table(table), y, 5, np.random.default_rng(0), copies=False)
    assert all((np.bincount(fold[y == k], minlength=5) == (10 if k < 0 else 2)).all() for k in range(-1, 5))
    # each photograph has an unlabelled variant with a lower id; the labelled one decides its class
    pairs = pictures(40, [f"{k // 2}" for k in range(40)])
    y = np.where(np.arange(40) % 2, np.arange(40) // 10, -1)
    fold = dealt_folds(Table(pairs), y, 5, np.random.default_rng(0), copies=False)
    assert all((np.bincount(fold[y == k], minlength=5) == 1).all() for k in range(4))
    assert len(dealt_folds(Table(pairs.slice(0, 0)), y[:0], 5, np.random.default_rng(0), copies=True)) == 0


DETECTORS = {
    Probabilities: "self_confidence",
    MultiLabel: "wrong_score",
    OutOfDistribution: "score",
    RepresentationCalibration: "score",
    LinearSeparation: "margin",
}


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.__name__)
def test_every_detector_that_judges_across_folds_keeps_variants_and_copies_whole(detector):
    """If all pictures are variants or copies of each other, there is nothing to fit on."""

    def judged(table, grouped):
        values = scores(detector(grouped=grouped), table)[DETECTORS[detector]]
        return bool((np.isfinite(values) & (values != 0.5)).all())  # `multi_label` gives a half without a head

    alike, apart = np.zeros(40, np.int64), None
    assert judged(pictures(40), grouped=True)
    assert not judged(pictures(40, ["one photograph"] * 40), grouped=False)
    assert not judged(pictures(40, ["one photograph"] * 40), grouped=True)
    assert not judged(pictures(40, apart, alike), grouped=True)
    assert judged(pictures(40, apart, alike), grouped=False)
    assert "duplicates" in detector().needs()
    assert "duplicates" not in detector(grouped=False).needs()


def test_folds_are_as_even_as_sklearns_and_keep_groups_whole():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), [300, 100, 50, 7, 2])
    group = y * 100 + rng.integers(0, 100, len(y))  # most copies of a picture have the same label
    fold = deal(y, group, 5, rng)
    assert all(len(set(fold[group == one])) == 1 for one in np.unique(group))
    theirs = np.empty_like(fold)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    with pytest.warns(UserWarning, match="least populated"):
        splits = list(splitter.split(y, y, group))
    for number, (_, test) in enumerate(splits):
        theirs[test] = number

    def shares(fold):
        return np.array([np.bincount(y[fold == number], minlength=5) for number in range(5)]) / np.bincount(y)

    assert np.abs(shares(theirs)[:, :3] - 0.2).max() < 0.05
    assert np.abs(shares(fold)[:, :3] - 0.2).max() < 0.05
    assert (shares(fold) < 1).all()  # a class with two groups is in two folds
    alone = deal(y, np.arange(len(y)), 5, rng)
    counts = np.array([np.bincount(y[alone == number], minlength=5) for number in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1
