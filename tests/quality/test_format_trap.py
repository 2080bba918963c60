"""Sets whose arms differ in compression are refused; sets that are compressed alike aren't."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.curation.quality.format_trap import COLUMNS, LEAST, FormatTrap, at_equal, separations, traces
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
        found += [small[y : y + 96, x : x + 96] for y in range(0, 100, 25) for x in (5, 50, 95, 140, 180)]
    return [one for one in found if one.shape == (96, 96, 3)]


def table(**arms) -> Table:
    rows = [
        {"variant": arm, "photograph": str(place), "id": f"{arm} {place}", **traces(image)}
        for arm, images in arms.items()
        for place, image in enumerate(images)
    ]
    return Table(
        pa.table({f"format_trap.{one}" if one in COLUMNS else one: [row[one] for row in rows] for one in rows[0]}),
        "format_trap",
    )


def noised(images):
    rng = np.random.default_rng(0)
    return [np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8) for image in images]


def jpegs(images, quality=90):
    return [as_jpeg(image, quality) for image in images]


def shrunk(images):
    return [cv2.resize(image, (84, 84), interpolation=cv2.INTER_AREA) for image in images]


def test_jpegs_against_pictures_that_never_were_ones(photographs):
    arms = table(original=jpegs(photographs), made=noised(photographs))
    with pytest.raises(RecipeError, match=r"comb of a JPEG's grid tells 'made' from the real pictures \(AUROC 0\.2"):
        FormatTrap().score(arms, CTX)
    assert FormatTrap(real=("original", "made")).score(arms, CTX) == {}


def test_another_quality(photographs):
    with pytest.raises(RecipeError, match="tells 'finer'"):
        FormatTrap().score(table(original=jpegs(photographs), finer=jpegs(photographs, 97)), CTX)


def test_compressed_alike(photographs):
    arms = table(original=jpegs(shrunk(jpegs(photographs))), made=jpegs(shrunk(noised(photographs))))
    assert FormatTrap().score(arms, CTX) == {}
    assert FormatTrap().figures(arms, CTX).keys() == {"made: comb", "made: blockiness"}


def test_what_smooths_is_no_trap(photographs):
    """It changes how many coefficients are 0, on the grid and off it."""
    small = [cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for image in photographs]
    enlarged = [cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC) for image in small]
    blurred = [cv2.GaussianBlur(image, (0, 0), 0.8) for image in photographs]
    assert FormatTrap().score(table(original=jpegs(photographs), a=jpegs(enlarged), b=jpegs(blurred)), CTX) == {}


def test_few_photographs_only_warn(photographs):
    few = photographs[:: len(photographs) // 24]
    arms = table(original=jpegs(few), made=noised(few))
    assert len(few) < LEAST
    assert FormatTrap().score(arms, CTX) == {}
    (warning, *_) = FormatTrap().figures(arms, CTX)["findings"]
    assert f"{len(few)} photographs are too few to refuse the set" in warning
    assert FormatTrap(tolerance=0.5).figures(arms, CTX).get("findings") is None


def test_tiny_pictures_tell_nothing():
    small = np.zeros((20, 20, 3), np.uint8)
    assert np.isnan(list(traces(small).values())).all()
    arms = table(original=[small], made=[small])
    assert separations(arms, ("original",), 0) == {"made": (0, {})}
    assert FormatTrap().score(arms, CTX) == {}
    assert traces(np.zeros((32, 32, 3), np.uint8))["comb"] == 0


def test_what_is_left_at_equal_sharpness_has_no_trend():
    rng = np.random.default_rng(2)
    zeros = rng.uniform(0.2, 0.8, (200, 1))
    comb = 0.3 * zeros[:, 0] * (1 - zeros[:, 0]) + rng.normal(0, 0.01, 200)
    left = at_equal(comb, np.column_stack([zeros, np.ones(200)]))
    assert abs(np.corrcoef(left, zeros[:, 0])[0, 1]) < 0.05
    assert left.std() == pytest.approx(0.01, rel=0.15)
