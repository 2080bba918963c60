import numpy as np
import pytest
from embedded_edition import CTX, edition, scored, scores
from label_noise import digits, symmetric
from sklearn.metrics import roc_auc_score

from variorum.curation.labels.probabilities import (
    Probabilities,
    calibration_error,
    fitted_heads,
    sampled_logits,
    softmax,
    temperature,
)
from variorum.kit.labels.classes import same_share
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError

ALONE = Probabilities(grouped=False, c=1)


@pytest.fixture(scope="module")
def noisy_digits():
    x, true = digits()
    given = symmetric(true, 0.2, 10, np.random.default_rng(0))
    return edition(x, given), given, true


@pytest.fixture(scope="module")
def judged(noisy_digits):
    return scored(ALONE, noisy_digits[0])


def test_out_of_fold_confidence_finds_wrong_labels_and_in_fold_confidence_would_not_do_better(noisy_digits, judged):
    _, given, true = noisy_digits
    confidence = judged["self_confidence"]
    assert roc_auc_score(given != true, -confidence) > 0.99
    assert (judged["predicted"] == true).mean() > 0.92
    p = judged["p"]
    assert p.shape == (1797, 10)
    assert p.dtype == np.float32
    assert p.sum(axis=1) == pytest.approx(np.ones(1797), abs=1e-5)
    assert np.array_equal(p[np.arange(1797), given], confidence.astype(np.float32))


def test_calibration_helps_and_is_reported(judged):
    figures = ALONE.figures(judged, CTX)
    assert figures["judged"] == 1797
    assert 0.7 < figures["accuracy"] < 0.8  # a fifth of the labels is wrong
    assert figures["log_loss"] < figures["uncalibrated_log_loss"]
    assert figures["calibration_error"] < figures["uncalibrated_calibration_error"]
    clean = ALONE.figures(scored(ALONE, edition(*digits())), CTX)
    assert clean["accuracy"] > 0.94
    assert clean["uncalibrated_calibration_error"] > 0.15
    assert clean["calibration_error"] < 0.025
    assert clean["log_loss"] < 0.6 * clean["uncalibrated_log_loss"]


def test_the_penalty_is_weak_where_labels_are_right_and_strong_where_they_are_not(noisy_digits):
    free = Probabilities(grouped=False)
    clean, noisy = (scored(free, table) for table in (edition(*digits()), noisy_digits[0]))
    assert clean["c"][0] > 1 == noisy["c"][0]
    before = ALONE.figures(scored(ALONE, edition(*digits())), CTX)
    assert free.figures(clean, CTX)["log_loss"] < 0.8 * before["log_loss"]
    few = edition(*(part[::15] for part in digits()))  # twelve per class
    assert free.figures(scored(free, few), CTX)["accuracy"] > ALONE.figures(scored(ALONE, few), CTX)["accuracy"] + 0.02


def test_copies_share_a_fold_and_cannot_confirm_each_other(noisy_digits):
    """Every digit occurs twice with the same label: ungrouped, the copy in another fold repeats a wrong label."""
    _, given, true = noisy_digits
    rng = np.random.default_rng(0)
    x = np.maximum(digits()[0][:300] @ rng.normal(size=(64, 1000)), 0)  # more features than pictures
    rows = np.repeat(np.arange(300), 2)
    twice = edition(x[rows], given[rows], {"duplicates.group": rows})
    auroc = {
        step.grouped: roc_auc_score((given != true)[rows], -scores(step, twice)["self_confidence"])
        for step in (Probabilities(c=1e4), Probabilities(c=1e4, grouped=False))
    }
    assert auroc[True] > auroc[False] + 0.05


def test_variants_of_one_photograph_share_a_fold_whatever_their_groups():
    """120 photographs with six variants each; a fifth of them have the same wrong label on all variants."""
    x, true = (part[:120] for part in digits())
    given = symmetric(true, 0.2, 10, np.random.default_rng(0))
    rows = np.repeat(np.arange(120), 6)
    rng = np.random.default_rng(1)
    lifted = np.maximum(x @ rng.normal(size=(64, 400)), 0)[rows]
    table = edition(lifted + 0.02 * rng.normal(size=lifted.shape), given[rows], {"duplicates.group": np.arange(720)})
    made_of = table.set_column(table.column_names.index("source"), "source", [[f"photograph {i}" for i in rows]])
    wrong = (given != true)[rows]
    for step in (Probabilities(c=100), Probabilities(c=100, grouped=False)):
        apart, together = (roc_auc_score(wrong, -scores(step, one)["self_confidence"]) for one in (table, made_of))
        assert together > apart + 0.1


