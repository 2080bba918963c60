import functools
from itertools import pairwise

import numpy as np
import pytest
from embedded_edition import CTX, edition, scored, scores
from label_noise import asymmetric, digits, symmetric
from sklearn.metrics import roc_auc_score

from variorum.curation.labels.early_learning import against_targets
from variorum.curation.labels.training import train
from variorum.curation.labels.training_dynamics import TrainingDynamics, columns, rank_in_class, with_fake_class
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError

FAST = {"epochs": 80, "hidden": 128, "batch": 64, "learning_rate": 4e-3}
BRIEF = {"epochs": 60, "hidden": 128, "batch": 64, "learning_rate": 4e-3}


def trial(kind, rate, elr, settings, seed=0):
    """Figures of a network trained on half of the digits, with wrong labels; the other half is unlabelled."""
    x, true = digits()
    rng = np.random.default_rng(seed)
    held_out = rng.permutation(len(true))[len(true) // 2 :]
    trained = np.setdiff1d(np.arange(len(true)), held_out)
    given = np.full(len(true), -1)
    given[trained] = kind(true[trained], rate, 10, rng)
    seen = train(x.astype(np.float32), given, 10, seed=seed, elr=elr, **settings)
    wrong = (given != true)[trained]
    figures = {
        "test": float((seen.predicted == true)[held_out].mean()),
        "memorised": seen.agrees[trained][wrong, -1].mean(),
    }
    loss = seen.loss[trained]
    figures["last"] = roc_auc_score(wrong, loss[:, -1])
    figures["best"] = max(roc_auc_score(wrong, epoch) for epoch in loss.T)
    figures["mean_loss"] = roc_auc_score(wrong, loss.mean(axis=1))
    figures["aum"] = roc_auc_score(wrong, -seen.margin[trained])
    flag = against_targets(given[trained], seen.target[trained])["flag"]
    figures["f1"] = 2 * (flag & wrong).sum() / (flag.sum() + wrong.sum())
    relabelled = seen.target[trained].argmax(axis=1)
    figures["relabelled"] = (relabelled == true[trained])[flag & wrong].mean() if (flag & wrong).any() else np.nan
    return figures


# ── the published claims, on digits ──────────────────────────────────────────────────────────────────────────────────


def test_mean_loss_finds_wrong_labels_though_the_last_epoch_memorised_them():
    figures = trial(symmetric, 0.2, 0.0, BRIEF)
    assert figures["mean_loss"] >= 0.99
    assert figures["aum"] >= 0.99
    assert figures["mean_loss"] >= figures["best"] - 0.006
    assert figures["last"] < 0.95


def test_early_learning_finds_wrong_labels_and_generalises_where_cross_entropy_does_not():
    plain, regularised = trial(symmetric, 0.4, 0.0, FAST), trial(symmetric, 0.4, 7.0, FAST)
    assert regularised["f1"] >= 0.95
    assert regularised["relabelled"] > 0.9
    assert regularised["memorised"] < 0.05
    assert plain["memorised"] > 0.7
    assert regularised["test"] >= plain["test"] + 0.25


def test_early_learning_on_confusions_of_one_class_with_the_next():
    assert trial(asymmetric, 0.4, 7.0, BRIEF)["f1"] >= 0.70


@pytest.mark.slow
def test_the_claims_over_five_seeds():
    """Figures found elsewhere for networks twice as wide, reproduced within .02 where possible."""

    @functools.cache
    def mean(kind, rate, elr, learning_rate=1e-3, hidden=256):
        settings = {"epochs": 200, "hidden": hidden, "batch": 64, "learning_rate": learning_rate}
        found = [trial(kind, rate, elr, settings, seed) for seed in range(5)]
        return {name: np.mean([one[name] for one in found]) for name in found[0]}

    for kind, rate, elr, elsewhere in (
        (symmetric, 0.2, 0.0, {"best": 0.999, "mean_loss": 0.998, "aum": 0.991, "test": 0.851}),
        (symmetric, 0.4, 0.0, {"best": 0.995, "mean_loss": 0.989, "aum": 0.951}),
        (asymmetric, 0.4, 0.0, {"best": 0.837, "aum": 0.677}),
        (symmetric, 0.2, 7.0, {"test": 0.980, "memorised": 0.01}),
        (symmetric, 0.4, 7.0, {"f1": 0.984, "relabelled": 0.956}),
        (asymmetric, 0.4, 7.0, {"f1": 0.778}),
    ):
        found = mean(kind, rate, elr)
        for name, value in elsewhere.items():
            assert found[name] == pytest.approx(value, abs=0.02), (kind.__name__, rate, elr, name)
        assert elr or found["memorised"] > 0.97
    assert mean(symmetric, 0.2, 7.0)["f1"] >= 0.945
    assert mean(symmetric, 0.2, 7.0, hidden=512)["f1"] == pytest.approx(0.977, abs=0.02)
    for kind, rate, last in ((symmetric, 0.2, 0.89), (symmetric, 0.4, 0.78), (asymmetric, 0.4, 0.62)):
        assert mean(kind, rate, 0.0)["last"] < last  # elsewhere .882, .766, .530; unstable once all is memorised
    once_all_is_memorised = mean(symmetric, 0.4, 0.0, 2e-3)
    assert once_all_is_memorised["memorised"] > 0.99
    assert mean(symmetric, 0.4, 7.0, 2e-3)["test"] >= once_all_is_memorised["test"] + 0.25


# ── the network ──────────────────────────────────────────────────────────────────────────────────────────────────────


def small_problem(n=60, k=3):
    rng = np.random.default_rng(0)
    y = np.arange(n) % k
    return (np.eye(k)[y] * 3 + rng.normal(size=(n, k))).astype(np.float32), y


def test_the_network_is_one_of_linear_layers_trained_by_adam():
    import torch

    x = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    y = np.arange(40) % 3
    seen = train(x, y, 3, seed=5, epochs=3, hidden=16, batch=16, learning_rate=0.01)

    randomness, sizes = torch.Generator().manual_seed(5), [8, 16, 16, 3]
    layers = [torch.nn.Linear(before, after) for before, after in pairwise(sizes)]
    for layer in layers:
        for values in layer.parameters():
            torch.nn.init.uniform_(values, -(layer.in_features**-0.5), layer.in_features**-0.5, generator=randomness)
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    weights, step = list(network.parameters()), 0
    first, second = [0.0] * len(weights), [0.0] * len(weights)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for epoch in range(3):
        for rows in torch.randperm(40, generator=randomness).split(16):
            step += 1
            loss = torch.nn.functional.cross_entropy(network(inputs[rows]), labels[rows])
            for k, slope in enumerate(torch.autograd.grad(loss, weights)):
                first[k] = 0.9 * first[k] + 0.1 * slope
                second[k] = 0.999 * second[k] + 0.001 * slope**2
                root = (second[k] / (1 - 0.999**step)).sqrt() + 1e-8
                weights[k].data -= 0.01 * first[k] / (1 - 0.9**step) / root
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(network(inputs), labels, reduction="none")
        assert seen.loss[:, epoch] == pytest.approx(loss.numpy(), abs=1e-5)


def test_the_same_seed_gives_the_same_history_and_the_global_random_state_is_left_alone():
    import torch

    x, y = small_problem()
    before = torch.random.get_rng_state()
    first, second = (train(x, y, 3, seed=7, epochs=3, elr=3.0) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(train(x, y, 3, seed=8, epochs=3, elr=3.0).loss, first.loss)


def test_the_number_of_threads_decides_nothing():
    import torch

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 1280)).astype(np.float32), np.arange(300) % 5
    before, seen = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            seen.append(train(x, y, 5, seed=0, epochs=2, batch=128, elr=7.0))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in seen[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(seen[0], other, strict=True))


