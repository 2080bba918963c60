from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage
from embedded_edition import CTX, scored, scores
from PIL import Image
from sklearn.datasets import load_sample_images

from variorum.arrays import arrow_column
from variorum.curation.ai_detection.ai_image import (
    POOLED,
    AiImage,
    conformal_percentile,
    equalised,
    mean_cosine,
    noise_levels,
    noisy,
    pool_small,
    sharpness_strata,
)
from variorum.curation.quality.quality import Quality
from variorum.models.loaders.clip_tower import ClipTower
from variorum.models.loaders.clip_tower import network_input as clip_input
from variorum.models.loaders.efficientnet_lite import EfficientNetLiteEncoder, EfficientNetLiteOptions
from variorum.models.loaders.efficientnet_lite import network_input as lite_input
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample, source_id

SIDE = 32
IMAGENET_STD = (0.229, 0.224, 0.225)


class Linear:
    """An encoder whose embedding is the normalised pixels times a constant, or their differences to neighbours."""

    side, std = SIDE, IMAGENET_STD

    def __init__(self, edges=False):
        self.edges = edges

    def get(self, alias):
        assert alias == "encoder"
        return self

    def pin(self, alias):
        return "linear@1"

    def __call__(self, images):
        x = (np.stack(images) / 255 - (0.485, 0.456, 0.406)) / IMAGENET_STD
        if not self.edges:
            return x.reshape(len(images), -1)
        x = x.mean(axis=3)
        across, down = np.diff(x, axis=2), np.diff(x, axis=1)
        return np.concatenate([across.reshape(len(x), -1), down.reshape(len(x), -1)], axis=1)


def context(encoder, seed=0):
    return Context(seed, encoder, lambda key, compute: compute())


def crops(number, side=128, seed=0):
    """Crops of real photographs at random places and scales."""
    data = Path(skimage.__file__).parent / "data"
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
    photos = [np.array(Image.open(data / name).convert("RGB")) for name in names] + load_sample_images().images
    rng = np.random.default_rng(seed)
    found = []
    for k in range(number):
        photo = photos[k % len(photos)]
        size = int(rng.integers(side, min(photo.shape[:2]) + 1))
        y, x = (int(rng.integers(whole - size + 1)) for whole in photo.shape[:2])
        found.append(cv2.resize(photo[y : y + size, x : x + size], (side, side), interpolation=cv2.INTER_AREA))
    return found


def blurred(images, sigma=3.0):
    return [cv2.GaussianBlur(image, (0, 0), sigma) for image in images]


def edition(step, images, encoder, variants=None, seed=0):
    """The table that `score` reads."""
    samples = [Sample(source_id("test", str(k)), image) for k, image in enumerate(images)]
    ctx = context(encoder, seed)
    table = pa.table(
        {
            "id": [sample.id for sample in samples],
            "variant": variants or ["original"] * len(samples),
            "licence": ["CC0-1.0"] * len(samples),
        }
    )
    for name, judge in (("quality", Quality()), ("ai_image", step)):
        rows = list(judge.measure(samples, ctx))
        for column in rows[0]:
            table = table.append_column(f"{name}.{column}", arrow_column([row[column] for row in rows]))
    return table


# The space of the noise


def test_noise_is_as_strong_in_the_encoders_normalised_input_as_published():
    grey = np.full((256, 256, 3), 128, np.uint8)
    moved = noisy(grey, noise_levels(0.05, IMAGENET_STD), np.random.default_rng(0))
    normalised = (moved / 255.0 - grey / 255.0) / IMAGENET_STD
    assert normalised.std(axis=(0, 1)) == pytest.approx([0.05] * 3, rel=0.02)
    # 0.05 on pixels in [0, 1] would be over four times as much
    assert (0.05 / (moved / 255.0).std(axis=(0, 1)) > 4.2).all()


@pytest.mark.parametrize(
    ("encoder", "seen"),
    [
        (EfficientNetLiteEncoder(None, EfficientNetLiteOptions(size=224)), lambda image: lite_input(image, 224)),
        (
            ClipTower(SimpleNamespace(get_inputs=lambda: [SimpleNamespace(name="x")]), 224),
            lambda image: clip_input(image, 224),
        ),
    ],
)
def test_a_network_sees_the_noise_that_its_encoder_asks_for(encoder, seen):
    grey = np.full((encoder.side, encoder.side, 3), 128, np.uint8)
    moved = noisy(grey, noise_levels(0.05, encoder.std), np.random.default_rng(0))
    noise = seen(moved) - seen(grey)
    assert noise.std() == pytest.approx(0.05, rel=0.02)  # nothing of it is smoothed away
    larger = cv2.resize(grey, (300, 300))
    smoothed = seen(noisy(larger, noise_levels(0.05, encoder.std), np.random.default_rng(0))) - seen(larger)
    assert smoothed.std() < 0.045


