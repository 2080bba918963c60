"""Pictures and classes as the review server gives them, on real editions of several formats."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from annotated_set import ANNOTATED
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from small_store import GENERATOR

from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.people.server.classes import Classes, definitions
from variorum.people.server.images import Pictures, Recent
from variorum.picture_facts import has_position
from variorum.pipeline import Job, run
from variorum.pixels import decode
from variorum.schemas.errors import CorruptShard, RecipeError, SourceError
from variorum.schemas.recipe import Recipe


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    """An edition with pictures of all formats, objects, and a negative of each picture, some of them quarantined."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "asked.py").write_text(GENERATOR)
    source = {**ANNOTATED, "pictures": 12, "formats": ("jpg", "png", "webp", "bmp")}
    recipe = {"dataset": "shapes", "version": "1.0.0", "samples_per_shard": 5, "masters": "original", "source": source}
    job = Job(Recipe.parse({**recipe, "generate": [{"name": str(folder / "asked.py")}]}), str(folder / "store"))
    return run(job), job.store


@pytest.fixture(scope="module")
def pictures(edition):
    return Pictures(*edition)


@pytest.fixture(scope="module")
def rows(edition):
    """The accepted rows of the edition's table."""
    manifest, store = edition
    return [row for row in read_table(store, manifest.rows).to_pylist() if row["status"] == "accepted"]


def test_every_accepted_picture_is_found_by_its_id(pictures, rows):
    assert len(pictures) == len(rows) > 20
    for row in rows:
        place = pictures.row(row["id"])
        assert pictures.sha256(place) == row["sha256"]
        assert bool(pictures.original[place]) == (row["variant"] == "original")
        assert pictures.label[place] == row["label"]


def test_quarantined_pictures_are_not_served(edition, pictures):
    manifest, store = edition
    hidden = [row["id"] for row in read_table(store, manifest.rows).to_pylist() if row["status"] == "quarantined"]
    assert hidden
    assert all(pictures.row(identity) is None for identity in hidden)


@given(text=st.text(max_size=80))
def test_no_other_text_is_a_picture(pictures, text):
    known = {bytes(one).decode() for one in pictures.ids}
    assert (pictures.row(text) is not None) == (text in known)


def test_an_id_with_something_added_or_lacking_is_no_picture(pictures):
    for one in map(bytes, pictures.ids):
        identity = one.decode()
        for text in ("{}\0", "{} ", "../{}", "{}/../x", "{}.jpg", "%2e/{}"):
            assert pictures.row(text.format(identity)) is None
        assert pictures.row(identity[:-1]) is None


def test_pictures_that_browsers_show_are_sent_as_they_are(pictures, rows):
    kinds = set()
    for row in rows:
        place = pictures.row(row["id"])
        file = pictures.picture(place)
        kinds.add(file.kind)
        sent = Image.open(io.BytesIO(file.data))
        assert sent.get_format_mimetype() == file.kind
        described = pictures.described(place)
        assert (described["width"], described["height"]) == sent.size == (row["width"], row["height"])
        same = hashlib.sha256(file.data).hexdigest() == row["sha256"]
        assert same or file.kind == "image/png"  # a bitmap
    assert kinds == {"image/jpeg", "image/png", "image/webp"}