def test_the_records_are_the_networks_outputs():
    x, y = small_problem()
    y[:6] = -1
    seen = train(x, y, 3, seed=0, epochs=5, learning_rate=1e-2, elr=1.0)
    assert np.isnan(seen.loss[:6]).all()
    assert np.isnan(seen.margin[:6]).all()
    assert not seen.target[:6].any()
    assert not seen.agrees[:6].any()
    assert (seen.predicted[:6] >= 0).all()  # unlabelled samples are predicted too
    assert (seen.loss[6:] > 0).all()
    assert np.array_equal(seen.agrees[6:, -1], seen.predicted[6:] == y[6:])
    assert (seen.loss[6:][seen.agrees[6:]] < np.log(3)).all()  # the likeliest of three has p > 1/3
    assert seen.target[6:].sum(axis=1) == pytest.approx(np.full(54, 1 - 0.9**5), abs=1e-5)  # five epochs from 0
    alone = train(x[6:], y[6:], 3, seed=0, epochs=5, learning_rate=1e-2, elr=1.0)
    assert seen.loss[6:] == pytest.approx(alone.loss, abs=1e-5)  # unlabelled samples don't affect the training


def test_one_class_or_no_labels():
    x, y = small_problem()
    one = train(x, y * 0, 1, seed=0, epochs=2, elr=7.0)
    assert one.loss == pytest.approx(np.zeros((60, 2)))
    assert one.agrees.all()
    assert np.isnan(one.margin).all()
    nobody = train(x, np.full(60, -1), 2, seed=0, epochs=2, elr=7.0)
    assert np.isnan(nobody.loss).all()
    assert train(x[:0], y[:0], 2, seed=0, epochs=2).loss.shape == (0, 2)