def test_an_encoder_that_does_not_say_how_it_takes_pictures_is_refused():
    def silent(images):
        return np.stack(images).reshape(len(images), -1)

    ctx = context(SimpleNamespace(get=lambda alias: silent))
    (sample,) = (Sample(source_id("test", "0"), image) for image in crops(1))
    with pytest.raises(RecipeError, match="encoder doesn't say at which side and std it takes pictures; set both"):
        list(AiImage().measure([sample], ctx))
    (row,) = AiImage(side=SIDE, std=IMAGENET_STD).measure([sample], ctx)
    assert row["similarity"] < 1


def test_the_loss_of_similarity_grows_with_the_square_of_the_noise_and_is_what_the_jacobian_says():
    images = [48 + equalised(image, SIDE, 95) // 2 for image in crops(40)]  # far from 0 and 255, so nothing is clipped
    encoder = Linear()
    clean = encoder(images)
    d = clean.shape[1]
    lost = []
    for strength in (0.025, 0.05, 0.1):
        rng = np.random.default_rng(1)
        levels = noise_levels(strength, IMAGENET_STD)
        moved = np.stack([encoder([noisy(image, levels, rng) for _ in range(4)]) for image in images])
        lost.append(1 - mean_cosine(clean, moved).mean())
        # the Jacobian is the identity: E|noise across the embedding|² = λ² (d - 1), plus the noise of rounding
        variance = strength**2 + np.mean(1 / 12 / (255 * np.array(IMAGENET_STD)) ** 2)
        expected = (variance * (d - 1) / (2 * (clean**2).sum(axis=1))).mean()
        assert lost[-1] == pytest.approx(expected, rel=0.05)
    assert np.log2(lost[1] / lost[0]) == pytest.approx(2, abs=0.08)
    assert np.log2(lost[2] / lost[1]) == pytest.approx(2, abs=0.08)


def test_more_draws_vary_less():
    images = crops(30)
    spread = []
    for draws in (1, 8):
        step = AiImage(side=SIDE, draws=draws)
        samples = [Sample(f"{k:032x}", image) for k, image in enumerate(images)]
        runs = [[row["similarity"] for row in step.measure(samples, context(Linear(), seed))] for seed in range(12)]
        spread.append(np.var(runs, axis=0).mean())
    assert 4 < spread[0] / spread[1] < 16


def test_the_noise_depends_on_the_sample_and_not_on_its_place():
    step = AiImage(side=SIDE)
    samples = [Sample(f"{k:032x}", image) for k, image in enumerate(crops(6))]
    together = [row["similarity"] for row in step.measure(samples, context(Linear()))]
    alone = [next(iter(step.measure([one], context(Linear()))))["similarity"] for one in reversed(samples)]
    assert together == pytest.approx(alone[::-1], abs=1e-12)


def test_format_and_shape_are_evened_out():
    photo = crops(1, side=200)[0]
    wide = cv2.resize(photo, (300, 100), interpolation=cv2.INTER_AREA)
    for image in (photo, wide, photo[:40, :40]):
        assert equalised(image, 64, 95).shape == (64, 64, 3)
    once = equalised(photo, 200, 95)
    again = equalised(once, 200, 95)
    assert np.abs(once.astype(int) - again).mean() < 0.5 * np.abs(photo.astype(int) - once).mean()


# Calibration


@pytest.mark.parametrize("seed", range(5))
def test_real_pictures_held_out_are_suspect_as_often_as_asked(seed):
    rng = np.random.default_rng(seed)
    n = 4000
    similarity = rng.beta(50, 2, n)
    calibrates = rng.random(n) < 0.5
    stratum = np.full(n, POOLED, dtype=object)
    percentile = conformal_percentile(similarity, stratum, calibrates)
    assert (percentile[~calibrates] <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (percentile[calibrates] <= 0.05).mean() == pytest.approx(0.05, abs=0.001)


@pytest.mark.slow
def test_strata_make_blurred_photographs_hardly_more_suspect_than_sharp_ones():
    """Pooled, 0.100 of the blurred and 0.000 of the sharp pictures are suspect; with strata 0.067 and 0.033."""
    native = crops(450)
    images = native + blurred(crops(450, seed=1), 4.0)
    table = edition(AiImage(side=64, draws=2), images, Linear(edges=True))
    soft = np.arange(len(images)) >= len(native)

    def rates(least):
        step = AiImage(side=64, draws=2, min_stratum=least)
        found = scored(step, table)
        assert step.figures(found, CTX)["held_out_false_positives"] == pytest.approx(0.05, abs=0.02)
        return found["suspect"][soft].mean(), found["suspect"][~soft].mean()

    of_blurred, of_native = rates(10_000)
    assert of_blurred > 0.08
    assert of_native < 0.01
    of_blurred, of_native = rates(200)
    assert of_blurred == pytest.approx(0.05, abs=0.02)
    assert of_native == pytest.approx(0.05, abs=0.02)


def test_pictures_made_here_are_known_and_calibrate_nothing():
    images = crops(60)
    variants = ["original"] * 40 + ["size_0.05"] * 20
    images[40:] = blurred(images[40:], 8.0)
    step = AiImage(side=SIDE, draws=2, min_stratum=20, sharpness_bins=1)
    table = edition(step, images, Linear(edges=True), variants)
    found = scored(step, table)
    assert found["known"].tolist() == [False] * 40 + [True] * 20
    figures = step.figures(found, CTX)
    assert figures["real"] == 40
    assert figures["own_found"]["size_0.05"] > 0.8
    alone = scored(step, table.slice(0, 40))
    assert (alone["percentile"] == found["percentile"][:40]).all()


def test_small_strata_are_judged_with_all():
    real = np.ones(60, bool)
    stratum = np.array(["a"] * 50 + ["b"] * 10, dtype=object)
    assert pool_small(stratum, real, 20).tolist() == ["a"] * 50 + [POOLED] * 10
    similarity = np.arange(60.0)
    percentile = conformal_percentile(similarity, pool_small(stratum, real, 20), real)
    assert percentile[0] == 1 / 50
    assert percentile[59] == 1  # among all 60
    assert percentile[50] == 51 / 60


def test_bins_hold_as_many_real_pictures_each():
    rng = np.random.default_rng(0)
    cells = np.array(["a"] * 300 + ["b"] * 300 + ["c"] * 5, dtype=object)
    real = np.array([True] * 600 + [False] * 5)
    blurriness = rng.random(605) * np.array([1.0] * 300 + [50.0] * 300 + [1.0] * 5)
    found = sharpness_strata(cells, blurriness, real, 3)
    _, counts = np.unique(found.astype(str), return_counts=True)
    assert counts.tolist() == [100] * 6 + [5]
    assert set(found[600:]) == {POOLED}


def test_without_real_pictures_nothing_is_judged():
    step = AiImage(side=SIDE, draws=1)
    table = edition(step, crops(5), Linear(), ["made"] * 5)
    found = scored(step, table)
    assert np.isnan(found["percentile"]).all()
    assert not found["suspect"].any()
    assert step.figures(found, CTX)["real"] == 0


def test_an_embedding_without_direction_is_not_judged():
    clean = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    moved = np.repeat(clean[:, None], 2, axis=1)
    similarity = mean_cosine(clean, moved)
    assert np.isnan(similarity[0])
    assert similarity[1:] == pytest.approx(1)
    stratum = np.full(3, POOLED, dtype=object)
    assert np.isnan(conformal_percentile(similarity, stratum, ~np.isnan(similarity))[0])


def test_it_gives_no_column_that_a_rule_could_take_for_a_flag():
    step = AiImage(side=SIDE, draws=1)
    found = scores(step, edition(step, crops(3), Linear()))
    assert set(found) == {"percentile", "suspect", "stratum", "known"}


def test_an_edition_without_pictures():
    table = pa.table(
        {"id": pa.array([], pa.string()), "variant": pa.array([], pa.string()), "licence": pa.array([], pa.string())}
    )
    for name in ("quality.width", "quality.height", "quality.blurriness", "ai_image.similarity"):
        table = table.append_column(name, pa.array([], pa.float64()))
    assert all(len(values) == 0 for values in scores(AiImage(), table).values())
