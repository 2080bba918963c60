import io
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from variorum.reports.plots import (
    DENSITY,
    MARKERS,
    MOST_ROWS,
    MOST_SERIES,
    NARROW,
    OKABE_ITO,
    PER_INCH,
    WIDTH,
    draw,
    short,
    svg,
    told,
)
from variorum.schemas.plot import Bin, CurvePlot, CurvePoint, IntervalPlot, Point, RadarPlot, ReliabilityPlot

HOSTILE = [
    "$x_{1}$",
    "$\\frac{",
    "<svg onload=alert(1)>",
    "模型 名前 نموذج",
    "a\u202eb\x1b[2J\0",
    "long " * 500,
    "_no_legend_entry",
    "",
]
UNIT = "accuracy drop in percentage points"


def intervals(rows, names, seed=0, missing=0.1):
    rng = np.random.default_rng(seed)

    def point():
        value = rng.normal(10, 12)
        return None if rng.random() < missing else Point(value, value - rng.random() * 9, value + rng.random() * 9)

    return IntervalPlot("Drops", UNIT, tuple(rows), {name: tuple(point() for _ in rows) for name in names})


def curves(names, bins=15):
    rng = np.random.default_rng(1)
    found = {}
    for name in names:
        sure = np.sort(rng.random(bins))
        found[name] = tuple(Bin(float(x), float(x * rng.random()), int(rng.integers(1, 99))) for x in sure)
    return ReliabilityPlot("Reliability", found)


def lines(names, points=5, full=100.0):
    rng = np.random.default_rng(2)
    found = {}
    for name in names:
        at, values = np.sort(rng.random(points)), 100 * rng.random(points)
        found[name] = tuple(
            CurvePoint(float(x), float(y), float(0.8 * y), float(1.1 * y)) for x, y in zip(at, values, strict=True)
        )
    return CurvePlot("Curves", "loss of quality", "found, %", found, full)


def radar(axes, names):
    rng = np.random.default_rng(3)
    series = {name: tuple(None if rng.random() < 0.2 else float(100 * rng.random()) for _ in axes) for name in names}
    return RadarPlot("Robustness", "found, %", 100.0, tuple(axes), series)


