from pathlib import Path

import embedded_edition as embedded
import numpy as np
import pyarrow as pa
import pytest
from embedded_edition import CTX, scored, scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from variorum.curation.labels.linear_separation import (
    LinearSeparation,
    compare,
    cross_fitted,
    hyperplane,
    kinds,
    large_mode,
    mean_rank,
    pseudo_losses,
    ranks,
    weights,
)
from variorum.kit.labels.classes import less_class_median
from variorum.kit.labels.folds import deal

STAMPS = Path(__file__).parents[1] / "plugins" / "data" / "stamps_efficientnet_lite0.npz"
RNG = np.random.default_rng


def gaussians(n, d, offset, foreign_share, flips, seed=0, k=10):
    """Classes around the origin, and foreign samples with random labels around a point at distance `offset`."""
    rng = RNG(seed)
    means = rng.normal(size=(k, d))
    means *= 3 / np.linalg.norm(means, axis=1, keepdims=True)
    axis = rng.normal(size=d)
    true, foreign = rng.integers(0, k, n), rng.random(n) < foreign_share
    x = rng.normal(size=(n, d))
    x += np.where(foreign[:, None], offset * axis / np.linalg.norm(axis), means[true])
    wrong = (rng.random(n) < flips) & ~foreign
    given = np.where(wrong, (true + rng.integers(1, k, n)) % k, true)
    return x.astype(np.float16), given, foreign, wrong


def stamps(foreign_share, seed):
    """Real features of nine classes, a tenth mislabelled, and foreign ones labelled in proportion to class sizes."""
    data = np.load(STAMPS)
    true = data["superclass"].astype(np.int64)
    rng = RNG(seed)
    own, other = np.flatnonzero(true >= 0), rng.permutation(np.flatnonzero(true < 0))
    rows = np.sort(np.concatenate([own, other[: int(len(own) * foreign_share / (1 - foreign_share))]]))
    true = true[rows]
    foreign, given = true < 0, true.copy()
    wrong = ~foreign & (rng.random(len(rows)) < 0.1)
    given[wrong] = (true[wrong] + rng.integers(1, 9, wrong.sum())) % 9
    given[foreign] = rng.choice(9, foreign.sum(), p=np.bincount(true[~foreign]) / (~foreign).sum())
    return data["features"][rows], given, foreign, wrong


def out_of_fold(x, y, seed=0):
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_predict(
        LogisticRegression(C=0.1, max_iter=500), x.astype(float), y, cv=folds, method="predict_proba"
    )


def losses(x, y, seed=0):
    """Cross-entropy of out-of-fold predictions, minus the class median."""
    p = out_of_fold(x, y, seed)
    return less_class_median(-np.log(p[np.arange(len(y)), y]), y)


def training(x, y, k, epochs=60, learning_rate=1e-4):
    """Losses `[N, epochs]` of a head trained on the given labels."""
    from variorum.curation.labels.training import train
    from variorum.kit.embeddings.rows import normalised, standardised

    inputs = standardised(normalised(x), np.ones(len(x), dtype=bool))
    return train(
        inputs, y, k, seed=0, epochs=epochs, hidden=128, learning_rate=learning_rate, elr=7.0, elr_momentum=0.9
    ).loss.astype(np.float16)


def edition(x, y, history, p):
    columns = {
        "duplicates.group": np.arange(len(y)),
        "training_dynamics.loss_history": np.asarray(history, dtype=np.float16),
        "probabilities.p": np.asarray(p, dtype=np.float32),
    }
    return embedded.edition(x, y, columns)


def areas(score, foreign, wrong):
    """AUROC of foreign samples and of wrong labels, each against clean samples."""
    clean = ~foreign & ~wrong
    return tuple(roc_auc_score(kind[clean | kind], score[clean | kind]) for kind in (foreign, wrong))


def test_the_hyperplane_finds_foreign_pictures_and_is_blind_to_flips():
    x, y, foreign, wrong = gaussians(5000, 32, 3.0, 0.4, 0.1)
    loss = losses(x, y)
    posterior = large_mode(loss, 0)
    margin = cross_fitted(x, posterior, deal(posterior > 0.95, np.arange(len(y)), 5, RNG(0)))
    of_loss, of_margin = areas(loss, foreign, wrong), areas(margin, foreign, wrong)
    assert of_margin[0] >= of_loss[0] + 0.005
    assert of_margin[0] >= 0.95
    assert of_margin[1] <= 0.60
    assert of_loss[1] >= 0.95
    assert compare(margin > 0, posterior > 0.95).informs


