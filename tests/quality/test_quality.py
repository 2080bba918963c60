from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from variorum.arrays import arrow_column
from variorum.curation.quality.measures import acutance, halvings, measures_of, sampling_grid
from variorum.curation.quality.outlying import LEAST, relative
from variorum.curation.quality.quality import CHECKS, Quality, fence_excess, sharpness
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
        "by_check": {"dark": {"beyond": 0.25, "flagged": 1}, "out_of_focus": {"beyond": 0.25, "flagged": 1}},
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


ORDINARY = {"darkness": 0.9, "lightness": 0.1, "entropy": 0.8, "blurriness": 80.0, "histogram_std": 10.0} | {
    **{"odd_aspect": 0.75, "acutance": 0.9, "width": 400, "height": 300, "span": 250, "greyscale": False}
}
FAULTY = {  # column, values beyond the threshold, and one that is far worse
    "dark": ("darkness", np.linspace(0.2, 0.3, 40), 0.02),
    "light": ("lightness", 1 - np.linspace(0.03, 0.045, 40), 0.995),
    "low_information": ("entropy", np.linspace(0.25, 0.29, 40), 0.02),
    "blurry": ("blurriness", np.linspace(20.0, 30.0, 40), 2.0),
    "out_of_focus": ("acutance", np.linspace(0.07, 0.11, 40), 0.02),
    "odd_aspect": ("odd_aspect", np.linspace(0.2, 0.34, 40), 0.04),
    "odd_size": ("width", np.full(40, 410), 40_000),
}


def edition(number, **columns):
    """A table of ordinary measurements, with the given values in its first rows."""
    ids, labels = [f"{k:032x}" for k in range(number)], [["c"]] * number
    table = pa.table({"id": ids, "label": [0] * number, "labels": labels})
    filled = {}
    for name, value in ORDINARY.items():
        filled[name] = np.full(number, value)
        given = np.asarray(columns.get(name, ()))
        filled[name][: len(given)] = given
    return with_columns(table, filled)


def scores_of(table, **fields):
    """The detector's columns and its figures."""
    step = Quality(**fields)
    scored = step.score(Table(table, "quality"), CONTEXT)
    return scored, step.figures(Table(with_columns(table, scored), "quality"), CONTEXT)


@pytest.mark.parametrize("check", FAULTY)
def test_a_check_that_finds_too_much_flags_only_what_stands_out(check):
    column, values, worse = FAULTY[check]
    scored, figures = scores_of(edition(90, **{column: [*values[:20], worse]}))
    assert (scored[f"{check}_excess"] > 0).sum() == 21
    assert np.flatnonzero(scored[f"{check}_flag"]).tolist() == [20]
    assert np.flatnonzero(scored["flag"]).tolist() == [20]
    assert (scored["score"] > 0).tolist() == scored["flag"].tolist()
    assert scored["issue"][20] == check
    assert figures["by_check"][check] == {"beyond": round(21 / 90, 4), "flagged": 1}
    (said,) = figures["findings"]
    assert said.startswith("21 of 90 pictures are ")
    assert said.endswith(" than the others is flagged.")


@pytest.mark.parametrize("check", FAULTY)
def test_few_faults_are_judged_as_before(check):
    column, values, worse = FAULTY[check]
    table = edition(110, **{column: [*values[:10], worse]})
    scored, figures = scores_of(table)
    assert np.flatnonzero(scored[f"{check}_flag"]).tolist() == list(range(11))
    before, _ = scores_of(table, fault_share=1)
    assert all(np.array_equal(scored[name], before[name]) for name in scored)
    assert "findings" not in figures


def test_in_a_small_folder_each_picture_is_a_fault():
    for number, faults, flagged in ((20, 3, 3), (20, 10, 10), (20, 11, 0), (110, 11, 11), (110, 12, 0)):
        scored, _ = scores_of(edition(number, darkness=np.linspace(0.2, 0.3, faults)))
        assert scored["dark_flag"].sum() == flagged


def test_the_findings_are_sentences():
    many = np.linspace(0.07, 0.11, 1200)
    _, figures = scores_of(edition(1300, acutance=[*many, 0.02, 0.021]))
    assert figures["findings"] == [
        "1,202 of 1,300 pictures are soft, blurred or enlarged. This is a property of the dataset and not a fault of "
        "each picture: only 2 that are much softer than the others are flagged."
    ]
    _, figures = scores_of(edition(40, darkness=np.linspace(0.2, 0.3, 30)))
    assert figures["findings"] == [
        "30 of 40 pictures are dark. This is a property of the dataset and not a fault of each picture: none is much "
        "darker than the others, so none is flagged."
    ]
    assert figures["flagged"] == 0
    _, figures = scores_of(edition(40, acutance=np.full(30, 0.024)))
    assert figures["findings"][0].endswith(
        "none is flagged, because a picture that is much softer could not be told from the others."
    )
    assert scores_of(edition(40, acutance=np.full(30, 0.024)), checks=("dark",))[1].get("findings") is None