def test_nobody_is_sent_where_a_picture_was_taken(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist], exif[ExifTags.Base.Orientation] = "Ann", 6
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 8.0, 14.0), 3: "E", 4: (11.0, 34.0, 31.0)}
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    noise = np.random.default_rng(3).integers(0, 255, (40, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "photos" / "cat" / "a.jpg", exif=exif)
    source = {"name": "image_folder", "path": str(tmp_path / "photos")}
    fields = {"dataset": "taken", "version": "1.0.0", "masters": "original", "source": source}
    job = Job(Recipe.parse(fields), str(tmp_path / "store"))
    pictures = Pictures(run(job), job.store)
    sent, stored = pictures.picture(0), pictures._sample(0).image
    assert has_position(stored)
    assert b"Ann" in stored
    assert sent.kind == "image/jpeg"
    assert not has_position(sent.data)
    assert b"Ann" not in sent.data
    assert np.array_equal(decode(sent.data), decode(stored))
    assert pictures.described(0)["width"] == 40  # it is shown upright


def test_a_bitmap_is_sent_as_png_with_the_same_pixels(edition, pictures, rows):
    again = [
        (pictures.picture(pictures.row(row["id"])), row)
        for row in rows
        if hashlib.sha256(pictures.picture(pictures.row(row["id"])).data).hexdigest() != row["sha256"]
    ]
    assert again
    from variorum.edition.read_at import stored_sample
    from variorum.reports.rows import edition_rows

    manifest, store = edition
    placed = {row["id"]: row for row in edition_rows(manifest, store).to_pylist()}
    for file, row in again:
        place = placed[row["id"]]
        stored = stored_sample(store, manifest.shards[place["group"]][place["shard"]], row)
        assert np.array_equal(decode(file.data), decode(stored.image))


def test_thumbnails_are_small_and_show_the_picture(pictures):
    for place in range(len(pictures)):
        small, whole = pictures.thumbnail(place), decode(pictures.picture(place).data)
        assert small.kind == "image/jpeg"
        assert small == pictures.thumbnail(place)
        pixels = decode(small.data)
        assert pixels.shape == whole.shape  # they are smaller than a thumbnail's side
        assert np.abs(pixels.astype(int) - whole).mean() < 8


def test_the_original_of_an_edit_is_told(pictures, rows):
    originals = {row["source"]: row["id"] for row in rows if row["variant"] == "original"}
    for row in rows:
        told = pictures.described(pictures.row(row["id"]))["original"]
        expected = originals[row["source"]] if row["variant"] != "original" else None
        assert (told and told["id"]) == expected


def test_objects_say_their_class_only_where_it_is_not_the_question(pictures, rows):
    some = [row for row in rows if row["objects"]]
    assert some
    for row in some:
        place = pictures.row(row["id"])
        hidden, named = (pictures.described(place, named=say)["objects"] for say in (False, True))
        assert len(hidden) == len(named) == row["objects"]
        assert {one["label"] + one["name"] for one in hidden} == {""}
        assert [one["box"] for one in hidden] == [one["box"] for one in named]
        assert all(one["label"] in ("circle", "square") for one in named)


def test_masks_are_served_where_the_edition_has_them(tmp_path, photos):
    masks = tmp_path / "masks"
    for path in photos.rglob("*.jpg"):
        target = masks / path.relative_to(photos).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((64, 96), np.uint8)
        mask[10:40, 20:70] = 255
        Image.fromarray(mask).save(target)
    source = {"name": "image_folder", "path": str(photos), "masks": str(masks)}
    job = Job(Recipe.parse({"dataset": "masked", "version": "1.0.0", "source": source}), str(tmp_path / "store"))
    found = Pictures(run(job), job.store)
    assert found.described(0)["mask"].startswith("/masks/")
    file = found.mask(0)
    assert file.kind == "image/png"
    assert np.asarray(Image.open(io.BytesIO(file.data))).max() == 255


def test_an_edition_without_masks_has_none(pictures):
    assert pictures.mask(0) is None
    assert pictures.described(0)["mask"] is None


def test_a_damaged_picture_is_an_error(edition, tmp_path):
    import shutil

    manifest, store = edition
    shutil.copytree(store.local, tmp_path / "store")
    copy = Store(str(tmp_path / "store"), writable=False)
    found = Pictures(manifest, copy)
    for _, shard in manifest.accepted():
        path = tmp_path / "store" / "objects" / f"{shard.sha256}.tar"
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        for start in range(1500, len(data) - 1500, 700):
            data[start] ^= 0xFF
        path.write_bytes(bytes(data))
    for place in range(len(found)):
        with pytest.raises(CorruptShard):
            found.picture(place)


def test_an_older_edition_is_served(tmp_path):
    import tarfile
    from pathlib import Path

    from variorum.edition.editions import resolve

    with tarfile.open(Path(__file__).parents[2] / "variorum" / "edition" / "format3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    store = Store(str(tmp_path / "store"))
    found = Pictures(resolve("old@1.0.0", store), store)
    assert len(found)
    described = found.described(0)
    assert Image.open(io.BytesIO(found.picture(0).data)).size == (described["width"], described["height"])


def test_kept_files_stay_below_their_bytes():
    made = []
    recent = Recent(100, lambda number: made.append(number) or bytes([number]) * 30)
    for number in range(20):
        assert recent.get(number) == bytes([number]) * 30
    del made[:]
    assert recent.kept(16) is None
    assert recent.kept(17) == bytes([17]) * 30
    for number in (19, 18, 17, 16):
        recent.get(number)
    assert made == [16]


def test_a_file_that_many_ask_for_is_made_once():
    go_on, made = threading.Event(), []

    def make(number):
        made.append(number)
        assert go_on.wait(30)
        if number == 1:
            raise CorruptShard("it is damaged")
        return b"x"

    recent = Recent(100, make)

    def ask(number):
        try:
            return recent.get(number)
        except CorruptShard as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(ask, number) for number in (0, 1) for _ in range(4)]
        while len(made) < 2:
            pass
        go_on.set()
        assert [one.result(30) for one in found] == [b"x"] * 4 + ["it is damaged"] * 4
    assert made.count(0) == 1
    assert recent.kept(1) is None


def test_thumbnails_are_made_ahead(edition):
    pictures = Pictures(*edition)
    assert pictures.ready_thumbnail(3) is None
    pictures.prepare([3, 4])
    pictures._makers.shutdown(wait=True)
    assert [pictures.ready_thumbnail(place) == pictures.thumbnail(place) for place in (3, 4)] == [True, True]


# ── classes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_examples_are_of_the_class_and_of_different_photographs(pictures):
    nothing = np.zeros(len(pictures), bool)
    classes = Classes(pictures, {"circle": "round"}, nothing, nothing)
    assert classes.listed() == [["circle", "a circle | <b>"], ["square", "square"]]
    places = [pictures.row(one["id"]) for one in classes.about("circle")["examples"]]
    assert len(places) == 4
    assert {int(pictures.label[place]) for place in places} == {0}
    assert len({int(pictures.photograph[place]) for place in places}) == 4
    assert all(pictures.original[place] for place in places)
    assert classes.about("square")["examples"] == []  # no picture has it as its label
    assert classes.about("circle")["definition"] == "round"
    assert classes.about("square")["definition"] == ""
    assert classes.about("triangle") is None


def test_examples_leave_out_the_judged_photograph_doubts_and_what_is_asked(pictures):
    mine = np.flatnonzero((pictures.label == 0) & pictures.original)
    assert len(mine) >= 6
    nothing, some = np.zeros(len(pictures), bool), np.zeros(len(pictures), bool)
    some[mine[:2]] = True

    def shown(classes, of=""):
        return {pictures.row(one["id"]) for one in classes.about("circle", of)["examples"]}

    everything = Classes(pictures, {}, nothing, nothing)
    judged = next(iter(shown(everything)))
    assert judged not in shown(everything, bytes(pictures.ids[judged]).decode())
    assert not shown(Classes(pictures, {}, nothing, some)) & set(mine[:2].tolist())
    assert not shown(Classes(pictures, {}, some, nothing)) & set(mine[:2].tolist())
    # where all pictures are asked about, they are better than none
    assert len(shown(Classes(pictures, {}, np.ones(len(pictures), bool), nothing))) == 4


def test_definitions_of_imagenets_classes_are_wordnets():
    found = definitions({"n01440764": "tench", "cat": "cat"})
    assert found.keys() == {"n01440764"}
    assert "fish" in found["n01440764"]


NOUNS = (
    b"  1 This software ... WordNet 3.0 Copyright\n"
    b'00000045 05 n 01 dog 0 001 @ 1 n 0000 | a tame animal; kept by people; "the dog barked"; "a dog"\n'
)


def test_definitions_of_other_wnids_come_from_the_file_of_nouns(tmp_path):
    nouns = tmp_path / "data.noun"
    place = NOUNS.index(b"00000045")
    nouns.write_bytes(NOUNS.replace(b"00000045", b"%08d" % place))
    wnid = f"n{place:08d}"
    classes = {wnid: "dog", "n00000003": "no line begins there", "n99999999": "behind the end"}
    assert definitions(classes, nouns=nouns) == {wnid: "a tame animal; kept by people"}
    nouns.write_bytes(nouns.read_bytes().replace(b"WordNet 3.0", b"WordNet 3.1"))
    assert definitions(classes, nouns=nouns) == {}
    assert definitions(classes, nouns=tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.csv", 'class,definition\ncircle,"round, flat"\n'),
        ("d.json", '{"circle": "round, flat"}'),
        ("d.yaml", "circle: round, flat\n"),
    ],
)
def test_definitions_from_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert definitions({"circle": "c", "square": "s"}, tmp_path / name) == {"circle": "round, flat"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("d.csv", "name,definition\ncircle,x\n", "columns class and definition"),
        ("d.csv", "class,definition\ncircle\n", "must map"),
        ("d.json", "[1]", "must map"),
        ("d.json", '{"circle": 1}', "must map"),
        ("d.json", "{", "d.json"),
        ("d.json", "[" * 100_000, "d.json"),
        ("d.yaml", "circle: [", "d.yaml"),
        ("d.yaml", "!!python/object/apply:os.getcwd []", "d.yaml"),
        ("d.json", '{"hexagon": "six"}', "no class 'hexagon'"),
    ],
)
def test_definitions_that_are_none_are_an_error(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=re.escape(says)):
        definitions({"circle": "c"}, tmp_path / name)


def test_missing_definitions_are_an_error(tmp_path):
    with pytest.raises(SourceError, match=r"none\.csv"):
        definitions({"circle": "c"}, tmp_path / "none.csv")