def test_more_features_than_samples_make_a_free_hyperplane_repeat_the_losses():
    x, y, _, _ = gaussians(300, 640, 3.0, 0.3, 0.1)
    posterior = large_mode(losses(x, y), 0)
    free = hyperplane(x, posterior, inverse_penalty=np.inf)
    assert compare(free > 0, posterior > 0.95).agreement == 1


def history(large, seed=0):
    """Losses `[N, 3]`, high where `large`."""
    return np.where(large[:, None], 3.0, 0.2) + 0.1 * RNG(seed).random((len(large), 3))


def test_perfect_agreement_across_folds_is_evidence_and_not_silence():
    x, y, foreign, _ = gaussians(2000, 32, 8.0, 0.15, 0.0)
    found = scored(LinearSeparation(), edition(x, y, history(foreign), np.full((2000, 10), 0.1)))
    card = LinearSeparation().figures(found, CTX)
    assert card["kappa"] >= 0.97
    assert (found["flag"] == foreign).mean() >= 0.99
    assert card["finding"] == "the hyperplane parts the large losses"
    assert card["warning"] == ""


def test_fewer_samples_than_features_are_warned_of_and_random_losses_are_not_repeated():
    """A hyperplane that has seen the losses, or those of copies, would call all of these foreign."""
    rng = RNG(0)
    x = np.repeat(rng.normal(size=(200, 640)), 2, axis=0)
    large = np.repeat(rng.random(200) < 0.2, 2)
    y, p = np.arange(400) // 2 % 4, np.full((400, 4), 0.25)
    table = edition(x, y, history(large), p)
    copies = table.set_column(
        table.column_names.index("duplicates.group"), "duplicates.group", pa.array(np.arange(400) // 2)
    )
    found = scored(LinearSeparation(), copies)
    card = LinearSeparation().figures(found, CTX)
    assert card["warning"].startswith("fewer samples than features")
    assert card["finding"].startswith("the hyperplane doesn't follow the losses")
    assert not found["flag"].any()
    assert (
        scores(LinearSeparation(), table)["flag"].sum() >= 0.5 * large.sum()
    )  # copies in other folds confirm one another
    seen = hyperplane(x, found["z_posterior"])
    assert compare(seen > 0, large).kappa >= 0.9


def test_on_real_features_a_free_hyperplane_degenerates_and_a_held_one_does_not():
    free, held, crossed, loss_alone, flips = [], [], [], [], []
    for seed in range(2):
        x, y, foreign, wrong = stamps(0.27, seed)
        loss = losses(x, y, seed)
        posterior = large_mode(loss, 0)
        large = posterior > 0.95
        margins = [
            hyperplane(x, posterior, inverse_penalty=np.inf),
            hyperplane(x, posterior),
            cross_fitted(x, posterior, deal(large, np.arange(len(y)), 5, RNG(seed))),
        ]
        agreement = [compare(margin > 0, large).agreement for margin in margins]
        assert agreement[0] == 1
        assert agreement[1] < 0.97
        for kept, score in zip((free, held, crossed, loss_alone), (*margins, loss), strict=True):
            kept.append(areas(score, foreign, wrong)[0])
        flips.append([areas(margin, foreign, wrong)[1] for margin in margins])
    assert np.mean(held) >= np.mean(free) + 0.1
    assert np.mean(held) >= 0.92
    assert np.mean(crossed) >= 0.88
    assert np.mean(held) > np.mean(loss_alone)
    blindness = np.mean(flips, axis=0)
    assert blindness[2] <= 0.60  # one that hasn't seen a sample's loss can't repeat it
    assert blindness[1] >= blindness[2] + 0.1


def test_kinds_of_real_photographs():
    x, y, foreign, wrong = stamps(0.27, 0)
    history = training(x, y, 9)
    found = scored(LinearSeparation(), edition(x, y, history, out_of_fold(x, y)))
    assert found["flag"].sum() >= 20
    assert foreign[found["flag"]].mean() >= 0.85
    assert wrong[found["kind"] == "flip_like"].mean() >= 4 * wrong.mean()
    assert foreign[found["kind"] == "clean"].mean() <= 0.2
    assert roc_auc_score(foreign, found["score"]) >= 0.88
    assert roc_auc_score(foreign, found["score"]) >= roc_auc_score(foreign, history.mean(axis=1)) + 0.05
    card = LinearSeparation().figures(found, CTX)
    assert card["finding"] == "the hyperplane parts the large losses"
    assert card["warning"].startswith("fewer samples than features")  # perfect agreement is evidence too
    assert card["flagged"] == card["kinds"]["ood_like"] == found["flag"].sum()
    assert sum(card["kinds"].values()) == card["judged"] == len(y)
    assert 0.25 <= card["estimated_precision"] <= foreign[found["flag"]].mean()


@pytest.mark.parametrize("flips", [0.0, 0.1])
def test_without_foreign_pictures_nothing_is_flagged(flips):
    x, y, _, wrong = gaussians(2000, 32, 3.0, 0.0, flips)
    found = scored(LinearSeparation(), edition(x, y, training(x, y, 10, 10, 1e-3), out_of_fold(x, y)))
    assert not found["flag"].any()
    assert set(found["kind"]) == {""}
    assert np.isnan(found["score"]).all()
    assert LinearSeparation().figures(found, CTX)["finding"].startswith("the hyperplane doesn't follow the losses")
    if flips:
        assert roc_auc_score(wrong, found["z_posterior"]) >= 0.9  # the posterior of the losses is still given


def test_agreement_is_high_by_chance_where_noise_is_rare():
    """20 large losses in 1000, 12 of them on the foreign side with 3 small ones: 98.9 % agree, and that informs."""
    large = np.arange(1000) < 20
    far = (np.arange(1000) >= 8) & (np.arange(1000) < 23)
    found = compare(far, large)
    assert found.agreement == pytest.approx(0.989)
    assert found.informs


def test_suspects_get_a_guess_weighted_by_its_confidence():
    x, y, foreign, wrong = gaussians(3000, 32, 3.0, 0.2, 0.1)
    p = out_of_fold(x, y)
    true_guess = np.argmax(p, axis=1)
    found = scored(LinearSeparation(), edition(x, y, training(x, y, 10, 10, 1e-3), p))
    large = found["z_posterior"] > 0.95
    assert (found["weight"][~large] == 1).all()
    assert np.isnan(found["pseudo_loss"][~large]).all()
    assert ((found["weight"] >= 0) & (found["weight"] <= 1)).all()
    assert found["weight"][large & wrong].mean() > found["weight"][large & foreign].mean() + 0.1
    flip_like = found["kind"] == "flip_like"
    assert np.array_equal(found["proposed"][flip_like], true_guess[flip_like])
    assert (found["proposed"][~large | found["flag"]] == -1).all()


def test_the_kinds_are_the_four_of_loss_and_side():
    large, far = np.array([0, 0, 1, 1], dtype=bool), np.array([0, 1, 0, 1], dtype=bool)
    assert kinds(large, far).tolist() == ["clean", "simple_but_odd", "flip_like", "ood_like"]


def test_agreement_is_corrected_for_chance():
    large = np.arange(100) < 20
    far = (np.arange(100) < 16) | (np.arange(100) >= 92)
    found = compare(far, large)
    expected = 0.24 * 0.2 + 0.76 * 0.8
    assert found.agreement == pytest.approx(0.88)
    assert found.kappa == pytest.approx((0.88 - expected) / (1 - expected))
    assert found.precision == pytest.approx(1 - (8 / 80) / (16 / 20))
    assert found.chance < 1e-6
    assert not compare(far, np.zeros(100, dtype=bool)).informs
    assert compare(large, large).informs


def test_the_large_mode_never_falls_as_the_loss_rises():
    rng = RNG(0)
    values = np.concatenate([rng.normal(0, 1, 900), rng.normal(2, 0.1, 100), [-20, 30]])
    posterior = large_mode(values, 0)
    assert (np.diff(posterior[np.argsort(values)]) >= 0).all()
    assert posterior[np.argmin(values)] < 0.5
    assert posterior[np.argmax(values)] > 0.95
    same = large_mode(np.array([1.0, 1.0, np.nan, 2.0]), 0)
    assert same[[0, 1, 3]].tolist() == [0, 0, 0]
    assert np.isnan(same[2])


def test_epochs_count_alike_by_ranks():
    history = np.array([[1.0, 0.1], [2.0, 0.3], [900.0, 0.2], [np.nan, np.nan]], dtype=np.float16)
    np.testing.assert_allclose(mean_rank(history)[:3], [1 / 3, 5 / 6, 5 / 6])
    assert np.isnan(mean_rank(history)[3])


def test_a_hard_class_is_not_taken_for_a_wrong_one():
    easy, hard = [0.0, 0.1, 0.2, 0.3, 0.4], [5.0, 5.1, 5.2, 5.3, 5.4]
    rare = [1.0, 2.0, 3.0, 4.0]
    loss = np.array([*easy, *hard, np.nan, 1.0, *rare])
    y = np.array([0] * 5 + [1] * 6 + [-1] + [2] * 4)
    found = less_class_median(loss, y)
    np.testing.assert_allclose(found[:10], [-0.2, -0.1, 0, 0.1, 0.2] * 2, atol=1e-12)
    assert np.isnan(found[10:]).all()


def test_the_pseudo_loss_is_the_cross_entropy_with_the_sharpened_prediction():
    p = np.array([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [1, 0, 0], [np.nan] * 3])
    q = p[:2] ** 2 / (p[:2] ** 2).sum(axis=1, keepdims=True)
    found = pseudo_losses(p, 2.0)
    np.testing.assert_allclose(found[:2], -(q * np.log(p[:2])).sum(axis=1))
    assert found[2] == pytest.approx(0, abs=1e-6)
    assert np.isnan(found[3])
    large = np.array([True, True, True, True, False])
    weight = weights(np.array([0.1, 0.12, 2.0, np.nan, np.nan]), large, 0)
    assert weight[0] > 0.9
    assert weight[2] < 0.1
    assert weight[3:].tolist() == [0, 1]


def test_ranks_are_among_those_that_are_judged():
    found = ranks(np.array([3.0, 1.0, 2.0, 9.0]), np.array([1, 1, 1, 0], dtype=bool))
    np.testing.assert_allclose(found[:3], [1, 1 / 3, 2 / 3])
    assert np.isnan(found[3])


def test_the_order_of_rows_changes_nothing():
    x, y, _, _ = stamps(0.27, 1)
    table = edition(x, y, training(x, y, 9, 20), out_of_fold(x, y))
    order = RNG(0).permutation(len(y))
    straight, turned = scores(LinearSeparation(), table), scores(LinearSeparation(), table.take(order))
    np.testing.assert_allclose(np.array(straight["margin"])[order], turned["margin"], rtol=1e-2, atol=1e-3)
    assert (np.array(straight["kind"])[order] == np.array(turned["kind"])).mean() >= 0.99


def test_pictures_that_cannot_be_judged_are_left_alone():
    x, y, _, _ = gaussians(600, 8, 4.0, 0.3, 0.1)
    p, history = out_of_fold(x, y), training(x, y, 10, 10, 1e-3)
    y[:3], history[:3], p[:3] = -1, np.nan, np.nan
    x[5, 2] = np.nan
    found = scored(LinearSeparation(), edition(x, y, history, p))
    assert found["flag"].any()
    assert np.isnan(found["score"][[0, 1, 2, 5]]).all()
    assert (found["kind"][[0, 1, 2, 5]] == "").all()
    assert not found["flag"][[0, 1, 2, 5]].any()
    assert (found["proposed"][:3] == -1).all()
    assert np.isfinite(found["margin"][:3]).all()  # the hyperplane needs no label
    assert (found["weight"][:3] == 1).all()


@pytest.mark.parametrize(
    ("n", "loss"), [(0, []), (1, [0.5]), (4, [1.0] * 4), (4, [np.nan] * 4)], ids=["none", "one", "alike", "no losses"]
)
def test_too_little_data_flags_nothing(n, loss):
    table = edition(np.ones((n, 3)), np.zeros(n), np.reshape(loss, (n, 1)), np.ones((n, 1)))
    found = scored(LinearSeparation(), table)
    assert not found["flag"].any()
    assert LinearSeparation().figures(found, CTX)["flagged"] == 0