def test_a_picture_that_shows_nothing_is_a_fault_however_many_there_are():
    scored, figures = scores_of(edition(40, span=np.zeros(30, int)))
    assert scored["uniform_flag"].sum() == 30
    assert figures["issues"] == {"uniform": 30}
    assert figures["findings"] == [
        "30 of 40 pictures are of one flat colour. Each is flagged, because it shows nothing. So many often come from "
        "an error in reading or exporting."
    ]


def test_two_kinds_of_soft_pictures_are_no_faults():
    """The softer kind stands out among all, but is too common itself."""
    soft = [*np.linspace(0.09, 0.11, 60), *np.linspace(0.019, 0.022, 30)]
    scored, figures = scores_of(edition(100, acutance=[*soft]))
    assert not scored["flag"].any()
    assert "could not be told" in figures["findings"][0]


def test_a_blurred_picture_is_compared_with_the_soft_ones():
    """Two checks look at sharpness: if one describes the dataset, the other doesn't find a tenth of it at fault."""
    acutance = np.linspace(0.07, 0.11, 30)
    blurriness = [*np.linspace(25.0, 30.0, 4), 2.0, *np.linspace(40.0, 60.0, 25)]
    scored, figures = scores_of(edition(60, acutance=acutance, blurriness=blurriness))
    assert np.flatnonzero(scored["blurry_excess"] > 0).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(scored["blurry_flag"]).tolist() == [4]
    assert len(figures["findings"]) == 1
    scored, _ = scores_of(edition(60, acutance=acutance[:9], blurriness=blurriness))
    assert np.flatnonzero(scored["blurry_flag"]).tolist() == [0, 1, 2, 3, 4]


def test_enlarged_pictures_are_not_flagged_but_a_blurred_one_among_them_is():
    photo = photograph("astronaut.png")
    crops = [photo[y : y + 80, x : x + 80] for y in range(0, 240, 80) for x in range(0, 480, 80)]
    images = [cv2.resize(crop, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for crop in crops]
    images[0] = cv2.GaussianBlur(images[0], (0, 0), 9)
    table, scored, step = judged(images)
    assert (scored["out_of_focus_excess"] > 0).sum() > 0.7 * len(images)
    assert np.flatnonzero(scored["out_of_focus_flag"]).tolist() == [0]
    assert len(step.figures(Table(table, "quality"), CONTEXT)["findings"]) == 1


VALUES = arrays(np.float64, st.integers(0, 60), elements=st.floats(1e-3, 1))


@given(VALUES, st.floats(0, 1), st.randoms(use_true_random=False))
def test_flags_are_few_lie_beyond_the_threshold_and_ignore_the_order(values, share, random):
    excess, badness = 0.6 - values, -np.log(values)
    found = relative(excess, badness, share)
    most = max(share * len(values), LEAST)
    assert not (found.flag & (excess <= 0)).any()
    assert found.flag.sum() <= most
    assert found.common == (found.beyond > most)
    if not found.common:
        assert (found.flag == (excess > 0)).all()
    elif found.flag.any():
        unflagged = (excess > 0) & ~found.flag
        assert badness[found.flag].min() > np.median(badness[unflagged]) + np.log(2) - 1e-12
    order = random.sample(range(len(values)), len(values))
    assert (relative(excess[order], badness[order], share).flag == found.flag[order]).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_flag_score_and_issue_follow_the_checks(seed, number):
    rng = np.random.default_rng(seed)
    columns = {name: rng.uniform(0, 1, number) for name in ("darkness", "lightness", "entropy", "odd_aspect")}
    columns |= {"acutance": rng.uniform(0, 0.3, number), "blurriness": rng.uniform(0, 90, number)}
    columns |= {"span": rng.integers(0, 9, number), "width": rng.integers(1, 900, number)}
    table = edition(number, **columns)
    scored, _ = scores_of(table)
    flagged = np.array([scored[f"{check}_flag"] for check in CHECKS]).any(axis=0)
    assert (scored["flag"] == flagged).all()
    assert ((scored["score"] > 0) == flagged).all()
    assert [issue != "" for issue in scored["issue"]] == flagged.tolist()
    assert all(scored[f"{issue}_flag"][row] for row, issue in enumerate(scored["issue"]) if issue)
    order = rng.permutation(number)
    again, _ = scores_of(table.take(order))
    assert all(np.array_equal(np.array(again[name]), np.array(scored[name])[order]) for name in scored)
