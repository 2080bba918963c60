"""An edition in Python: its table, its pictures, what notebooks show."""

from __future__ import annotations

import base64
import io
import pickle
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from small_store import one_line, snapshot

import variorum as va
from variorum.edition import read_at as pictures
from variorum.edition.columns import EDITION_COLUMNS, JUDGED, NEW
from variorum.edition.shards import read_shard
from variorum.pixels import decode
from variorum.schemas.errors import CorruptShard, StoreError

HOSTILE = "<img src=x onerror=alert(1)>"
GENERATOR = f"""
from variorum.schemas.component import Generator

class Odd(Generator):
    def edit(self, sample, of):
        reason = "</td><script>" if "0" in sample.origin else ""
        yield of.made(sample.image, variant={HOSTILE!r}, requested={{}}, reason=reason)
"""


@pytest.fixture
def mine(shared):
    return va.open("mine")


@pytest.fixture
def own(here):
    """The same in a folder of the test's own."""
    return va.open("mine")


@pytest.fixture
def shapes(shared):
    return va.open("shapes@1.0.0")


def said(call) -> str:
    """The one line of the error that a call ends in."""
    with pytest.raises(va.errors.VariorumError) as error:
        call()
    assert one_line(str(error.value))
    return str(error.value)


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edition_is_found_by_name_by_version_and_by_its_folder(shared):
    newest, base = va.open("mine"), va.open("mine@1.0.0")
    assert (newest.name, base.name) == ("mine@1.0.0-r1", "mine@1.0.0")
    for place in (newest.path, str(newest.path) + "/", "store/editions/mine/1.0.0-r1", newest.url):
        assert va.open(place, store="not looked at").digest == newest.digest
    assert newest.base().digest == base.digest
    assert base.base() is base
    assert [one.name for one in newest.releases()] == [one.name for one in base.releases()] == ["mine@1.0.0-r1"]
    assert va.open("mine", Path("store")).digest == newest.digest


@pytest.mark.parametrize(
    ("name", "store", "says"),
    [
        ("mine", "stroe", r"store .*/stroe: doesn't exist; did you mean .*/store\?"),
        ("mien", "store", "did you mean mine?"),
        ("shapes@1.2.0", "store", r"did you mean shapes@1\.[01]\.0\?"),
        ("store/editions/mine", "store", "no edition's folder"),
        ("store/editions/mine/9.9.9", "", "no edition 'mine@9.9.9'"),
        ("nowhere/editions/mine/1.0.0", "store", "store .*nowhere: doesn't exist"),
        (" ", "store", "needs a name"),
        ("mine", "", "needs a folder or a URL"),
        (7, "store", "not by int"),
        ("mine", 7, "not int"),
        (b"mine", "store", "not by bytes"),
        ("../mine@1.0.0", "store", "no edition's folder"),
    ],
)
def test_what_cannot_be_opened(shared, name, store, says):
    assert re.search(says, said(lambda: va.open(name, store)))


def test_reading_writes_nothing(here):
    before = snapshot(here)
    edition = va.open("mine")
    edition.table(ledger=True)
    assert len(list(edition)) == len(edition)
    edition.show()
    assert edition._repr_html_()
    assert va.verify(edition) == []
    assert len(va.diff(edition.base(), edition)) == 2
    assert edition.figures
    assert snapshot(here) == before


# ── numbers and the table ────────────────────────────────────────────────────────────────────────────────────────────


def test_numbers(mine, shapes):
    assert len(mine) == 23
    assert mine.counts["negative"] == {"accepted": 11, "quarantined": 0, "ineligible": 0, "failed": 0, "dropped": 1}
    assert mine.variants == ["original", "negative"]
    assert mine.classes == dict.fromkeys(("astronaut", "chelsea", "coffee")) | {name: name for name in mine.classes}
    assert shapes.splits == {"train": 6, "validation": 3, "test": 3}
    assert mine.figures["brightness"].keys() == {"original", "negative"}
    assert mine.card.startswith("---\n")
    assert repr(mine) == f"<Edition mine@1.0.0-r1: 23 pictures, digest {mine.digest[:16]}>"