def test_the_order_of_the_rows_and_the_seed(noisy_digits):
    table = noisy_digits[0].slice(0, 300)
    first = scores(ALONE, table)["p"]
    order = np.random.default_rng(1).permutation(300)
    assert np.array_equal(scores(ALONE, table.take(order))["p"], first[order])
    other = scores(ALONE, table, Context(seed=1, models=None, memo=None))["p"]
    assert not np.array_equal(other, first)


def test_a_class_of_one_sample_has_no_probability_of_its_own():
    x = np.random.default_rng(0).normal(size=(41, 6))
    y = np.r_[np.arange(40) % 2, 7]
    found = scored(ALONE, edition(x, y))
    p = found["p"]
    assert p[40, 2] == 0
    assert p[40].sum() == pytest.approx(1)
    assert 0 < p[:40, 2].max() < 0.2
    assert found["predicted"][40] in (0, 1)
    assert np.isfinite(ALONE.figures(found, CTX)["log_loss"])


def test_unlabelled_pictures_and_broken_embeddings_are_not_judged():
    x = np.random.default_rng(0).normal(size=(60, 6))
    y = np.arange(60) % 3 * 10  # classes 0, 10, 20 of the edition
    x[5], x[6, 2], y[7] = 0, np.nan, -1
    found = scored(ALONE, edition(x, y))
    p = found["p"]
    assert np.isnan(p[5:8]).all()
    assert np.isfinite(np.delete(p, [5, 6, 7], axis=0)).all()
    assert (found["predicted"][5:8] == -1).all()
    assert set(found["predicted"].tolist()) <= {-1, 0, 10, 20}
    assert ALONE.figures(found, CTX)["judged"] == 57


def test_one_class_is_certain_and_no_class_is_an_error():
    x = np.random.default_rng(0).normal(size=(9, 6))
    found = scored(ALONE, edition(x, np.full(9, 4)))
    assert (found["p"] == 1).all()
    assert ALONE.figures(found, CTX)["log_loss"] == 0
    with pytest.raises(RecipeError, match=r"curate\.probabilities: no picture has a label"):
        scores(ALONE, edition(x, np.full(9, -1)))


def test_two_classes_and_fewer_samples_than_folds():
    x = np.array([[1, 0], [0, 1], [1, 0.1]])
    p = scores(ALONE, edition(x, [0, 1, 0]))["p"]
    assert p.sum(axis=1) == pytest.approx([1, 1, 1])
    together = edition(x, [0, 1, 0], {"duplicates.group": np.zeros(3, dtype=np.int64)})
    assert np.isnan(scores(Probabilities(), together)["p"]).all()  # a single fold leaves nothing to fit on


def test_no_pictures():
    found = scored(ALONE, edition(np.zeros((0, 4)), []))
    assert found["p"].shape == (0, 1)
    assert ALONE.figures(found, CTX) == {"judged": 0}


def test_no_usable_embedding():
    found = scores(Probabilities(grouped=False), edition(np.full((4, 3), np.nan), np.array([0, 0, 1, 1])))
    assert np.isnan(found["self_confidence"]).all()


def test_the_needs_follow_the_groups():
    assert Probabilities().needs() == ("features", "duplicates")
    assert ALONE.needs() == ("features",)


def test_the_best_temperature_of_logits_that_were_scaled():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20000, 4))
    y = (softmax(logits).cumsum(axis=1) > rng.random((20000, 1))).argmax(axis=1)
    assert temperature(logits * 3, y) == pytest.approx(3, rel=0.05)
    assert temperature(logits / 3, y) == pytest.approx(1 / 3, rel=0.05)
    assert temperature(np.full((2, 3), np.nan), np.array([0, 1])) == 1


def test_the_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_a_subsample_takes_the_same_share_of_every_class():
    y = np.repeat([0, 1, 2], [8000, 1990, 10])
    taken = same_share(y, 1000, np.random.default_rng(0))
    assert np.bincount(y[taken]).tolist() == [800, 199, 1]
    assert same_share(y, 10_000, np.random.default_rng(0)).all()
    x = np.random.default_rng(0).normal(size=(3000, 4)) + np.eye(4)[np.arange(3000) % 3] * 4
    labels = np.arange(3000) % 3
    fold, rng = np.arange(3000) % 5, np.random.default_rng(0)
    heads = fitted_heads(x.__getitem__, labels, fold, 1.0, 100, rng)
    logits, _ = sampled_logits(heads, x.__getitem__, labels, fold, 3, rng)
    assert (logits.argmax(axis=1) == labels).mean() > 0.95
