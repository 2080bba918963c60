"""The parts that a page's data is made of: choice of rows, columns, thumbnails, records, map, plots."""

import hashlib
import io
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from variorum.edition.samples import encode_sample
from variorum.edition.shards import ShardWriter
from variorum.edition.store import Store
from variorum.edition.tables import keep_columns
from variorum.machine.progress import QUIET
from variorum.pixels import UndecodableImage, decode
from variorum.reports.diff import Change
from variorum.reports.page.choice import choose
from variorum.reports.page.diff_page import _chosen
from variorum.reports.page.embedding_map import embedding_map, places
from variorum.reports.page.picture_records import Entry, Place, Sizes, chunks
from variorum.reports.page.plots import as_json, leaderboard_plots
from variorum.reports.page.table import LONGEST, column, distinct, numbers, texts
from variorum.reports.page.thumbnails import NEAR, quick_thumbnail, thumbnail, thumbnail_side
from variorum.reports.results import Figures, Interval, VariantFigures
from variorum.reports.standing import Entry as Placed
from variorum.reports.standing import Leaderboard
from variorum.schemas.manifest import Ledger, ShardInfo
from variorum.schemas.outgoing import Outgoing
from variorum.schemas.plot import Bin, CurvePlot, CurvePoint, IntervalPlot, Point, RadarPlot, ReliabilityPlot
from variorum.schemas.sample import Sample

GROUPED = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.booleans()), min_size=1, max_size=60)


@given(GROUPED, st.integers(1, 60))
def test_a_choice_is_full_in_order_and_even(rows, most):
    groups, families, said = (np.array(one) for one in zip(*rows, strict=True))
    found = choose(groups, families, said.astype(bool), most)
    assert len(found) == min(most, len(rows)) == len(set(found.tolist()))
    assert (np.diff(found) > 0).all()
    assert (found == choose(groups, families, said.astype(bool), most)).all()
    if not said.any() and len(found) < len(rows):
        kept, there = (np.bincount(one, minlength=5) for one in (groups[found], groups))
        short = kept < there  # these groups aren't shown as a whole, so none of them has much less than another
        assert not short.any() or kept[short].max() - kept[short].min() <= 1


def test_pictures_of_one_photograph_are_chosen_together():
    families, variants = np.repeat(np.arange(1000), 4), np.tile(np.arange(4), 1000)
    said = np.zeros(4000, bool)
    said[[41, 402, 803]] = True
    found = choose(variants, families, said, 100)
    whole = [family for family in set(families[found].tolist()) if (families[found] == family).sum() == 4]
    assert len(whole) >= 24
    assert {10, 100, 200} <= set(whole)


def test_texts_are_coded_once_each_and_nothing_hides_in_them():
    one = texts("name", ["a", None, "", "b\x1b[31m", "a", "\u202eb", "x" * 1000])
    assert one["codes"] == [0, -1, -1, 1, 0, 2, 3]
    assert one["values"] == ["a", "b\ufffd[31m", "\ufffdb", "x" * LONGEST + "…"]
    assert distinct(["a\x00", "a\x01", "<b>", "a\ufffd"]) == ["a\ufffd", "a\ufffd (2)", "<b>", "a\ufffd (3)"]


def test_numbers_have_six_digits_and_are_json():
    assert numbers("n", [1, 0.123456789, float("nan"), float("-inf"), None])["values"] == [
        1,
        0.123457,
        None,
        None,
        None,
    ]
    assert column("f", pa.array([True, None, False]))["values"] == [1, None, 0]
    assert column("v", pa.array([[1.0], [2.0]])) is None
    many = texts("class", [f"class {i}" for i in range(1100)])
    assert len(many["values"]) == 1100
    assert many["codes"] == list(range(1100))


def encoded(size, kind, **more):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(out, kind, **more)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("size", "wanted"), [((28, 28), (28, 28)), ((1200, 900), (128, 96)), ((90, 1200), (10, 128)), ((2, 1), (2, 1))]
)
def test_a_thumbnail_fits_its_side_and_is_never_larger_than_the_picture(kind, size, wanted):
    data = encoded(size, kind)
    small = Image.open(io.BytesIO(thumbnail(data, 128)))
    assert (small.format, small.size) == ("WEBP", wanted)
    if min(wanted) > 20:
        exact = Image.open(io.BytesIO(data)).convert("RGB").resize(wanted, Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(small, int) - np.asarray(exact, int)).mean() < 12


