import numpy as np
import pytest
from cleanlab.count import compute_confident_joint, get_confident_thresholds
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.curation.labels import pruning
from variorum.curation.labels.pruning import check_probabilities, confident_thresholds, margins, prune_by_noise_rate
from variorum.schemas.errors import RecipeError

pytestmark = pytest.mark.filterwarnings("ignore:May not flag all label issues")  # by cleanlab, on classes of one


def random_case(rng, kind):
    """Random labels and probabilities: long-tailed, tied, repeated, uncertain, with missing classes."""
    classes = int(rng.integers(2, 13))
    n = int(rng.integers(classes + 2, 400))
    logits = rng.normal(size=(n, classes)) * rng.choice([0.3, 1, 3])
    prior = rng.dirichlet(np.ones(classes) * 0.4) if kind == "long tail" else np.ones(classes) / classes
    true = rng.choice(classes, n, p=prior)
    logits[np.arange(n), true] += rng.choice([0, 1, 3])
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    if kind == "ties":
        p = np.round(p * 8) + 1
        p /= p.sum(axis=1, keepdims=True)
    if kind == "repeats":
        p = p[rng.integers(0, max(2, n // 4), n)]
    y = np.where(rng.random(n) < rng.choice([0.0, 0.2, 0.5]), rng.integers(0, classes, n), true)
    y[:2] = 0, 1  # cleanlab refuses a single class
    return y.astype(np.int64), p.astype(rng.choice([np.float32, np.float64]))


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.sampled_from(["balanced", "long tail", "ties", "repeats"]))
def test_cleanlab_finds_the_same_samples(seed, kind):
    y, p = random_case(np.random.default_rng(seed), kind)
    flags, joint = prune_by_noise_rate(y, p)
    np.testing.assert_array_equal(flags, find_label_issues(y, p, n_jobs=1))
    np.testing.assert_array_equal(joint, compute_confident_joint(y, p))
    np.testing.assert_array_equal(confident_thresholds(y, p), get_confident_thresholds(y, p))


@pytest.mark.parametrize("entries", [1, 50, 7_000])
def test_the_size_of_the_blocks_does_not_matter(entries, monkeypatch):
    y, p = random_case(np.random.default_rng(5), "ties")
    before = prune_by_noise_rate(y, p)[0], *margins(y, p, confident_thresholds(y, p))
    monkeypatch.setattr(pruning, "BLOCK", entries)
    after = prune_by_noise_rate(y, p)[0], *margins(y, p, confident_thresholds(y, p))
    assert before[0].any()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_classes_few_samples_of_each():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 200, 6_000)
    y = np.where(rng.random(6_000) < 0.3, rng.integers(0, 200, 6_000), true)
    logits = rng.normal(size=(6_000, 200)).astype(np.float32)
    logits[np.arange(6_000), true] += 4
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flags, _ = prune_by_noise_rate(y, p)
    assert 1_000 < flags.sum() < 2_000
    np.testing.assert_array_equal(flags, find_label_issues(y, p, n_jobs=1))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from(["balanced", "long tail", "repeats"]))
def test_margins_are_cleanlabs(seed, kind):
    y, p = random_case(np.random.default_rng(seed), kind)
    plain, adjusted, likeliest = margins(y, p, confident_thresholds(y, p))
    theirs = [
        get_label_quality_scores(y, p, method="normalized_margin", adjust_pred_probs=adjust) for adjust in (False, True)
    ]
    np.testing.assert_allclose(plain, theirs[0], atol=1e-6)
    np.testing.assert_allclose(adjusted, theirs[1], atol=1e-6)
    np.testing.assert_array_equal(likeliest, p.argmax(axis=1))


def test_one_class_and_no_samples_have_nothing_wrong():
    for n in (0, 1, 5):
        y, p = np.zeros(n, dtype=np.int64), np.ones((n, 1), dtype=np.float32)
        check_probabilities(y, p)
        flags, joint = prune_by_noise_rate(y, p)
        assert flags.tolist() == [False] * n
        assert joint.sum() == n
        assert margins(y, p, confident_thresholds(y, p))[0].tolist() == [1.0] * n


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [[0.5, 0.5], [0.5, 0.6]], r"row 1: its probabilities sum to 1\.1"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.6]], "row 1: its probabilities sum to nan"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], r"row 0 has probability -0\.5, below 0"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "row 1 has label 2, but there are probabilities of 2 classes"),
        ([-1, 0], [[0.5, 0.5], [0.5, 0.5]], "row 0 has label -1"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], r"shape \(2, 2\) for 1 labels"),
    ],
)
def test_rows_that_are_not_distributions_are_refused(y, p, message):
    with pytest.raises(RecipeError, match=message):
        check_probabilities(np.array(y), np.array(p))