def test_the_table_has_every_row_and_column(mine):
    table = mine.table()
    assert table.column_names == [*EDITION_COLUMNS, *NEW, *JUDGED, "gate.blank"]
    assert len(table) == 24
    assert sorted(set(table["status"].to_pylist())) == ["accepted", "dropped"]
    frame = table.to_pandas()
    assert frame.groupby("variant").size().to_dict() == {"negative": 12, "original": 12}
    assert mine.base().table().column_names == [*EDITION_COLUMNS, *NEW, "gate.blank"]


def test_columns_by_name_in_the_order_asked_for(mine):
    table = mine.table(["variant", "gate.blank", "id", "action"])
    assert table.column_names == ["variant", "gate.blank", "id", "action"]
    assert table.equals(mine.table().select(table.column_names))
    assert mine.table("id").column_names == ["id"]


def test_columns_of_detectors_are_those_of_their_pictures(mine):
    table = mine.table(["id", "status", "bright.mean", "bright.rank"], ledger=True)
    means = {sample.id: sample.image.mean() for sample in mine.base()}
    assert dict(zip(table["id"].to_pylist(), table["bright.mean"].to_pylist(), strict=True)) == pytest.approx(means)
    assert sorted(table["bright.rank"].to_pylist()) == list(range(24))
    assert table.equals(mine.base().table(table.column_names, ledger=1).set_column(1, "status", table["status"]))
    whole = mine.table(ledger=True)
    assert "bright.channels" not in whole.column_names  # a vector
    assert whole["bright.mean"].equals(table["bright.mean"])


def test_verdicts_of_the_base_are_those_of_its_release(mine):
    columns = ["id", *JUDGED]
    by_id = {row["id"]: row for row in mine.table(columns).to_pylist()}
    found = mine.base().table(columns)
    assert {row["id"]: row for row in found.to_pylist()} == by_id
    assert {"drop", "relabel", None} <= set(found["action"].to_pylist())
    whole = mine.base().table(ledger=1)
    assert whole["action"].equals(found["action"])
    assert whole.column_names == mine.table(ledger=True).column_names


def test_a_wrong_column_or_ledger(mine, shapes):
    wide = said(lambda: mine.table(["quality"], ledger=True))
    assert "more" in wide
    assert len(wide) < 500
    assert "did you mean action?" in said(lambda: mine.base().table(["actoin"]))
    assert "has no ledger yet" in said(lambda: shapes.table(["action"]))
    assert "no column 'vriant' (did you mean variant?)" in said(lambda: mine.table(["vriant"]))
    assert "need ledger=True" in said(lambda: mine.table(["bright.mean"]))
    assert "did you mean bright.mean?" in said(lambda: mine.table(["bright.maen"], ledger=True))
    assert "isn't a name" in said(lambda: mine.table([3]))
    assert "has no ledger yet" in said(lambda: shapes.table(ledger=True))
    assert "has no ledger 4" in said(lambda: mine.table(ledger=4))


def test_many_units_come_in_order(mine):
    ids = [key for info in mine.base().manifest.shards["test"] for key, _ in read_shard(mine.store.path(info))]
    assert mine.base().table(["id"])["id"].to_pylist() == ids
    assert [sample.id for sample in mine.base()] == ids


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pictures_are_decoded(mine, shared):
    table = mine.table(["id", "labels", "variant"]).to_pylist()
    labels = {row["id"]: tuple(row["labels"]) for row in table}
    for sample in mine:
        assert sample.image.dtype == np.uint8
        assert sample.image.shape == (64, 96, 3)
        assert sample.labels == labels[sample.id]
    first = next(iter(mine.samples(variant="original")))
    np.testing.assert_array_equal(first.image, decode((shared / "photos" / first.origin).read_bytes()))


