from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage
from PIL import Image

from variorum.arrays import arrow_column
from variorum.curation.quality import (
    CHECKS,
    Quality,
    acutance,
    fence_excess,
    halvings,
    measures_of,
    sampling_grid,
    sharpness,
)
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

# Computed by cleanvision 0.3.7 (calc_aspect_ratio, calc_percentile_brightness at 99 and 5, a tenth of calc_entropy,
# BlurrinessProperty) on scikit-image's files opened by Pillow 13.0.0: aspect, p99, p5, entropy, edges, histogram's
# deviation, blur score.
CLEANVISION = {
    "astronaut.png": (1.0000, 0.9736, 0.0000, 0.8957, 80.925, 25.448, 0.7795),
    "chelsea.png": (0.6652, 0.7062, 0.2495, 0.8642, 56.314, 13.197, 0.4306),
    "coffee.png": (0.6667, 0.9411, 0.0676, 0.8971, 68.049, 7.812, 0.4936),
    "rocket.jpg": (0.6672, 0.7522, 0.1044, 0.8323, 39.781, 16.239, 0.3282),
    "motorcycle_left.png": (0.6748, 0.8991, 0.0829, 0.9316, 81.450, 7.992, 0.5571),
    "retina.jpg": (1.0000, 0.6798, 0.0040, 0.7214, 43.389, 48.062, 0.7336),
    "camera.png": (1.0000, 0.9020, 0.0471, 0.7232, 64.986, 21.151, 0.6685),
    "moon.png": (1.0000, 0.5529, 0.3765, 0.4885, 33.421, 55.697, 0.7112),
    "text.png": (0.3839, 0.6196, 0.3137, 0.6134, 49.651, 12.130, 0.3913),
}
TOLERANCE = {"odd_aspect": 1e-4, "darkness": 0.01, "lightness": 0.01, "entropy": 0.003}
BLUR_TOLERANCE = {"blurriness": 0.05, "histogram_std": 0.06}  # relative
GREY = ("camera.png", "moon.png", "text.png")

CONTEXT = Context(0, None, lambda key, compute: compute())


