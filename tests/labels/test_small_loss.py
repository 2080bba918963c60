import numpy as np
import pytest
from embedded_edition import CTX, edition, scored, scores, with_columns
from label_noise import asymmetric, digits, symmetric
from sklearn.metrics import roc_auc_score

from variorum.curation.labels.small_loss import SmallLoss, below_fake, rank, suspicion, upper_mode
from variorum.curation.labels.training import train
from variorum.curation.labels.training_dynamics import with_fake_class
from variorum.schemas.errors import RecipeError

SETTINGS = {"epochs": 50, "hidden": 128, "batch": 64, "learning_rate": 2e-3}
N = 800


def trained(kind, rate, elr=7.0):
    """Digits with wrong labels: given labels, the mask of wrong ones, mean losses and mean margins."""
    x, true = (values[:N] for values in digits())
    given = kind(true, rate, 10, np.random.default_rng(1))
    seen = train(x.astype(np.float32), given, 10, seed=1, elr=elr, **SETTINGS)
    return given, given != true, seen.loss.mean(axis=1), seen.margin


def f1(flag, wrong):
    return 2 * (flag & wrong).sum() / (flag.sum() + wrong.sum())


@pytest.mark.parametrize("elr", [pytest.param(0.0, marks=pytest.mark.slow), 7.0])
def test_clean_labels_give_no_evidence_and_no_flags(elr):
    """A mixture fitted to the losses themselves would find a second mode here."""
    from sklearn.mixture import GaussianMixture

    given, _, loss, margin = trained(symmetric, 0.0, elr)
    assert suspicion(margin, given, 0) is None
    one, two = (GaussianMixture(n, random_state=0).fit(loss[:, None]).bic(loss[:, None]) for n in (1, 2))
    assert two < one
    table = with_columns(
        edition(np.zeros((N, 1)), given), {"training_dynamics.mean_loss": loss, "training_dynamics.aum": margin}
    )
    found = scored(SmallLoss(), table)
    assert not found["flag"].any()
    assert not found["posterior"].any()
    figures = SmallLoss().figures(found, CTX)
    assert figures["evidence_of_noise"] is False
    assert figures["estimated_noise_rate"] == 0
    assert figures["flagged"] == 0
    assert figures["most_flagged_classes"] == {}


@pytest.mark.parametrize(
    ("kind", "rate"),
    [pytest.param(symmetric, 0.2, marks=pytest.mark.slow), (asymmetric, 0.2), (symmetric, 0.05)],
)
def test_wrong_labels_are_flagged_and_their_rate_is_estimated(kind, rate):
    given, wrong, loss, margin = trained(kind, rate)
    table = with_columns(
        edition(np.zeros((N, 1)), given), {"training_dynamics.mean_loss": loss, "training_dynamics.aum": margin}
    )
    found = scored(SmallLoss(), table)
    assert roc_auc_score(wrong, found["score"]) > 0.99
    flag = found["flag"]
    assert f1(flag, wrong) > (0.9 if rate > 0.1 else 0.75)
    figures = SmallLoss().figures(found, CTX)
    assert figures["evidence_of_noise"] is True
    assert figures["estimated_noise_rate"] == pytest.approx(rate, abs=0.04)
    assert figures["flagged"] == flag.sum()


def test_margins_of_a_made_up_class_give_a_threshold_too():
    x, true = (values[:N] for values in digits())
    given = symmetric(true, 0.2, 10, np.random.default_rng(1))
    margin = train(x.astype(np.float32), given, 10, seed=1, **SETTINGS).margin
    fake, drawn = with_fake_class(given, 10, np.random.default_rng(2))
    fakes = np.where(drawn, train(x.astype(np.float32), fake, 11, seed=2, **SETTINGS).margin, np.nan)
    table = with_columns(
        edition(np.zeros((N, 1)), given), {"training_dynamics.mean_loss": -margin, "training_dynamics.aum": margin}
    )
    step = SmallLoss(method="fake_class")
    with pytest.raises(RecipeError, match=r"small_loss: training_dynamics stored no fake_margin; set its fake_class"):
        scores(step, table)
    flag = scores(step, with_columns(table, {"training_dynamics.fake_margin": fakes}))["flag"]
    assert f1(flag, given != true) > 0.9


def test_two_modes_and_one():
    rng = np.random.default_rng(0)
    flat, tailed = rng.normal(size=2000), rng.exponential(size=2000)
    assert upper_mode(flat, 0) is None
    assert upper_mode(tailed, 0) is None  # two Gaussians fit better, but aren't well separated
    values = np.r_[rng.normal(0, 1, 900), rng.normal(8, 1, 100)]
    posterior = upper_mode(values, 0)
    assert (posterior[:900] < 0.5).all()
    assert (posterior[900:] > 0.5).all()
    assert posterior.mean() == pytest.approx(0.1, abs=0.005)
    assert (np.diff(posterior[np.argsort(values)]) >= 0).all()
    assert upper_mode(values[:10], 0) is None
    assert upper_mode(np.full(100, 2.0), 0) is None
    assert upper_mode(np.zeros(0), 0) is None


def test_classes_too_small_for_a_median_are_not_judged():
    rng = np.random.default_rng(0)
    margin = np.r_[rng.normal(8, 1, 90), rng.normal(0, 1, 10), rng.normal(4, 3, 40)]
    y = np.r_[np.zeros(100, int), 1 + np.arange(40) // 2]  # one class of a hundred, twenty of two
    posterior = suspicion(margin, y, 0)
    assert (posterior[90:100] > 0.5).all()
    assert (posterior[:90] < 0.5).all()
    assert np.isnan(posterior[100:]).all()
    assert suspicion(margin[100:], y[100:], 0) is None
    table = with_columns(
        edition(np.zeros((140, 1)), y), {"training_dynamics.mean_loss": -margin, "training_dynamics.aum": margin}
    )
    figures = SmallLoss().figures(scored(SmallLoss(), table), CTX)
    assert figures["flagged"] == 10
    assert figures["judged"] == 140
    assert figures["estimated_noise_rate"] == pytest.approx(0.1, abs=0.01)


def test_classes_of_different_difficulty_are_not_a_second_mode():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 500)
    margin = rng.normal(0, 1, 1000) + 20 * y
    assert upper_mode(-margin, 0) is not None
    assert suspicion(margin, y, 0) is None


def test_ranks_and_thresholds_by_hand():
    ranks = rank(np.array([3.0, np.nan, 1.0, 1.0, 9.0]))
    assert ranks[[0, 2, 3, 4]].tolist() == [0.625, 0.25, 0.25, 0.875]
    assert np.isnan(ranks[1])
    assert below_fake(np.array([-1.0, 0.5, np.nan]), np.array([0.0, -2.0]), 100).tolist() == [True, False, False]
    assert not below_fake(np.array([-1.0]), np.zeros(0), 99).any()


def test_unjudged_pictures_and_one_class():
    loss = np.array([0.1, np.nan, 0.3])
    table = with_columns(
        edition(np.zeros((3, 1)), [0, -1, 0]),
        {"training_dynamics.mean_loss": loss, "training_dynamics.aum": np.full(3, np.nan)},
    )
    found = scored(SmallLoss(), table)
    assert np.array_equal(np.isnan(found["score"]), [False, True, False])
    assert np.array_equal(found["posterior"], [0, np.nan, 0], equal_nan=True)
    assert not found["flag"].any()
    assert SmallLoss().figures(found, CTX)["judged"] == 2
    assert SmallLoss().figures(scored(SmallLoss(), edition(np.zeros((0, 1)), [])), CTX) == {"judged": 0}
