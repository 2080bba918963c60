import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.kit.embeddings import nearest as module
from variorum.kit.embeddings.nearest import nearest
from variorum.kit.embeddings.rows import normalised


def clusters(n, d, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, d))
    return normalised(centres[rng.integers(0, 20, n)] + rng.normal(size=(n, d)))


def by_definition(rows, k):
    similar = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.fill_diagonal(similar, -np.inf)
    return np.sort(similar, axis=1)[:, ::-1][:, :k]


@pytest.mark.parametrize("n", [1023, 1024, 1025, 3000])
def test_every_neighbour_that_faiss_finds(n):
    rows = clusters(n, 64)
    index, similarity = nearest(rows, 10)
    flat = faiss.IndexFlatIP(64)
    flat.add(rows)
    theirs, found = flat.search(rows, 11)
    np.testing.assert_allclose(similarity, theirs[:, 1:], atol=1e-6)
    assert np.mean([len(set(a) & set(b[1:])) for a, b in zip(index, found, strict=True)]) == 10
    assert index.dtype == np.int32


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 12), st.integers(1, 9))
def test_exact_whatever_the_blocks(seed, n, k, block):
    rng = np.random.default_rng(seed)
    rows = normalised(rng.normal(size=(n, 3)).round(rng.integers(0, 3)) + np.eye(3)[2] / 8)  # coarse values give ties
    whole, module.BLOCK = module.BLOCK, block
    try:
        index, similarity = nearest(rows, k)
    finally:
        module.BLOCK = whole
    there = min(k, n - 1)
    np.testing.assert_allclose(similarity[:, :there], by_definition(rows, k)[:, :there], atol=1e-6)
    assert (index[:, there:] == -1).all()
    assert np.isnan(similarity[:, there:]).all()
    for row, others in enumerate(index[:, :there]):
        assert row not in others
        assert len(set(others.tolist())) == there
        np.testing.assert_allclose(rows[others] @ rows[row], similarity[row, :there], atol=1e-6)


def test_no_rows():
    index, similarity = nearest(np.empty((0, 5), np.float32), 3)
    assert index.shape == similarity.shape == (0, 3)
