import numpy as np
import pytest
from skimage import data

from variorum.curation.quality.features import Features
from variorum.kit.embeddings.rows import BLOCK, mean_and_deviation, normalised, standardised
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample
from variorum.schemas.uses import required_models


def test_the_embedding_is_the_encoders_output():
    models = ModelTable("embedded")
    pictures = [data.chelsea(), data.coffee(), data.chelsea()[:, ::-1]]
    samples = [Sample(id=str(i), image=np.ascontiguousarray(picture)) for i, picture in enumerate(pictures)]
    rows = list(Features().measure(samples, Context(seed=0, models=models, memo=None)))
    assert [list(row) for row in rows] == [["embedding", "encoder"]] * 3
    assert {row["encoder"] for row in rows} == {"encoder"}
    embedding = np.stack([row["embedding"] for row in rows])
    assert embedding.shape == (3, 1280)
    assert embedding.dtype == np.float16
    assert np.array_equal(embedding, models.get("encoder")(pictures).astype(np.float16))
    assert required_models(Features()) == ("encoder",)
    assert required_models(Features(encoder="other")) == ("other",)


def test_values_beyond_float16_become_infinite():
    class Loud:
        def get(self, alias):
            return lambda images: np.full((len(images), 3), [1.0, 2.0, 1e6], np.float32)

    (row,) = Features().measure([Sample(id="0", image=data.coffee())], Context(seed=0, models=Loud(), memo=None))
    assert np.isinf(row["embedding"][2])
    assert np.isnan(normalised(row["embedding"][None])).all()


def test_normalised_rows_have_length_one_or_are_nan():
    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [6e4, 6e4], [6e-8, 0]], dtype=np.float16)
    before = rows.copy()
    unit = normalised(rows)
    assert unit.dtype == np.float32
    assert unit[0] == pytest.approx([0.6, 0.8])
    assert np.isnan(unit[1:4]).all()
    assert unit[4] == pytest.approx([0.5**0.5, 0.5**0.5])
    assert unit[5] == pytest.approx([1, 0])
    assert np.array_equal(rows, before, equal_nan=True)
    assert normalised(np.zeros((0, 4), np.float16)).shape == (0, 4)
    single = np.array([[1e30, 1e30]], dtype=np.float32)
    assert normalised(single) == pytest.approx(np.full((1, 2), 0.5**0.5))
    assert single[0, 0] == np.float32(1e30)


def test_a_deviation_by_blocks_has_the_bits_of_the_whole():
    rows = np.random.default_rng(0).normal(3, [1e-3, 1, 50], (2 * BLOCK + 7, 3)).astype(np.float32)
    mean, deviation = mean_and_deviation(rows)
    assert np.array_equal(mean, rows.mean(axis=0))
    assert np.array_equal(deviation, rows.std(axis=0))


def test_standardised_columns_of_the_fitted_rows():
    x = np.random.default_rng(0).normal(3, 2, (50, 4))
    x[:, 2] = 7
    fitted = np.arange(50) < 40
    z = standardised(x, fitted)
    assert z[fitted].mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-6)
    assert z[fitted].std(axis=0) == pytest.approx([1, 1, 0, 1], abs=1e-5)
    assert (z[:, 2] == 0).all()
    moved = x.copy()
    moved[40:] += 5
    assert np.array_equal(standardised(moved, fitted)[:40], z[:40])
    assert not standardised(x, np.zeros(50, bool)).any()