def picture(plot):
    """The pixels of a plot, drawn without any warning, as an SVG without texts too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = ElementTree.fromstring(svg(plot))
        assert drawn.get("width") == f"{72 * NARROW / PER_INCH:g}pt"
        assert not "".join(one.text or "" for one in drawn.iter() if not one.tag.endswith("style")).strip()
        return pixels_of(plot)


def pixels_of(plot):
    return Image.open(io.BytesIO(draw(plot)))


def colours(image):
    return {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}


KINDS = {
    "intervals": lambda names: intervals(names, names),
    "reliability": curves,
    "curves": lines,
    "radar": lambda names: radar(names, names),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_hostile_names_are_drawn_as_text(make):
    assert picture(make(HOSTILE)).width == WIDTH * DENSITY


@settings(max_examples=4)
@given(st.text(max_size=60))
def test_any_text_can_be_drawn(text):
    picture(IntervalPlot(text, text, (text,), {text: (Point(1, 0, 2),)}))


def test_forty_variants_and_eight_models_are_all_there():
    names = [f"timm:a_model_with_a_name_that_is_too_long_to_be_shown.number_{k}" for k in range(MOST_SERIES)]
    image = pixels_of(intervals([f"variant_{k}" for k in range(MOST_ROWS)], names))
    assert image.height > MOST_ROWS * MOST_SERIES * 8 * DENSITY
    found = colours(image)
    for colour in OKABE_ITO:
        assert tuple(bytes.fromhex(colour[1:])) in found
    most, more = (pixels_of(intervals([str(k) for k in range(rows)], ("m",))) for rows in (MOST_ROWS, 90))
    assert most.height >= more.height  # the rest is told


def test_series_differ_in_colour_and_in_marker():
    assert len(set(OKABE_ITO)) == len(set(MARKERS)) == MOST_SERIES
    for one, other in ((a, b) for k, a in enumerate(OKABE_ITO) for b in OKABE_ITO[:k]):
        apart = [abs(x - y) for x, y in zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), strict=True)]
        assert max(apart) > 40


def test_intervals_and_the_line_at_zero_are_seen():
    plot = IntervalPlot("One", UNIT, ("only",), {"m": (Point(10, -20, 40),)})
    pixels = np.asarray(pixels_of(plot).convert("RGB")).astype(int)
    blue = (np.abs(pixels - (0, 0x72, 0xB2)).max(axis=2) < 8).any(axis=0)
    dark = (np.abs(pixels - (0x1C, 0x1E, 0x22)).max(axis=2) < 8).sum(axis=0)
    extent = np.flatnonzero(blue)
    assert extent[-1] - extent[0] > 0.7 * pixels.shape[1]  # a mark alone is 2 % wide
    line = np.flatnonzero(dark > 0.9 * 28 * DENSITY)  # as high as the row
    assert len(line)
    # zero lies a third of the way from the low end to the high one
    assert (line.mean() - extent[0]) / (extent[-1] - extent[0]) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize(
    "plot",
    [
        IntervalPlot("None", UNIT, (), {}),
        IntervalPlot("None", UNIT, ("a",), {"m": (None,)}),
        IntervalPlot("Flat", UNIT, ("a",), {"m": (Point(0, 0, 0),)}),
        ReliabilityPlot("None", {}),
        ReliabilityPlot("None", {"m": ()}),
        ReliabilityPlot("One", {"m": (Bin(1, 1, 1),)}),
        CurvePlot("None", "x", "y", {}),
        CurvePlot("None", "x", "y", {"m": ()}),
        CurvePlot("One", "x", "y", {"m": (CurvePoint(1, 2, 2, 2),)}),
        RadarPlot("None", "y", 100.0, (), {}),
        RadarPlot("None", "y", 100.0, ("a", "b", "c"), {"m": (None, None, None)}),
        RadarPlot("One", "y", 1.0, ("a",), {"m": (0.5,)}),
    ],
)
def test_little_to_show_is_no_error(plot):
    picture(plot)
    assert told(plot)


def test_bytes_are_always_the_same_whatever_matplotlib_is_set_to(monkeypatch):
    import matplotlib as mpl

    plot = intervals(("a", "b"), ("m", "$n"))
    first, narrow = draw(plot), svg(plot)
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "black")
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    assert (draw(plot), svg(plot)) == (first, narrow)
    assert mpl.rcParams["font.size"] == 30.0
    info = Image.open(io.BytesIO(first)).info
    assert set(info) == {"dpi"}  # no date, no software


def test_long_names_lose_their_middle():
    assert short("timm:vit_base.augreg_in1k", 40) == "timm:vit_base.augreg_in1k"
    said = short("timm:vit_base_patch16_clip_224.openai_ft_in12k_in1k", 24)
    assert len(said) == 24
    assert said.startswith("timm:vit_bas")
    assert said.endswith("12k_in1k")
    assert short("模b", 9) == "\ufffdb"


def test_alternative_texts_name_what_is_shown():
    assert (
        told(intervals(("size", "blur"), ("a", "b"))) == f"Drops: {UNIT}, with intervals, for a; b; rows: size to blur"
    )
    many = told(curves([f"m{k}" for k in range(12)]))
    assert "m7 and 4 more" in many
    assert "m8" not in many


def coloured(image, colour):
    """Where a picture has this colour, `[N, 2]`."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return np.argwhere(np.abs(pixels - tuple(bytes.fromhex(colour[1:]))).max(axis=2) < 8)


def test_a_radar_reaches_as_far_as_its_values():
    def extent(value):
        plot = RadarPlot("R", "%", 100.0, tuple("abcd"), {"m": (value,) * 4})
        places = coloured(pixels_of(plot), OKABE_ITO[0])
        return np.ptp(places[places[:, 1] < 0.7 * WIDTH * DENSITY][:, 0])  # the legend is at the right

    ring = extent(100)
    assert extent(50) == pytest.approx(ring / 2, rel=0.1)
    assert extent(400) == ring  # what is beyond the outer ring lies on it


def test_a_gap_in_a_radar_is_a_gap():
    whole, gap = (
        len(coloured(pixels_of(RadarPlot("R", "%", 100.0, tuple("abcd"), {"m": values})), OKABE_ITO[0]))
        for values in ((80, 80, 80, 80), (80, None, 80, 80))
    )
    assert gap < 0.7 * whole


def test_a_long_curve_has_few_markers_and_its_axis_can_be_fixed():
    short_one, long_one = (pixels_of(lines(("m",), points)) for points in (10, 40))
    assert short_one.size == long_one.size
    high = CurvePlot("C", "x", "y", {"m": (CurvePoint(0, 40, 40, 40), CurvePoint(1, 40, 40, 40))})
    free, fixed = coloured(pixels_of(high), OKABE_ITO[0]), coloured(pixels_of(replace(high, full=100.0)), OKABE_ITO[0])
    assert fixed[:, 0].mean() > free[:, 0].mean()  # 40 of 100 lies below the middle


def test_alternative_texts_of_curves_and_radars():
    assert (
        told(radar(("jpeg", "blur"), ("m",)))
        == "Robustness: found, % from 0 at the centre to 100, for m; axes: jpeg; blur"
    )
    assert "with intervals, one line each for m" in told(lines(("m",)))
    sure = CurvePlot("C", "x", "y", {"m": (CurvePoint(0, 1, 1, 1),)})
    assert told(sure) == "C: y against x, one line each for m"
