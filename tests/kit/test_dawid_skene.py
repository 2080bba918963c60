import numpy as np
import pytest

from variorum.kit.raters.dawid_skene import dawid_skene, model_votes, vote_share
from variorum.schemas.errors import SourceError

CAREFUL = np.array([[0.94, 0.04, 0.02], [0.10, 0.20, 0.70]])
CAUTIOUS = np.array([[0.97, 0.02, 0.01], [0.35, 0.25, 0.40]])
CARELESS = np.array([[0.55, 0.10, 0.35], [0.45, 0.10, 0.45]])


def panel(seed=0, cells=4000, raters=18, votes=5, prevalence=0.2, habits=(CAREFUL, CAUTIOUS, CAUTIOUS)):
    """Simulated votes in long form, with the truth and the raters' tables."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(cells) < prevalence).astype(int)
    tables = np.array([habits[r % len(habits)] for r in range(raters)])
    who = np.array([rng.choice(raters, votes, replace=False) for _ in range(cells)])
    chances = tables[who, truth[:, None]].cumsum(axis=2)
    answers = (rng.random(who.shape)[..., None] > chances).sum(axis=2).clip(0, 2)
    return np.repeat(np.arange(cells), votes), who.ravel(), answers.ravel(), truth, tables


def test_it_recovers_the_truth_and_the_raters():
    cells, raters, answers, truth, tables = panel()
    found = dawid_skene(cells, raters, answers)
    assert np.corrcoef(found.p, truth)[0, 1] > 0.93
    assert np.abs(found.confusion - tables).max() < 0.08
    assert np.abs(found.confusion - tables).mean() < 0.015
    assert found.prior == pytest.approx(truth.mean(), abs=0.01)
    assert found.steps < 50


def test_it_beats_counting_votes_where_raters_are_conservative():
    cells, raters, answers, truth, _ = panel(habits=(CAREFUL, CAUTIOUS, CARELESS))
    found = dawid_skene(cells, raters, answers)
    share = vote_share(cells, answers, len(truth))
    right = ((found.p >= 0.5) == truth).mean()
    assert right > ((share >= 0.5) == truth).mean() + 0.01
    assert right > ((share >= 0.4) == truth).mean() + 0.01


def test_probabilities_mean_what_they_say():
    cells, raters, answers, truth, _ = panel(cells=8000)
    p = dawid_skene(cells, raters, answers).p
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1)):
        here = (p >= low) & (p <= high)
        assert truth[here].mean() == pytest.approx(p[here].mean(), abs=0.05)


def test_a_maybe_carries_signal():
    cells, raters, answers, truth, _ = panel(habits=(CAUTIOUS,))
    whole = dawid_skene(cells, raters, answers).p
    merged = dawid_skene(cells, raters, np.where(answers == 1, 2, answers)).p
    assert ((whole - truth) ** 2).mean() < ((merged - truth) ** 2).mean()


def test_who_guesses_tells_nothing():
    cells, raters, answers, _, _ = panel(habits=(CAREFUL, np.full((2, 3), 1 / 3)), raters=10)
    bits = dawid_skene(cells, raters, answers).informativeness()
    assert bits[1::2].max() < 0.02
    assert bits[::2].min() > 0.2


def test_gold_cells_stay_and_anchor():
    cells, raters, answers, truth, tables = panel(cells=400, habits=(CAREFUL, CARELESS, CARELESS), votes=3)
    gold = np.full(len(truth), np.nan)
    gold[:150] = truth[:150]
    found, without = dawid_skene(cells, raters, answers, gold=gold), dawid_skene(cells, raters, answers)
    assert (found.p[:150] == truth[:150]).all()
    assert np.abs(found.confusion - tables).mean() < np.abs(without.confusion - tables).mean()
    assert ((found.p - truth) ** 2)[150:].mean() < ((without.p - truth) ** 2)[150:].mean()


def test_known_answers_are_a_start_that_a_wrong_majority_cannot_mislead():
    cells, raters, answers, truth, _ = panel(cells=400, raters=3, votes=3, prevalence=0.5, habits=(CAREFUL,))
    answers = np.where(raters > 0, 2 - answers, answers)  # two of three answer the wrong way round
    gold = np.full(len(truth), np.nan)
    gold[:40] = truth[:40]
    right = [
        ((dawid_skene(cells, raters, answers, gold=gold, from_gold=start).p >= 0.5) == truth)[40:].mean()
        for start in (False, True)
    ]
    assert right[0] < 0.1 < 0.9 < right[1]


def test_the_likelihood_rises():
    cells, raters, answers, _, _ = panel(cells=500)
    steps = [dawid_skene(cells, raters, answers, max_steps=n, tolerance=0, smoothing=1e-6) for n in (1, 2, 4, 8, 16)]
    likelihoods = [found.log_likelihood for found in steps]
    assert likelihoods == sorted(likelihoods)


def test_pooling_steadies_raters_with_few_answers():
    cells, raters, answers, truth, tables = panel(cells=120, raters=60, votes=3)
    alone, pooled = (dawid_skene(cells, raters, answers, pooling=m) for m in (0, 10))
    assert np.abs(pooled.confusion - tables).mean() < 0.6 * np.abs(alone.confusion - tables).mean()
    assert ((pooled.p - truth) ** 2).mean() < ((alone.p - truth) ** 2).mean()


def test_each_label_can_have_its_own_prior():
    cells, raters, answers, truth, _ = panel(cells=600, votes=2)
    labels = np.where(truth == 1, 0, np.arange(len(truth)) % 2)  # label 1 is never right
    one, own = dawid_skene(cells, raters, answers), dawid_skene(cells, raters, answers, labels=labels)
    assert one.priors is None
    assert own.priors[1] < one.prior < own.priors[0]
    assert ((own.p - truth) ** 2).mean() < ((one.p - truth) ** 2).mean()
    shrunk = dawid_skene(cells, raters, answers, labels=labels, shrinkage=1e9)
    np.testing.assert_allclose(shrunk.p, one.p, atol=1e-3)


def test_a_model_sits_on_the_panel():
    cells, raters, answers, truth, _ = panel(votes=2)
    rng = np.random.default_rng(1)
    p = 1 / (1 + np.exp(-(2.5 * (2 * truth - 1) - 1 + 1.5 * rng.standard_normal(len(truth)))))
    alone = dawid_skene(cells, raters, answers)
    c, r, a = (
        np.append(cells, np.arange(len(truth))),
        np.append(raters, np.full(len(truth), 18)),
        np.append(answers, model_votes(p)),
    )
    both = dawid_skene(c, r, a)
    error = ((both.p >= 0.5) != truth).mean()
    assert error < 0.8 * ((alone.p >= 0.5) != truth).mean()
    assert error < ((p >= 0.5) != truth).mean()
    assert model_votes(np.array([0.1, 0.5, 0.9])).tolist() == [0, 1, 2]


def test_the_order_of_votes_does_not_matter():
    cells, raters, answers, _, _ = panel(cells=300)
    shuffled = np.random.default_rng(2).permutation(len(cells))
    one, other = dawid_skene(cells, raters, answers), dawid_skene(cells[shuffled], raters[shuffled], answers[shuffled])
    np.testing.assert_allclose(one.p, other.p, atol=1e-9)


@pytest.mark.parametrize("answer", [0, 1, 2])
def test_one_kind_of_answer_gives_no_warning(answer):
    cells = np.repeat(np.arange(5), 2)
    found = dawid_skene(cells, np.tile([0, 1], 5), np.full(10, answer))
    assert np.isfinite(found.p).all()
    assert np.isfinite(found.informativeness()).all()
    assert {0: found.p.max() < 0.1, 1: True, 2: found.p.min() > 0.9}[answer]


def test_cells_and_raters_without_answers():
    gold = np.full(6, np.nan)
    found = dawid_skene(np.array([0, 0, 1, 1]), np.array([0, 3, 0, 3]), np.array([2, 2, 0, 0]), gold=gold)
    assert found.p[2:] == pytest.approx(found.prior, abs=0.01)
    assert found.confusion.shape == (4, 2, 3)
    empty = dawid_skene(*(np.zeros(0, int) for _ in range(3)))
    assert empty.p.shape == (0,)


def test_bad_votes_are_refused():
    one = np.array([0])
    with pytest.raises(SourceError, match="the numbers must be equal"):
        dawid_skene(one, one, np.array([0, 1]))
    with pytest.raises(SourceError, match=r"answers must be 0 .* not \[3\]"):
        dawid_skene(one, one, np.array([3]))
    with pytest.raises(SourceError, match="cells run from 4 to 4, but gold has 2 values"):
        dawid_skene(np.array([4]), one, one, gold=np.zeros(2))
    with pytest.raises(SourceError, match="gold truths must be 0, 1, or NaN"):
        dawid_skene(one, one, one, gold=np.array([0.5]))
    with pytest.raises(SourceError, match="raters must be numbered from 0"):
        dawid_skene(one, np.array([-1]), one)
    with pytest.raises(SourceError, match="smoothing must be above 0"):
        dawid_skene(one, one, one, smoothing=0)


def test_a_share_that_is_given_is_kept():
    cells, raters = np.repeat(np.arange(8), 2), np.tile([0, 1], 8)
    answers = np.array([2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0])
    learnt, kept = dawid_skene(cells, raters, answers), dawid_skene(cells, raters, answers, share=0.5)
    assert learnt.prior < 0.3
    assert kept.prior == 0.5
    for wrong in ({"share": 0.0}, {"share": 1.0}, {"share": 0.5, "labels": np.zeros(8, int)}):
        with pytest.raises(SourceError, match="share must be between 0 and 1"):
            dawid_skene(cells, raters, answers, **wrong)