def test_choices_agree_with_the_table(shapes):
    table = shapes.table().to_pylist()
    for choice, fits in (
        ({"split": "test"}, lambda row: row["split"] == "test"),
        ({"split": ["test", "train"]}, lambda row: row["split"] in ("test", "train")),
        ({"label": "circle"}, lambda row: "circle" in row["labels"]),
        ({"label": "a circle | <b>"}, lambda row: "circle" in row["labels"]),
        ({"label": "square"}, lambda row: "square" in row["labels"]),
        ({"variant": "original", "split": "train"}, lambda row: row["split"] == "train"),
        ({"where": lambda row: row["objects"] == 2}, lambda row: row["objects"] == 2),
        (
            {"where": lambda row: row["objects"] == 2, "split": "train"},
            lambda row: (row["objects"], row["split"]) == (2, "train"),
        ),
        ({"variant": []}, lambda row: False),
    ):
        found = [sample.id for sample in shapes.samples(**choice)]
        assert found == [row["id"] for row in table if fits(row)], choice
    assert {one.annotations.objects[0].label for one in shapes.samples(label="circle")} == {"circle"}


def test_configurations_and_the_quarantine(here):
    (here / "odd.py").write_text(GENERATOR)
    made = va.run(
        dataset="odd",
        version="1.0.0",
        configs="variant",
        source={"name": "image_folder", "path": "photos"},
        generate=[{"name": "odd.py"}],
        progress=False,
    )
    held = list(made.samples(status="quarantined"))
    assert {sample.reason for sample in held} == {"</td><script>"}
    assert len(held) == 3
    assert {sample.reason for sample in made} == {""}
    assert held[0].id in made
    assert made[held[0].id].reason
    (config,) = made.configs
    assert len(list(made.samples(config=config))) == 9
    assert "no config 'none'" in said(lambda: made.samples(config="none"))
    assert "3 quarantined" in repr(made)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"variant": "orignal"}, "did you mean original"),
        ({"split": "val"}, "no split 'val'"),
        ({"label": "triangle"}, "no label 'triangle'"),
        ({"label": 3}, "no label 3"),
        ({"status": "failed"}, "accepted or quarantined"),
        ({"where": "row"}, "must be a function"),
    ],
)
def test_choices_that_the_edition_lacks(shapes, choice, says):
    assert says in said(lambda: shapes.samples(**choice))


def test_only_what_is_asked_for_is_read(own, monkeypatch):
    read = []
    real = pictures.sample_at
    monkeypatch.setattr(pictures, "sample_at", lambda path, start: read.append((path, start)) or real(path, start))
    stream = own.samples(label="coffee", variant="original")
    assert read == []
    next(stream)
    assert len(read) == 1
    list(stream)
    assert len(read) == 3  # one of the four has become a cat
    assert len({path for path, _ in read}) == 1
    keep = read[0][0]
    for shard in keep.parent.glob("*.tar"):
        if shard != keep:
            shard.unlink()
    assert len(list(own.samples(label="coffee", variant="original"))) == 3
    with pytest.raises(CorruptShard, match="no file"):
        list(own.samples(label="astronaut"))


def test_one_picture_by_id_by_beginning_and_by_position(mine):
    every = list(mine)
    for place in (0, 5, -1, -23):
        assert mine[place].id == every[place].id
    assert mine[np.int64(3)].id == every[3].id
    some = every[7]
    assert mine[some.id].origin == mine[some.id[:10]].origin == some.origin
    assert some.id in mine
    assert "f" * 32 not in mine
    assert 3 not in mine
    (dropped,) = [row for row in mine.table().to_pylist() if row["status"] == "dropped"]
    assert dropped["id"] not in mine
    assert "dropped: too_bright" in said(lambda: mine[dropped["id"]])
    assert "at least 6 digits" in said(lambda: mine[some.id[:5]])
    assert "begins with 'ffffffff'" in said(lambda: mine["f" * 8])
    assert "has no picture 23" in said(lambda: mine[23])
    with pytest.raises(TypeError, match="not float"):
        mine[1.5]