def test_a_large_jpeg_is_read_at_a_fraction_of_its_size_and_is_upright(monkeypatch):
    exif, profile = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[0x0112] = 6
    large = {"size": (1600, 800), "kind": "JPEG", "quality": 98, "subsampling": 0}
    turned, plain, profiled = (encoded(**large, **more) for more in ({"exif": exif}, {}, {"icc_profile": profile}))
    exact = ImageOps.exif_transpose(Image.open(io.BytesIO(turned))).resize((64, 128), Image.Resampling.LANCZOS)
    thumbnails = [np.asarray(Image.open(io.BytesIO(thumbnail(one, 128))), int) for one in (turned, plain, profiled)]
    assert np.abs(thumbnails[0] - np.asarray(exact, int)).mean() < 8
    assert np.abs(thumbnails[1] - thumbnails[2]).mean() < 4
    monkeypatch.setattr("variorum.reports.page.thumbnails.decode", None)
    thumbnail(plain, 128)  # at a quarter
    for whole in (encoded((320, 200), "JPEG", quality=98, subsampling=0), profiled):
        with pytest.raises(TypeError):
            thumbnail(whole, 128)
    monkeypatch.undo()
    with pytest.raises(UndecodableImage, match="truncated"):
        thumbnail(plain[: len(plain) // 2], 128)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(28, 28), (500, 375), (333, 500), (1200, 900), (90, 1200), (2, 1), (255, 200)])
def test_a_quick_thumbnail_is_about_as_large_as_wanted(kind, size):
    data = encoded(size, kind)
    small = Image.open(io.BytesIO(quick_thumbnail(data, 256)))
    longer = max(small.size)
    assert small.format == "JPEG"
    assert min(max(size), 256 / NEAR - 1) <= longer <= min(max(size), 256 * NEAR)
    assert min(small.size) == pytest.approx(min(size) * longer / max(size), abs=1)
    if min(small.size) > 20:
        exact = Image.open(io.BytesIO(data)).convert("RGB").resize(small.size, Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(small, int) - np.asarray(exact, int)).mean() < 15


def test_a_quick_thumbnail_is_upright_and_in_srgb():
    exif, srgb = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[0x0112] = 6
    swapped = srgb.replace(b"rXYZ", b"....", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"....", b"bXYZ", 1)
    common = {"size": (500, 250), "kind": "JPEG", "quality": 95}
    plain, turned, other = (encoded(**common, **more) for more in ({}, {"exif": exif}, {"icc_profile": swapped}))
    small, upright, changed = (Image.open(io.BytesIO(quick_thumbnail(one, 256))) for one in (plain, turned, other))
    assert (small.size, upright.size) == ((250, 125), (125, 250))
    turned_back = np.asarray(upright.transpose(Image.Transpose.ROTATE_90), int)
    assert np.abs(turned_back - np.asarray(small, int)).mean() < 4
    wanted = Image.fromarray(decode(other)).resize(changed.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(changed, int) - np.asarray(wanted, int)).mean() < 8
    assert np.abs(np.asarray(changed, int) - np.asarray(small, int)).mean() > 8
    with pytest.raises(UndecodableImage, match="truncated"):
        quick_thumbnail(plain[: len(plain) // 2], 256)


def test_thumbnails_are_smaller_the_more_there_are():
    assert [thumbnail_side(number) for number in (1, 301, 1501, 10_001, 30_001)] == [320, 224, 128, 96, 64]


@pytest.fixture
def odd_shard(tmp_path):
    """A shard with a good picture, one that can't be decoded, and one with a text that would mislead."""
    entries = []
    with ShardWriter(tmp_path / "s.tar") as writer:
        for key, broken, origin in (("a", False, "a.png"), ("b", True, "b.png"), ("c", False, "\u202egnp.c\x1b\n")):
            sample = Sample(key, encoded((32, 32), "PNG"), ("x",), origin=origin, metadata={"k": [1, None]})
            members, row = encode_sample(sample, {"x": 0}, original=True)
            if broken:
                data = members["png"][:-40]
                sha256 = hashlib.sha256(data).hexdigest()
                record = {**json.loads(members["json"]), "sha256": sha256}
                members |= {"png": data, "json": json.dumps(record).encode()}
                row["sha256"] = sha256
            entries.append(
                Entry((Place(tmp_path / "s.tar", writer.write(key, members), key, row["sha256"], Outgoing()),))
            )
    return entries


def test_a_picture_that_can_t_be_decoded_costs_only_its_thumbnail(odd_shard):
    entries = [*odd_shard, Entry((None,), {"id": "d", "reason": "no_room"})] * 60
    read = list(chunks(entries, Sizes(64), QUIET))
    assert [len(chunk.records) for chunk in read] == [100, 100, 40]
    pictures = [one for chunk in read for one in chunk.pictures]
    records = [json.loads(one) for chunk in read for one in chunk.records]
    assert [bool(one) for one in pictures[:4]] == [True, False, True, False]
    assert records[1]["picture"].startswith("can't be shown: truncated")
    assert records[0]["metadata"] == {"k": [1, None]}
    assert records[0]["ops"] == []
    assert records[2]["origin"] == "\ufffdgnp.c\ufffd\n"
    assert records[3] == {"id": "d", "reason": "no_room"}


def test_before_and_after_are_two_pictures_of_a_row(odd_shard):
    a, b, c = (entry.places[0] for entry in odd_shard)
    rows = [Entry((a, a), {"x": 1}), Entry((a, None)), Entry((None, c)), Entry((b, c))]
    ((pictures, told, *_),) = chunks(rows, Sizes(64), QUIET)
    assert [bool(one) for one in pictures] == [True, True, True, False, False, True, False, True]
    assert pictures[0] is pictures[1]
    records = [json.loads(one) for one in told]
    assert [sorted(record) for record in records] == [
        ["after", "before", "x"],
        ["before"],
        ["after"],
        ["after", "before"],
    ]


def test_alike_pictures_lie_together_and_the_map_is_the_same_every_time():
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (4, 64))
    which = np.repeat(np.arange(4), 30)
    found = centres[which] + random.normal(0, 0.1, (120, 64))
    found[7] = np.nan
    plane = places(found, QUIET)
    assert plane.shape == (120, 2)
    assert np.isnan(plane[7]).all()
    assert np.isfinite(np.delete(plane, 7, 0)).all()
    assert (places(found, QUIET)[:7] == plane[:7]).all()
    kept, of = np.delete(plane, 7, 0), np.delete(which, 7)
    middles = np.array([kept[of == k].mean(0) for k in range(4)])
    nearest = ((kept[:, None] - middles[None]) ** 2).sum(-1).argmin(1)
    assert (nearest == of).mean() > 0.97


def test_pictures_beyond_the_first_are_placed_by_their_neighbours(monkeypatch):
    monkeypatch.setattr("variorum.reports.page.embedding_map.MOST", 60)
    random = np.random.default_rng(1)
    which = np.arange(200) % 2
    plane = places(random.normal(0, 1, (2, 16))[which] + random.normal(0, 0.05, (200, 16)), QUIET)
    middles = np.array([plane[which == k].mean(0) for k in range(2)])
    assert (((plane[:, None] - middles[None]) ** 2).sum(-1).argmin(1) == which).all()


@pytest.mark.parametrize("values", [np.zeros((40, 8)), np.ones((40, 8)), np.tile(np.eye(8), (5, 1))])
def test_copies_have_a_place_too(values):
    assert np.isfinite(places(values, QUIET)).all()


def test_the_map_is_of_the_ledger_s_embeddings_and_is_kept(tmp_path, own_cache, monkeypatch):
    store, random = Store(str(tmp_path / "store")), np.random.default_rng(0)
    ids = [f"{i:03}" for i in range(30)]
    infos = []
    for some in (ids[:15], ids[15:]):
        columns = {"id": some, "sha256": ["0"] * 15, "embedding": random.normal(size=(15, 8)).astype(np.float16)}
        infos.append(keep_columns("features", columns, 15, store))
    ledger = Ledger(
        edition="0" * 64, curate=[], models={}, measured={"features": infos}, scored={}, counts={}, figures={},
        verdicts=ShardInfo(sha256="0" * 64, size=1, samples=0),
    )  # fmt: skip
    wanted = [*ids[::-1], "unknown"]
    plane = embedding_map(ledger, wanted, store, QUIET)
    assert plane.shape == (31, 2)
    assert np.isnan(plane[30]).all()
    assert np.isfinite(plane[:30]).all()
    monkeypatch.setattr("variorum.reports.page.embedding_map.places", None)  # isn't computed again
    assert np.array_equal(embedding_map(ledger, wanted, store, QUIET), plane, equal_nan=True)
    assert embedding_map(ledger, wanted[:3], store, QUIET) is None
    assert embedding_map(ledger.model_copy(update={"measured": {}}), wanted, store, QUIET) is None


def test_plots_come_with_their_numbers():
    drawn = as_json(IntervalPlot("drop", "pp", ("a", "b\x07"), {"m": (None, Point(1.0, 0.5, 1.5))}))
    assert drawn.pop("svg").startswith("<svg ")
    assert drawn == {
        "kind": "evaluation",
        "title": "drop",
        "about": "drop: pp, with intervals, for m; rows: a to b\ufffd",
        "head": ["series", "row", "pp", "from", "to"],
        "rows": [["m", "b\ufffd", 1.0, 0.5, 1.5]],
    }
    assert as_json(ReliabilityPlot("calibration", {"m": (Bin(0.5, 0.25, 4),)}))["rows"] == [["m", 0.5, 0.25, 4]]
    curve = as_json(CurvePlot("found", "Q\x07", "%", {"m": (CurvePoint(0.5, 90, 80, 95),)}, 100.0))
    assert (curve["head"], curve["rows"]) == (["series", "Q\ufffd", "%", "from", "to"], [["m", 0.5, 90, 80, 95]])
    radar = as_json(RadarPlot("all", "%", 100.0, ("a", "b"), {"m": (50.0, None)}))
    assert (radar["head"], radar["rows"]) == (["series", "axis", "%"], [["m", "a", 50.0]])
    assert as_json(IntervalPlot("none", "pp", ("a",), {"m": (None,)})) is None
    assert as_json(RadarPlot("none", "%", 100.0, ("a",), {"m": (None,)})) is None
    assert as_json(CurvePlot("none", "Q", "%", {"m": ()})) is None


def test_of_a_hundred_thousand_changes_some_of_each_kind_are_shown():
    kinds = ["dropped"] * 99_000 + ["added"] * 990 + ["moved"] * 10
    changes = [Change(kind, f"{i}", "original", f"{i}.jpg", "", (), ()) for i, kind in enumerate(kinds)]
    found = _chosen(changes, 1000)
    assert len(found) == 1000
    assert {kind: sum(change.kind == kind for change in found) for kind in set(kinds)} == {
        "moved": 10, "added": 495, "dropped": 495,
    }  # fmt: skip


def test_a_leaderboard_is_plotted_by_model_and_by_variant():
    def entry(rank, drop):
        found = VariantFigures(n=30, accuracy=50.0, drop=drop)
        figures = Figures(n=30, average_drop=drop, variants={"size": found, "place": found})
        return Placed.model_construct(rank=rank, model=SimpleNamespace(name=f"m{rank}"), figures=figures)

    drops = [Interval(value=rank, low=rank - 1, high=rank + 1) for rank in range(1, 9)]
    entries = (*(entry(rank, drop) for rank, drop in enumerate(drops, 1)), entry(9, None))
    average, by_variant = leaderboard_plots(Leaderboard.model_construct(entries=entries))
    assert average["title"].endswith("9 of 9 models")
    assert average["rows"][0] == ["average drop", "1. m1", 1.0, 0.0, 2.0]
    assert average["rows"][7:] == [["average drop", "8. m8", 8.0, 7.0, 9.0]]
    shown = [(f"{k}. m{k}", variant) for k in range(1, 7) for variant in ("size", "place")]
    assert [(name, variant) for name, variant, *_ in by_variant["rows"]] == shown
    assert not list(leaderboard_plots(Leaderboard.model_construct(entries=(entry(1, None),))))
