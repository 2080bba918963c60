import numpy as np
import pytest

from variorum.curation.people.panel.raters import (
    BOUND,
    HABITS,
    HONEST,
    LEAST,
    REVERSED,
    agreement_with_others,
    clicking,
    evidence_of_clicking,
)
from variorum.schemas.errors import SourceError


def alike(right, unclear, wrong):
    """Shares of no, unclear, yes for both truths of somebody who errs equally often in both."""
    return [[right, unclear, wrong], [wrong, unclear, right]]


AT_RANDOM = {
    "coin": [[0.5, 0, 0.5]] * 2,
    "always yes": [[0, 0, 1]] * 2,
    "always no": [[1, 0, 0]] * 2,
    "three answers": [[1 / 3] * 3] * 2,
    "always unclear": [[0, 1, 0]] * 2,
    "reversed": alike(0.15, 0, 0.85),
    "reversed, at times unclear": alike(0.10, 0.20, 0.70),
}
LOOKING = {
    "right .85, never unclear": alike(0.85, 0, 0.15),
    "right .85, unclear .10": alike(0.85, 0.10, 0.05),
    "right .90": alike(0.90, 0, 0.10),
    "right .95": alike(0.95, 0, 0.05),
    "right .80, unclear .10": alike(0.80, 0.10, 0.10),
    "right .70, unclear .25": alike(0.70, 0.25, 0.05),
    "right .65, unclear .30": alike(0.65, 0.30, 0.05),
    "cautious with yes": [[0.95, 0.04, 0.01], [0.12, 0.23, 0.65]],
    "pooled rater of ReaL": [[0.899, 0.06, 0.041], [0.32, 0.17, 0.51]],
}


def suspects(table, answers, people=4000, seed=0):
    """Share of simulated raters who are suspect with this many gold answers, half of them on what is right."""
    rng = np.random.default_rng(seed)
    yes = rng.binomial(answers, 0.5, people)
    counts = np.stack([rng.multinomial(answers - yes, table[0]), rng.multinomial(yes, table[1])], axis=1)
    return (evidence_of_clicking(counts)[0] > np.log(BOUND)).mean()


@pytest.mark.parametrize("name", AT_RANDOM)
def test_who_does_not_look_is_found_with_the_fewest_answers(name):
    assert suspects(AT_RANDOM[name], LEAST) >= 0.88
    assert suspects(AT_RANDOM[name], 100) >= 0.995


@pytest.mark.parametrize("name", LOOKING)
def test_who_looks_is_not_suspected(name):
    assert suspects(LOOKING[name], LEAST) <= 0.025
    assert suspects(LOOKING[name], 100) <= 0.001


def counts_of(truth, answers):
    return np.bincount(3 * np.asarray(truth) + answers, minlength=6).reshape(2, 3)


def in_steps(counts, tables):
    """Probability of answers in some order, one after the other: each has its share of those before it."""
    p = 1.0
    for said, shares in zip(counts, tables, strict=True):
        seen = list(shares)
        for answer, number in enumerate(said):
            for _ in range(number):
                p *= seen[answer] / sum(seen)
                seen[answer] += 1
    return p


def test_the_bayes_factor_is_that_of_the_answers_one_after_the_other():
    for counts in ([[4, 1, 2], [0, 3, 5]], [[0, 0, 0], [7, 0, 1]], [[1, 0, 6], [5, 1, 0]]):
        unlike = [in_steps([np.sum(counts, axis=0)], [shares]) for shares in HABITS.values()]
        unlike += [in_steps(counts, tables[::-1]) for tables in HONEST.values()]
        honest = [in_steps(counts, tables) for tables in HONEST.values()]
        factor, habit = evidence_of_clicking(np.array(counts))
        assert np.exp(factor) == pytest.approx(np.mean(unlike) / np.mean(honest))
        assert habit == min(int(np.argmax(unlike)), len(HABITS))


def test_habits_are_named():
    truth = np.array([0, 1] * 15)
    right = 2 * truth
    said = {
        "always yes": np.full(30, 2),
        "always no": np.zeros(30, int),
        "always unclear": np.ones(30, int),
        "yes or no by a coin": np.repeat([0, 2, 2, 0, 0, 2], 5),
        REVERSED: 2 - right,
    }
    for name, answers in said.items():
        found = clicking(counts_of(truth, answers))
        assert (found.suspect, found.habit, found.answers) == (True, name, 30)
        assert found.bayes_factor > BOUND


def test_unclear_is_judged_by_the_company_it_keeps():
    truth = np.array([0, 1] * 12)
    right = 2 * truth
    often = np.where(np.arange(24) % 3 == 0, 1, right)
    assert not clicking(counts_of(truth, often)).suspect
    wrong_too = np.where(np.arange(24) % 3 == 0, 1, np.where(np.arange(24) % 3 == 1, 2 - right, right))
    assert clicking(counts_of(truth, wrong_too)).suspect


def test_gold_of_one_sort_does_not_hide_who_always_gives_the_same_answer():
    found = clicking(np.array([[0, 0, 6], [0, 0, 24]]))  # four of five are yes
    assert (found.suspect, found.habit) == (True, "always yes")


def test_a_bad_start_is_forgiven():
    bad = np.array([[5, 0, 5], [5, 0, 5]])
    assert clicking(bad).suspect
    assert not clicking(bad + np.array([[30, 0, 1], [1, 0, 30]])).suspect


def test_few_answers_say_nothing():
    few = counts_of([0, 1] * 9, [2, 0] * 9)
    assert (clicking(few).suspect, clicking(few).bayes_factor > 1000) == (False, True)
    none = clicking(np.zeros((2, 3), int))
    assert (none.suspect, none.bayes_factor, none.answers) == (False, pytest.approx(1), 0)
    assert clicking(np.array([[0, 0, 10**6], [10**6, 0, 0]])).suspect


def test_bad_counts_are_refused():
    with pytest.raises(SourceError, match=r"the shape \(3,\)"):
        clicking(np.array([0, 1, 2]))
    with pytest.raises(SourceError, match="not negative"):
        clicking(np.array([[0, 0, 0], [0, -1, 0]]))


def test_agreement_counts_the_others_only():
    cells = np.array([0, 0, 0, 1, 1, 2])
    who = np.array([0, 1, 2, 0, 1, 3])
    said = np.array([2, 2, 0, 1, 1, 2])
    found = agreement_with_others(cells, who, said, 5)
    assert found[:3].tolist() == [2 / 3, 2 / 3, 0]
    assert np.isnan(found[3:]).all()