def test_a_beginning_of_several_ids_names_them(mine, monkeypatch):
    ids = ["abcdef" + "0" * 26, "abcdef" + "1" * 26, "b" * 32]
    from variorum.api.select import find_id

    column = pa.chunked_array([ids])
    assert find_id("abcdef0", column, "x") == 0
    with pytest.raises(StoreError, match="2 pictures with an id that begins with 'abcdef': abcdef0"):
        find_id("abcdef", column, "x")


def test_a_damaged_picture_is_an_error_and_no_picture(own):
    shard = own.store.path(own.manifest.shards["test"][0])
    copy = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(copy[:3000] + bytes(9000) + copy[12000:])
    assert one_line(said(lambda: list(own)))
    assert "<table>" in own._repr_html_()


def test_it_can_be_sent_to_another_process(mine):
    other = pickle.loads(pickle.dumps(mine))
    assert other.digest == mine.digest
    assert (other[4].image == mine[4].image).all()


# ── to look at ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Tags(HTMLParser):
    """Names of all tags, and what attributes refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.sources, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.words.append(data)


def test_text_of_the_data_is_no_markup_in_a_notebook(here):
    (here / "odd.py").write_text(GENERATOR)
    made = va.run(
        dataset="odd",
        version="1.0.0",
        source={"name": "image_folder", "path": "photos"},
        generate=[{"name": "odd.py"}],
        progress=False,
    )
    page = Tags(made._repr_html_())
    assert set(page.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td", "img"}
    assert HOSTILE in page.words
    assert "</td><script> 3" in page.words
    (source,) = page.sources
    assert Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,")))).size[0] > 100
    changes = va.diff("shapes@1.0.0", "shapes@1.1.0")
    assert set(Tags(changes._repr_html_()).tags) <= set(page.tags)


def test_the_contact_sheet_can_be_seen_and_saved(own, here):
    sheet = own.show(rows=2)
    assert sheet.png.startswith(b"\x89PNG")
    assert sheet._repr_jpeg_().startswith(b"\xff\xd8")
    assert len(sheet.jpeg) < len(sheet.png)
    assert sheet.image.size[1] < own.show().image.size[1]
    assert sheet.save(here / "sheet.png").read_bytes() == sheet.png
    sheet.save("sheet.jpg")
    with Image.open("sheet.jpg") as saved:
        assert saved.size == sheet.image.size
    assert "contact sheet of mine@1.0.0-r1" in repr(sheet)
    assert "can't be written" in said(lambda: sheet.save("nowhere/sheet.png"))
    assert "unknown picture format" in said(lambda: sheet.save("sheet.xyz"))
    assert "rows: must be a whole number of at least 1" in said(lambda: own.show(rows=0))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_datasets_loads_it(mine, shapes, monkeypatch, tmp_path):
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    assert len(mine.dataset("test")) == 23
    assert {name: len(rows) for name, rows in shapes.dataset().items()} == shapes.splits
    stream = shapes.dataset("train", streaming=True)
    assert sorted(row["json"]["id"] for row in stream) == sorted(one.id for one in shapes.samples(split="train"))
    assert "no split 'train'" in said(lambda: mine.dataset("train"))
    assert "no configuration 'day'" in said(lambda: mine.dataset(config="day"))


# ── editions of format 3 ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edition_of_format_3(tmp_path):
    import tarfile

    with tarfile.open(Path(__file__).parents[1] / "edition" / "format3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    store = str(tmp_path / "store")
    old, released = va.open("old@1.0.0", store), va.open("old", store)
    assert old.manifest.format == 3
    assert released.base().digest == old.digest
    table = old.table()
    assert table.column_names[: len(EDITION_COLUMNS) + len(NEW)] == [*EDITION_COLUMNS, *NEW]
    assert set(table["split"].to_pylist()) == {"test"}
    assert table["photograph"].equals(table["source"])
    assert table["width"].null_count == len(table)
    assert old.table(["photograph"]).column_names == ["photograph"]
    assert len(list(old)) == len(old) == old.splits["test"]
    assert old[0].image.ndim == 3
    assert old.show(2).image.size
    assert all("missing; run the recipe again to link it" in one for one in va.verify(old, progress=False))
    assert len(va.diff(old, released))


def test_a_store_that_is_gone_later(own, here):
    shutil.rmtree(here / "store")
    assert one_line(said(own.table))


def test_an_edition_in_a_remote_store(here):
    made = va.run(
        dataset="far",
        version="1.0.0",
        source={"name": "image_folder", "path": "photos"},
        store="memory://far-away",
        progress=False,
    )
    assert made.url == "memory:///far-away/editions/far/1.0.0"
    other = va.open(made.url)
    assert other.digest == made.digest
    assert other[5].image.shape == (64, 96, 3)
    assert other.table().equals(made.table())
    assert va.verify("far", "memory://far-away") == []
    assert "its store is remote" in said(lambda: made.path)
    assert len(made.dataset("test")) == 12
    assert "it has no links that others can read" in said(lambda: made.dataset(streaming=True))


def test_an_edition_stays_where_it_is_when_the_working_folder_changes(here, tmp_path, monkeypatch):
    edition = va.open("mine", store="store")
    page = va.view(edition, to="page.html", progress=False)
    monkeypatch.chdir(tmp_path)
    assert edition[0].id
    assert edition.store.url == str(here / "store")
    assert page.path == str(here / "page.html")
    results = va.evaluate(edition, brightness, classes=list(edition.classes), progress=False)
    assert va.leaderboard(edition).models == results.models
    assert not (tmp_path / "store").exists()


def brightness(images):
    return [[image.mean() * place for place in range(3)] for image in images]


@pytest.mark.parametrize("name", ["[old] store", "st*re", "store?"])
def test_a_store_may_lie_in_a_folder_named_like_a_pattern(here, name):
    (here / "store").rename(here / name)
    edition = va.open("mine", store=name)
    assert edition.name == "mine@1.0.0-r1"
    assert [one.name for one in edition.releases()] == ["mine@1.0.0-r1"]
    assert edition.table(["id"], ledger=True).num_rows
    assert list(edition.figures) == ["brightness"]


def test_a_single_picture_is_a_picture(photos, tmp_path, own_cache):
    folder = tmp_path / "one" / "coffee"
    folder.mkdir(parents=True)
    shutil.copy(next((photos / "coffee").rglob("*.*")), folder)
    source = {"name": "image_folder", "path": str(tmp_path / "one")}
    edition = va.run(dataset="d", version="1.0.0", source=source, store=tmp_path / "store", progress=False)
    assert repr(edition).startswith("<Edition d@1.0.0: 1 picture, digest ")


def test_an_edition_without_pictures_is_no_dataset(tmp_path, own_cache):
    folder = tmp_path / "none" / "a"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"not a picture")
    source = {"name": "image_folder", "path": str(tmp_path / "none")}
    edition = va.run(
        dataset="d", version="1.0.0", source=source, max_failure_rate=1.0, store=tmp_path / "store", progress=False
    )
    assert len(edition) == 0
    assert "has no accepted pictures" in said(edition.dataset)


def test_the_base_of_a_release_is_the_edition_that_it_was_made_from_or_an_error(here):
    """A -dev version moves; what has its name now isn't what an old release was made from."""
    source = {"name": "image_folder", "path": "photos"}
    made = {"dataset": "moving", "version": "1.0.0-dev", "source": source, "curate": [{"name": "quality"}]}
    old = va.run(made, progress=False)
    assert old.base().name == "moving@1.0.0-dev"
    va.run(made, progress=False, seed=7, generate=[{"name": "negative"}])
    assert "moving@1.0.0-dev-r1 was made from isn't in" in said(lambda: old.base())
