"""Sets whose arms differ in compression are refused; sets that are compressed alike aren't."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.curation.quality.format_trap import FormatTrap, at_equal, auroc, by_chance, separations, traces
from variorum.kit.corrupt.digital import as_jpeg
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

CTX = Context(seed=1, models=None, memo=None)


@pytest.fixture(scope="module")
def photographs():
    """Crops without a trace of JPEG: shrunk by a third."""
    found = []
    for name in ("astronaut", "coffee", "chelsea"):
        image = getattr(skimage.data, name)()
        small = cv2.resize(image, None, fx=0.66, fy=0.66, interpolation=cv2.INTER_AREA)
        found += [small[y : y + 96, x : x + 96] for y in (0, 50, 90) for x in (5, 70, 140)]
    return [one for one in found if one.shape == (96, 96, 3)]


def table(**arms) -> Table:
    columns = {"variant": [], "comb": [], "zeros": [], "blockiness": []}
    for name, images in arms.items():
        for image in images:
            columns["variant"].append(name)
            for column, value in zip(("comb", "zeros", "blockiness"), traces(image), strict=True):
                columns[column].append(value)
    named = {name if name == "variant" else f"format_trap.{name}": values for name, values in columns.items()}
    return Table(pa.table(named), "format_trap")


def noised(images):
    rng = np.random.default_rng(0)
    return [np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8) for image in images]


def test_jpegs_against_pictures_that_never_were_ones(photographs):
    jpegs = [as_jpeg(image, 90) for image in photographs]
    found = separations(table(original=jpegs, made=noised(photographs)), ("original",))["made"]
    assert found["comb"] < 0.1
    assert found["comb_at_equal_sharpness"] < 0.2
    with pytest.raises(RecipeError, match=r"tells 'made' from the real pictures \(AUROC 0\.0"):
        FormatTrap().score(table(original=jpegs, made=noised(photographs)), CTX)


def test_compressed_alike(photographs):
    def even(images):
        return [as_jpeg(cv2.resize(image, (84, 84), interpolation=cv2.INTER_AREA), 90) for image in images]

    arms = table(original=even([as_jpeg(image, 90) for image in photographs]), made=even(noised(photographs)))
    assert FormatTrap().score(arms, CTX) == {}
    assert all(abs(value - 0.5) <= 0.1 for value in separations(arms, ("original",))["made"].values())


def test_blur_alone_is_no_trap(photographs):
    """It changes how many coefficients are 0, on the grid and off it."""
    blurred = [as_jpeg(cv2.GaussianBlur(image, (0, 0), 0.8), 90) for image in photographs]
    arms = table(original=[as_jpeg(image, 90) for image in photographs], blurred=blurred)
    found = separations(arms, ("original",))["blurred"]
    assert abs(found["comb"] - 0.5) > 0.1
    assert abs(found["comb_at_equal_sharpness"] - 0.5) < abs(found["comb"] - 0.5)


def test_double_and_single_compression_on_one_grid(photographs):
    """Coarse compression below a fine one still shows its blocks."""
    twice = [as_jpeg(as_jpeg(image, 30), 90) for image in photographs]
    with pytest.raises(RecipeError, match="tells 'twice'"):
        FormatTrap().score(table(original=[as_jpeg(image, 90) for image in photographs], twice=twice), CTX)


def test_a_wider_tolerance_and_other_real_pictures(photographs):
    jpegs = [as_jpeg(image, 90) for image in photographs]
    arms = table(original=jpegs, made=photographs)
    assert FormatTrap(tolerance=0.5).score(arms, CTX) == {}
    assert FormatTrap(real=("original", "made")).score(arms, CTX) == {}
    assert FormatTrap(tolerance=0.5).figures(arms, CTX)["made: comb"] < 0.1


def test_tiny_pictures_tell_nothing():
    small = np.zeros((20, 20, 3), np.uint8)
    assert np.isnan(traces(small)).all()
    arms = table(original=[small], made=[small])
    assert separations(arms, ("original",))["made"] == dict.fromkeys(
        ("comb", "comb_at_equal_sharpness", "blockiness"), None
    )
    assert FormatTrap().score(arms, CTX) == {}
    assert traces(np.zeros((32, 32, 3), np.uint8))[0] == 0


def test_auroc():
    truth = np.array([False, False, True, True])
    assert auroc(truth, np.array([1.0, 2.0, 2.0, 3.0])) == 0.875  # a tie counts half
    assert auroc(truth, np.array([4.0, 3.0, 2.0, 1.0])) == 0
    assert auroc(np.ones(3, bool), np.arange(3.0)) is None


def test_what_is_left_at_equal_sharpness_has_no_trend():
    rng = np.random.default_rng(2)
    zeros = rng.uniform(0.2, 0.8, 200)
    comb = 0.3 * zeros * (1 - zeros) + rng.normal(0, 0.01, 200)
    assert abs(np.corrcoef(at_equal(comb, zeros), zeros)[0, 1]) < 0.05
    assert np.array_equal(at_equal(comb[:3], zeros[:3]), comb[:3])


def test_few_pictures_differ_by_chance(photographs):
    """Two standard errors of the AUROC, as simulated; a real trap is found in few pictures too."""
    rng = np.random.default_rng(4)
    ours, theirs = rng.normal(size=(4000, 8, 1)), rng.normal(size=(4000, 1, 8))
    spread = np.std((ours > theirs).mean(axis=(1, 2)))
    assert by_chance(8, 8) == pytest.approx(2 * spread, rel=0.05)
    assert by_chance(100, 100) < 0.1 < by_chance(60, 60)
    assert by_chance(0, 5) == 0.5
    few = photographs[::3]
    jpegs = [as_jpeg(image, 90) for image in few]
    with pytest.raises(RecipeError, match="tells 'made'"):
        FormatTrap().score(table(original=jpegs, made=noised(few)), CTX)