def photograph(name):
    return np.array(Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB"))


def with_columns(table, columns):
    for name, values in columns.items():
        table = table.append_column(f"quality.{name}", arrow_column(values))
    return table


def judged(images, labels=None, **fields):
    """The detector's columns for pictures, as a table and as it returns them."""
    step = Quality(**fields)
    samples = [Sample(f"{k:032x}", image) for k, image in enumerate(images)]
    rows = list(step.measure(samples, CONTEXT))
    labels = labels or [0] * len(images)
    ids = [[f"c{label}"] if label >= 0 else [] for label in labels]
    table = pa.table({"id": [sample.id for sample in samples], "label": labels, "labels": ids})
    measured = {name: [row[name] for row in rows] for name in rows[0]}
    table = with_columns(table, measured)
    scored = step.score(Table(table, "quality"), CONTEXT)
    return with_columns(table, scored), scored, step


@pytest.mark.parametrize("name", CLEANVISION)
def test_the_numbers_are_cleanvisions(name):
    found = measures_of(photograph(name))
    aspect, p99, p5, entropy, edges, deviation, score = CLEANVISION[name]
    expected = {"odd_aspect": aspect, "darkness": p99, "lightness": p5, "entropy": entropy}
    for key, tolerance in TOLERANCE.items():
        assert found[key] == pytest.approx(expected[key], abs=tolerance), key
    assert found["blurriness"] == pytest.approx(edges, rel=BLUR_TOLERANCE["blurriness"])
    assert found["histogram_std"] == pytest.approx(deviation, rel=BLUR_TOLERANCE["histogram_std"])
    ours = sharpness(np.array([found["blurriness"]]), np.array([found["histogram_std"]]), 0.01, 0.18)
    assert ours[0] == pytest.approx(score, abs=0.02)
    assert found["greyscale"] == (name in GREY)


def test_a_picture_below_the_grid_is_counted_whole():
    image = photograph("chelsea.png")[:120, :130]
    assert sampling_grid(image) is image
    brightness = np.sqrt(image.astype(np.float64) ** 2 @ [0.241, 0.691, 0.068]) / 255
    found = measures_of(image)
    assert found["darkness"] == pytest.approx(np.percentile(brightness, 99), abs=0.002)
    assert found["lightness"] == pytest.approx(np.percentile(brightness, 5), abs=3e-4)
    assert found["entropy"] == pytest.approx(0.1 * Image.fromarray(image).entropy(), abs=1e-6)


def test_a_small_picture_is_judged_as_sharp_as_cleanvision_judges_it():
    image = photograph("coffee.png")[100:160, 200:264]
    from PIL import ImageFilter

    edges = np.asarray(Image.fromarray(image).convert("L").filter(ImageFilter.FIND_EDGES), dtype=float)
    assert measures_of(image)["blurriness"] == pytest.approx(edges.std(), rel=0.01)


FAULTS = {
    "": lambda photo: photo,
    "dark": lambda photo: (photo * 0.25).astype(np.uint8),
    "light": lambda photo: (255 - photo * 0.04).astype(np.uint8),
    "out_of_focus": lambda photo: cv2.GaussianBlur(photo, (0, 0), 3),
    "odd_aspect": lambda photo: photo[:100],
    "uniform": lambda photo: np.full_like(photo, 120),
    "low_information": lambda photo: np.where(photo[..., :1] > 140, 200, 60).astype(np.uint8).repeat(3, axis=2),
}


@pytest.mark.parametrize("issue", FAULTS)
def test_each_fault_is_found_and_named(issue):
    _, scored, _ = judged([FAULTS[issue](photograph("coffee.png"))])
    assert scored["issue"] == [issue]
    assert scored["flag"].tolist() == [issue != ""]
    assert (scored["score"][0] > 0) == (issue != "")


def test_wide_blur_is_found_by_either_measure():
    blurred = cv2.GaussianBlur(photograph("coffee.png"), (0, 0), 25)
    for checks in (("blurry",), ("out_of_focus",)):
        _, scored, _ = judged([blurred, photograph("coffee.png")], checks=checks)
        assert scored["issue"] == [*checks, ""]


@pytest.mark.parametrize("sigma", [2, 4, 8, 16])
def test_acutance_tells_blur_of_any_width(sigma):
    for name in ("astronaut.png", "chelsea.png", "rocket.jpg"):
        photo = cv2.cvtColor(photograph(name), cv2.COLOR_RGB2GRAY)
        assert acutance(halvings(cv2.GaussianBlur(photo, (0, 0), sigma))) < 0.12 < acutance(halvings(photo))
    assert acutance(halvings(np.full((64, 64), 7, np.uint8))) == 0
    assert np.isnan(acutance(halvings(np.zeros((4, 9), np.uint8))))


def test_greyscale_is_measured_but_only_a_fault_where_asked_for():
    grey = photograph("camera.png")
    table, scored, _ = judged([grey])
    assert table["quality.greyscale"].to_pylist() == [True]
    assert not scored["flag"][0]
    _, scored, _ = judged([grey], checks=(*CHECKS, "greyscale"))
    assert scored["issue"] == ["greyscale"]


def test_a_size_far_from_the_editions_is_odd():
    photo = photograph("coffee.png")
    sizes = [(200 + k, 300) for k in range(20)] + [(20, 30), (2000, 3000)]
    images = [cv2.resize(photo, (w, h), interpolation=cv2.INTER_AREA) for h, w in sizes]
    _, scored, _ = judged(images)
    assert np.flatnonzero(scored["odd_size_excess"] > 0).tolist() == [20, 21]
    assert [scored["issue"][k] for k in (20, 21)] == ["odd_size"] * 2


def test_each_check_stands_by_itself():
    blurred = FAULTS["out_of_focus"](photograph("coffee.png"))
    images = [photograph("coffee.png")] * 9 + [blurred, cv2.resize(blurred, None, fx=0.1, fy=0.1)]
    _, scored, _ = judged([*images, np.zeros((300, 40, 3), np.uint8)])
    assert (scored["out_of_focus_excess"] > 0).tolist() == [False] * 9 + [True, False, True]
    assert [check for check in CHECKS if scored[f"{check}_excess"][11] > 0] == [
        *("uniform", "dark", "low_information", "blurry", "out_of_focus", "odd_aspect", "odd_size"),
    ]
    assert scored["issue"][11] == "uniform"  # `issue` names only the worst
    _, alone, _ = judged([blurred], checks=("dark",))
    assert (alone["flag"][0], alone["out_of_focus_excess"][0] > 0) == (False, True)


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (4, 400)])
def test_a_picture_too_small_for_one_check_passes_through_the_others(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    table, scored, _ = judged([np.zeros((*shape, 3), np.uint8), noise])
    assert np.isnan(table["quality.acutance"].to_numpy()).all()
    assert np.isfinite(scored["score"]).all()
    assert scored["issue"][0] == "uniform"
    assert scored["out_of_focus_excess"].tolist() == [-1, -1]
    assert scored["flag"].tolist() == [True, shape != (4, 4)]  # one pixel is uniform, the strip has an odd shape


def test_fences_are_tukeys():
    size = np.array([10.0, 11, 12, 13, 14, 15, 40, 22.4, 22.6])
    q1, q3 = np.percentile(size, [25, 75])
    for factor in (0.5, 1.0, 3.0):
        outside = (size < q1 - factor * (q3 - q1)) | (size > q3 + factor * (q3 - q1))
        assert ((fence_excess(size, factor) > 0) == outside).all()
    assert (fence_excess(np.array([5.0, 5, 5, 5, 5, 6]), 3.0) > 0).tolist() == [False] * 5 + [True]
    assert not (fence_excess(np.full(4, 7.0), 3.0) > 0).any()


def test_thresholds_change_what_is_flagged_without_another_look():
    table, scored, _ = judged([photograph("rocket.jpg"), photograph("coffee.png")], labels=[3, 4])
    assert not scored["flag"].any()
    strict = Quality(blurry=0.4).score(Table(table, "quality"), CONTEXT)
    assert strict["issue"] == ["blurry", ""]


def test_the_figures_count_issues_and_name_the_classes_that_lose_most():
    photo = photograph("coffee.png")
    images = [photo, FAULTS["dark"](photo), FAULTS["out_of_focus"](photo), photo]
    table, _, step = judged(images, labels=[1, 1, 2, -1])
    assert step.figures(Table(table, "quality"), CONTEXT) == {
        "flagged": 2,
        "flagged_rate": 0.5,
        "issues": {"dark": 1, "out_of_focus": 1},
        "most_flagged_classes": {"c2": 1.0, "c1": 0.5},
    }


def test_an_edition_without_pictures_gives_empty_columns():
    names = ("darkness", "lightness", "entropy", "blurriness", "histogram_std", "odd_aspect", "acutance")
    columns = {f"quality.{name}": pa.array([], pa.float64()) for name in names}
    columns |= {f"quality.{name}": pa.array([], pa.int64()) for name in ("width", "height", "span")}
    empty = {"id": [], "label": pa.array([], pa.int64()), "labels": pa.array([], pa.list_(pa.string()))}
    table = pa.table({**empty, "quality.greyscale": pa.array([], pa.bool_()), **columns})
    scored = Quality().score(Table(table, "quality"), CONTEXT)
    assert all(len(values) == 0 for values in scored.values())
    issue = pa.array([], pa.string())
    table = table.append_column("quality.flag", arrow_column(scored["flag"])).append_column("quality.issue", issue)
    assert Quality().figures(Table(table, "quality"), CONTEXT)["flagged"] == 0


@pytest.mark.parametrize("shape", [(8, 8), (8, 900), (900, 8), (65, 64), (1, 300)])
def test_any_shape_is_measured(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = measures_of(image)
    tiny = min(shape) < 5
    assert {name for name, value in found.items() if not np.isfinite(value)} == ({"acutance"} if tiny else set())
    assert (found["height"], found["width"]) == shape


def test_the_whole_of_a_large_picture_decides_whether_it_is_grey():
    image = np.full((900, 900, 3), 128, np.uint8)
    image[::2] = 90
    assert measures_of(image)["greyscale"]
    grid_misses = next((y, x) for y in range(9) for x in range(9) if not (sampling_grid(mark(image, y, x)) == 7).any())
    assert not measures_of(mark(image, *grid_misses))["greyscale"]


def mark(image, y, x):
    marked = image.copy()
    marked[y, x] = (7, 200, 7)
    return marked