# ── the columns ──────────────────────────────────────────────────────────────────────────────────────────────────────

QUICK = TrainingDynamics(epochs=4, hidden=16, learning_rate=1e-2)


def test_the_columns_by_hand():
    x, y = small_problem(4, 2)
    seen = train(x, y, 2, seed=0, epochs=4)
    history = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0]], dtype=bool)
    found = columns(seen._replace(agrees=history), y, elr=False)
    assert found["learning_time"].tolist() == [1, 4, 0, 0]
    assert found["forgets"].tolist() == [1, 0, 0, 2]
    assert found["agreement"].tolist() == [0.5, 0, 1, 0.5]
    assert found["mean_loss"] == pytest.approx(seen.loss.mean(axis=1))
    assert "elr_target" not in found
    assert rank_in_class(np.array([5, 1, 9, 3, 7.0]), np.array([0, 1, 0, 1, 2])).tolist() == [
        0.25,
        0.25,
        0.75,
        0.75,
        0.5,
    ]


def test_pictures_with_a_label_and_an_embedding_are_judged():
    x, y = small_problem()
    x[3], x[4, 1], y[5] = 0, np.inf, -1
    step = QUICK.model_copy(update={"fake_class": True})
    found = scored(step, edition(x, y * 10))
    judged = ~np.isin(np.arange(60), [3, 4, 5])
    for name in ("mean_loss", "rank_in_class", "aum", "agreement"):
        assert np.array_equal(~np.isnan(found[name]), judged), name
    for name, width in (("loss_history", 4), ("elr_target", 3)):
        values = found[name]
        assert values.shape == (60, width)
        assert values.dtype == np.float16
        assert np.array_equal(np.isfinite(values).all(axis=1), judged)
    for name in ("learning_time", "forgets"):
        assert np.array_equal(found[name] >= 0, judged)
    assert np.isfinite(found["fake_margin"]).sum() == 57 // 4
    assert step.figures(found, CTX)["judged"] == 57


def test_the_detector_depends_on_the_seed_and_not_on_the_order_of_rows():
    x, y = small_problem()
    table = edition(x, y)
    first = scores(QUICK, table)
    order = np.random.default_rng(1).permutation(60)
    shuffled = scores(QUICK, table.take(order))
    for name, values in first.items():
        assert np.array_equal(shuffled[name], values[order]), name
    assert not np.array_equal(scores(QUICK, table, Context(seed=1, models=None, memo=None))["aum"], first["aum"])


def test_plain_cross_entropy_stores_no_targets():
    x, y = small_problem()
    assert "elr_target" not in scores(QUICK.model_copy(update={"elr": 0.0}), edition(x, y))


def test_no_labels_is_an_error_and_no_pictures_is_not():
    x, y = small_problem()
    with pytest.raises(RecipeError, match="no picture has a label"):
        scores(QUICK, edition(x, y * 0 - 1))
    empty = scored(QUICK, edition(x[:0], y[:0]))
    assert len(empty) == 0
    assert QUICK.figures(empty, CTX) == {"judged": 0}


def test_a_class_of_one_and_unusable_embeddings():
    x, y = small_problem()
    lone = np.where(np.arange(60) == 0, 9, 0)
    found = scores(QUICK, edition(x, lone))
    assert found["rank_in_class"][0] == 0.5
    assert np.isfinite(found["mean_loss"]).all()
    assert np.isnan(scores(QUICK, edition(x * 0, y))["mean_loss"]).all()


def test_the_fake_class_has_its_share():
    y, drawn = with_fake_class(np.arange(110) % 10, 10, np.random.default_rng(0))
    assert drawn.sum() == 10
    assert np.array_equal(y == 10, drawn)
    assert np.array_equal(y[~drawn], (np.arange(110) % 10)[~drawn])
