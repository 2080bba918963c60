import numpy as np
import pytest
from embedded_edition import CTX, edition, scored, scores
from label_noise import digits, symmetric

from variorum.curation.labels.early_learning import EarlyLearning, against_targets
from variorum.curation.labels.training_dynamics import TrainingDynamics
from variorum.schemas.errors import RecipeError


def test_the_rule_by_hand():
    target = np.array([[0.6, 0.2, 0.0], [0.6, 0.2, 0.0], [0.1, 0.1, 0.2], [0, 0, 0], [np.nan] * 3, [0.5, 0.3, 0.2]])
    found = against_targets(np.array([0, 1, 2, 0, 1, -1]), target)
    assert found["flag"].tolist() == [False, True, False, False, False, False]
    assert found["proposed"].tolist() == [0, 0, 2, -1, -1, -1]
    assert found["score"][:3] == pytest.approx([0.25, 0.75, 0.5])
    assert found["confidence"][:3] == pytest.approx([0.75, 0.75, 0.5])
    assert np.isnan(found["score"][3:]).all()
    assert np.isnan(found["confidence"][3:]).all()


def test_wrong_labels_of_an_edition_are_flagged_and_relabelled():
    x, true = digits()
    x, true = x[:600], true[:600]
    given = symmetric(true, 0.2, 10, np.random.default_rng(0))
    given[:5] = -1
    dynamics = TrainingDynamics(epochs=60, hidden=128, batch=64, learning_rate=1e-3)
    names = np.arange(0, 100, 10)  # classes 0, 10, … of the edition
    found = scored(EarlyLearning(), scored(dynamics, edition(x, np.where(given < 0, -1, names[given]))).arrow)
    flag, proposed = found["flag"], found["proposed"]
    wrong = (given != true) & (given >= 0)
    assert 2 * (flag & wrong).sum() / (flag.sum() + wrong.sum()) > 0.9
    assert (proposed == names[true])[flag & wrong].mean() > 0.9
    assert (proposed[:5] == -1).all()
    figures = EarlyLearning().figures(found, CTX)
    assert figures["judged"] == 595
    assert figures["flagged"] == flag.sum()
    assert figures["estimated_noise_rate"] == pytest.approx(0.2, abs=0.05)
    assert set(figures["most_flagged_classes"]) == {f"class {k}" for k in names}


def test_training_without_the_regulariser_stores_no_targets():
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    table = scored(TrainingDynamics(epochs=1, elr=0.0), edition(x, y))
    with pytest.raises(RecipeError, match=r"early_learning: training_dynamics stored no elr_target; set its elr"):
        scores(EarlyLearning(), table.arrow)


def test_no_pictures_and_one_class():
    assert EarlyLearning().figures(scored(EarlyLearning(), edition(np.zeros((0, 4)), [])), CTX) == {"judged": 0}
    x = np.random.default_rng(0).normal(size=(20, 4))
    found = scores(EarlyLearning(), scored(TrainingDynamics(epochs=2), edition(x, np.full(20, 3))).arrow)
    assert not found["flag"].any()
    assert (found["proposed"] == 3).all()
    assert found["score"] == pytest.approx(np.zeros(20))
