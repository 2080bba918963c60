"""Known pictures: the search, sets in arrays, the index on disk, shipped lists, hostile lists and files."""

import hashlib
import io
import json
import os
import struct
import subprocess
import zlib
from importlib.metadata import PackageNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from copied_pictures import CONTEXT, copy, crops, edition, render, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from variorum.curation.copies import known_index, parts
from variorum.curation.copies.banded import NONE, bands, nearest
from variorum.curation.copies.known import edition_part, folder_part, list_part, look_up
from variorum.curation.copies.known_index import KnownIndex
from variorum.curation.copies.leakage import Leakage
from variorum.curation.copies.parts import About, Part
from variorum.kit.copies import blocklists
from variorum.kit.copies.blocklists import Blocklist, ListAbout, blocklist, list_bytes
from variorum.kit.copies.file_hashes import Looked, look, look_at
from variorum.kit.copies.pdq import pdq, pixel_digest
from variorum.kit.copies.shipped import fetched_path, list_path, shipped_lists
from variorum.pixels import encode_png
from variorum.schemas.errors import SourceError, StoreError
from variorum.schemas.table import Table

pytestmark = pytest.mark.usefixtures("own_cache")


def looked(pixels, name="p"):
    return Looked(name, hashlib.sha256(encode_png(pixels)).digest(), pixel_digest(pixels).tobytes(), pdq(pixels)[0])


def write(folder, pictures):
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        (folder / name).write_bytes(encode_png(pixels))
    return {name: folder / name for name in pictures}


def matches(pixels, *where):
    (found,) = look_up([looked(pixels)], where)
    return [(match.about.name, match.layer, match.distance, match.id) for match in found]


def listed(path, *pictures):
    path.write_bytes(list_bytes([looked(one) for one in pictures]))
    return path


# ── the search ───────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), stored=st.integers(0, 60), asked=st.integers(0, 6), bits=st.integers(0, 40))
def test_banded_search_is_the_comparison_with_all(seed, stored, asked, bits):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (stored, 32), dtype=np.uint8)
    table[stored // 2 :] = table[: stored - stored // 2]  # equal hashes: the first row counts
    turns = rng.integers(0, 256, (asked, 8, 32), dtype=np.uint8)
    for row in range(asked if stored else 0):
        changed = np.unpackbits(table[rng.integers(stored)])
        changed[rng.permutation(256)[:bits]] ^= 1
        turns[row, rng.integers(8)] = np.packbits(changed)
    apart = np.bitwise_count(turns[:, :, None] ^ table).sum(axis=3).min(axis=1, initial=NONE)
    least = apart.min(axis=1, initial=NONE)
    found, row = nearest(turns, table, bands(table))
    np.testing.assert_array_equal(found, np.where(least <= 31, least, NONE))
    first = [int(one.argmin()) if len(one) and one.min() <= 31 else -1 for one in apart]
    np.testing.assert_array_equal(row, first)


def test_bands_of_another_table_are_an_error_and_no_crash():
    table = np.random.default_rng(0).integers(0, 256, (50, 32), dtype=np.uint8)
    by, asked = bands(table), np.repeat(table[:, None], 8, axis=1)
    for wrong in (
        by._replace(order=np.full_like(by.order, 4_000_000_000)),
        by._replace(starts=by.starts[:, ::-1].copy()),
        by._replace(half=by.half[:-1]),
        bands(table[:-1]),
    ):
        with pytest.raises(ValueError, match="bands"):
            nearest(asked, table, wrong)


@pytest.mark.parametrize("banded", [False, True])
def test_copies_are_known_and_other_pictures_are_not(banded, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "BANDED", 1 if banded else 1 << 16)
    pictures = crops()[:12]
    folder_part("seen", [looked(one, f"{k}.png") for k, one in enumerate(pictures)]).save(tmp_path / "part")
    part = Part.load(tmp_path / "part")
    assert (part.by is not None) == banded
    for k, one in enumerate(pictures):
        assert matches(one, part) == [("seen", "file", 0, f"{k}.png")]
        for how in ("jpeg", "resize", "blur", "flip_jpeg", "flip_resize", "turn_90"):
            (name, layer, bits, which), *_ = matches(copy(one, how), part)
            assert (name, layer, which) == ("seen", "hash", f"{k}.png")
            assert bits <= 31
        assert matches(render(k), part) == []
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert matches(flat, part) == []


def test_each_set_is_named_once_with_its_strongest_evidence(tmp_path):
    one, other = render(1), render(2)
    table = Table(edition([one, other], id=["a" * 32, "b" * 32]))
    sets = [
        list_part(listed(tmp_path / "x.parquet", copy(one, "jpeg"), one)),
        edition_part("d@1.0.0", "0" * 64, table),
        folder_part("f", [Looked("same_pixels.bmp", b"\1" * 32, pixel_digest(one).tobytes(), pdq(one)[0])]),
        folder_part("f", [looked(copy(one, "jpeg"), "copy.jpg")]),
    ]
    assert matches(one, *sets) == [
        ("d@1.0.0", "file", 0, "a" * 32),
        ("x", "file", 0, ""),
        ("f", "pixels", 0, "same_pixels.bmp"),
    ]
    assert matches(render(3), *sets) == []


# ── the index ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_index_grows_by_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(known_index, "BATCH", 2)
    pictures = {f"{k}.png": render(k, 64) for k in range(7)}
    files = write(tmp_path / "photos", pictures)
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture at all")
    files["bad.png"] = tmp_path / "photos" / "bad.png"
    index = KnownIndex(tmp_path / "index", make=True)
    new, bad = index.add_folder("photos", files)
    assert new == 8
    assert [(one.name, one.problem.partition(":")[0]) for one in bad] == [("bad.png", "not_an_image")]
    assert len(index.parts()) < 4
    assert sum(part.about.pictures for part in index.parts()) == 8
    assert index.add_folder("photos", files) == (0, [])
    files["7.png"] = tmp_path / "photos" / "7.png"
    files["again.png"] = tmp_path / "photos" / "again.png"
    for name in ("7.png", "again.png"):
        files[name].write_bytes(encode_png(render(7, 64)))
    assert index.add_folder("photos", files) == (1, [])
    index.add(list_part(listed(tmp_path / "x.parquet", render(20))))
    again = KnownIndex(tmp_path / "index")
    for k in range(8):
        assert matches(copy(render(k, 64), "flip"), *again.parts())[0][3] == f"{k}.png"
    assert matches(render(20), *again.parts()) == [("x", "file", 0, "")]
    (found,) = look_up([look("bad", files["bad.png"])], again.parts())
    assert [(match.layer, match.id) for match in found] == [("file", "bad.png")]


def test_a_changed_list_takes_the_place_of_the_older_one(tmp_path):
    index = KnownIndex(tmp_path / "index", make=True)
    for number in (1, 2):
        part = list_part(listed(tmp_path / "x.parquet", render(number)))
        assert not index.has(part.about)
        assert index.add(part) == (number == 2)
        assert not index.add(part)
        assert index.has(part.about)
    assert [part.about.name for part in index.parts()] == ["x"]
    assert matches(render(1), *index.parts()) == []
    assert matches(render(2), *index.parts())


@pytest.mark.parametrize("step", range(0, 24, 4))
def test_a_process_that_is_killed_leaves_an_index_that_the_same_command_completes(step, tmp_path, monkeypatch):
    files = write(tmp_path / "photos", {f"{k}.png": render(k, 64) for k in range(4)})
    index = KnownIndex(tmp_path / "index", make=True)
    left = iter(range(step))

    class Killed(BaseException):
        pass

    def killed(file):
        if next(left, None) is None:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(known_index, "BATCH", 2)
        patch.setattr(parts, "_synced", killed)
        patch.setattr(parts.shutil, "rmtree", lambda *args, **kwargs: None)  # a killed process tidies nothing
        with pytest.raises(Killed):
            index.add_folder("photos", files)
    assert list((tmp_path / "index" / "parts").glob(".part-*"))
    for part in KnownIndex(tmp_path / "index").parts():
        assert part.about.pictures  # what is there is whole
    index.add_folder("photos", files)
    assert not list((tmp_path / "index" / "parts").glob(".part-*"))
    assert all(matches(render(k, 64), *index.parts()) for k in range(4))


def test_folders_that_are_no_index_are_left_alone(tmp_path):
    with pytest.raises(SourceError, match="there is none; make it with"):
        KnownIndex(tmp_path / "missing")
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(SourceError, match="the folder holds other files"):
        KnownIndex(tmp_path, make=True)
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "index.json").write_text('{"variorum": "known pictures", "format": 2}')
    with pytest.raises(SourceError, match="isn't of this version"):
        KnownIndex(tmp_path / "new", make=True)
    with pytest.raises(StoreError, match="can't be written"):
        KnownIndex(tmp_path / "a.txt" / "index", make=True)


def test_a_damaged_index_is_an_error_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "BANDED", 1)
    index = KnownIndex(tmp_path / "index", make=True)
    index.add(folder_part("f", [looked(render(k, 64), f"{k}") for k in range(3)]))
    (folder,) = (tmp_path / "index" / "parts").iterdir()
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    about = json.loads(whole[folder / "about.json"])
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], object), allow_pickle=True)
    for name, data in (
        ("pdq.npy", whole[folder / "pdq.npy"][:-9]),
        ("pdq.npy", b""),
        ("pdq.npy", pickled.getvalue()),
        ("files.npy", whole[folder / "pixels.npy"]),
        ("order.npy", whole[folder / "starts.npy"]),
        ("ends.npy", whole[folder / "text.npy"]),
        ("about.json", json.dumps({**about, "kind": "other"}).encode()),
        ("about.json", b"[]"),
    ):
        (folder / name).write_bytes(data)
        with pytest.raises(SourceError, match=r"is damaged: [^\n]*; delete it"):
            index.parts()
        (folder / name).write_bytes(whole[folder / name])
    for name in ("about.json", "pdq.npy"):
        (folder / name).unlink()
        with pytest.raises(SourceError, match="is damaged"):
            index.parts()
        (folder / name).write_bytes(whole[folder / name])
    order = np.load(folder / "order.npy")
    np.save(folder / "order.npy", np.full_like(order, 99))
    with pytest.raises(SourceError, match="the hashes of f are damaged"):
        look_up([looked(render(1, 64))], index.parts())


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_shipped_lists_are_as_their_table_says_and_hold_hashes_only():
    lists = shipped_lists()
    assert {"fashion_mnist_test", "scikit_image"} <= set(lists)
    for name, about in lists.items():
        path = list_path(name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == about.sha256
        assert set(pq.read_schema(path).names) <= {"sha256", "pixels", "pdq"}
        assert len(Blocklist.read(path).pixels) == about.pictures
        assert about.licence
        assert any(letter.isdigit() for letter in about.package)  # with its version
    assert list_path("lists/x.parquet").name == "x.parquet"


@pytest.mark.parametrize("name", ["scikit_learn", "tuxpaint_templates"])
def test_a_shipped_list_is_made_again_to_the_byte(name):
    from training.shipped_blocklists import SETS, list_of, version_of

    about = shipped_lists()[name]
    try:
        here = f"{SETS[name].package} {version_of(SETS[name])}"
    except (PackageNotFoundError, subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"the package isn't here: {error}")
    if here != about.package:
        pytest.skip(f"the list was made of {about.package}, here is {here}")
    assert list_of(SETS[name]) == (about.pictures, list_path(name).read_bytes())


def test_what_a_list_says_of_itself_is_read_within_bounds(tmp_path):
    path = tmp_path / "l.parquet"
    about = ListAbout(title="Cats", pictures=1, licence="CC0-1.0", made_by="me")
    path.write_bytes(list_bytes([looked(render(0))], about=about))
    assert ListAbout.read(path) == about
    table = pq.read_table(path)
    for text in ("[]", "{", json.dumps({"title": "x" * 201}), json.dumps({"pictures": -1}), " " * 20_000 + "{}"):
        pq.write_table(table.replace_schema_metadata({"variorum.list": text}), path)
        assert ListAbout.read(path) is None
        assert Blocklist.columns(path) == ["sha256", "pixels", "pdq"]


def test_a_list_at_an_address_has_to_be_fetched_before_a_recipe_uses_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    url = "https://example.org/lists/cats.parquet?key=../x"
    step = Leakage(against=[url], embedding=False)
    with pytest.raises(SourceError, match="fetch it first, once: variorum known --blocklist URL"):
        step.check(CONTEXT)
    path = fetched_path(url)
    assert tmp_path in path.parents
    path.parent.mkdir(parents=True)
    path.write_bytes(list_bytes([looked(render(1))]))
    found = scored(step, edition([render(0), render(1)]))
    assert found.column("leakage.flag").to_pylist() == [False, True]
    assert found.column("leakage.against").to_pylist() == ["", "cats"]


def test_leakage_takes_a_shipped_list_by_its_name():
    import skimage.data

    pictures = [copy(skimage.data.chelsea(), "flip_resize"), render(1)]
    step = Leakage(against=["scikit_image"], embedding=False)
    step.check(CONTEXT)
    found = scored(step, edition(pictures))
    assert found.column("leakage.flag").to_pylist() == [True, False]
    assert found.column("leakage.against").to_pylist() == ["scikit_image", ""]
    assert step.identity()["against"] == [["scikit_image", shipped_lists()["scikit_image"].sha256]]


def test_lists_of_pictures_and_of_editions_say_the_same(tmp_path):
    pictures = [render(k, 64) for k in range(4)]
    (tmp_path / "e.parquet").write_bytes(blocklist(Table(edition(pictures))))
    one, other = Blocklist.read(tmp_path / "e.parquet"), Blocklist.read(listed(tmp_path / "p.parquet", *pictures))
    for name in ("sha256", "pixels", "pdq"):
        assert sorted(getattr(one, name).tolist()) == sorted(getattr(other, name).tolist())


HASH = b"\7" * 32


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"pdq": ["text"]}, "the column pdq must be there once and hold 32 bytes, not string"),
        ({"pdq": pa.array([], pa.binary())}, "has no hashes"),
        ({"pixels": pa.array([b"1" * 15], pa.binary(15))}, r"hold 16 bytes, not fixed_size_binary\[15\]"),
        ({"pdq": [HASH, HASH[:31]]}, "column pdq: hashes must have 32 bytes, one has 31"),
        ({"sha256": ["a" * 63]}, "column sha256: hashes must have 64 bytes, one has 63"),
        ({"sha256": ["A" * 64]}, "must hold 64 hexadecimal digits"),
        ({"sha256": ["é" * 32]}, "must hold 64 hexadecimal digits"),
        ({"sha256": [1]}, "hold text of 64 hexadecimal digits, not int64"),
        ({"embedding": [["a"]]}, "hold lists of floats"),
        ({"embedding": [[1.0], [1.0, 2.0]]}, "mixes lengths"),
        ({"pdq": [HASH] * 9}, "has 9 rows; split it into lists of 8 at most"),
    ],
)
def test_lists_that_hold_anything_else_are_refused(columns, said, tmp_path, monkeypatch):
    monkeypatch.setattr(blocklists, "MOST_ROWS", 8)
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(SourceError, match=said):
        list_part(tmp_path / "x.parquet")


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path):
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int32)), pa.array(["a" * (16 << 20)]))
    pq.write_table(pa.table({"sha256": text}), tmp_path / "bomb.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 1 << 20
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(SourceError, match="hashes must have 64 bytes, one has 16777216"):
        Blocklist.read(tmp_path / "bomb.parquet")
    assert pa.default_memory_pool().max_memory() <= max(before, 256 << 20)


def test_rows_without_a_hash_are_left_out(tmp_path):
    columns = {"pdq": pa.array([None, HASH, None]), "sha256": pa.array(["a" * 64, None, None])}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    found = Blocklist.read(tmp_path / "x.parquet")
    assert found.pdq.tobytes() == HASH
    assert found.sha256.tolist() == ["a" * 64]
    assert len(found.pixels) == 0


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def png_header(width, height):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    size = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_what_is_no_picture_has_the_hash_of_its_bytes_and_a_reason(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(render(1)).save(whole, "JPEG")
    for name, data in (
        ("empty.jpg", b""),
        ("text.jpg", b"no picture at all"),
        ("cut.jpg", whole.getvalue()[: len(whole.getvalue()) // 2]),
        ("bomb.png", png_header(50_000, 50_000)),
        ("tiny.png", encode_png(np.zeros((4, 4, 3), np.uint8))),
        ("fine.jpg", whole.getvalue()),
    ):
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2 << 30)  # takes no room on the disk
    (found,) = look_at((path.name, path) for path in sorted(tmp_path.iterdir()))
    problem = {one.name: one.problem.partition(":")[0] for one in found}
    assert problem == {
        "bomb.png": "bomb",
        "cut.jpg": "truncated",
        "empty.jpg": "empty",
        "fine.jpg": "",
        "huge.jpg": "larger than 1024 MiB",
        "pipe.jpg": "can't be read",
        "text.jpg": "not_an_image",
        "tiny.png": "too_small",
    }
    for one in found:
        readable = one.name not in ("huge.jpg", "pipe.jpg")
        assert one.sha256 == (hashlib.sha256((tmp_path / one.name).read_bytes()).digest() if readable else b"")
        assert bool(one.pixels) == (one.name == "fine.jpg")


def test_a_set_says_what_it_is_of():
    about = About(kind="list", name="x", content="0" * 64, pictures=0)
    part = Part.of(about, {name: (np.empty((0, width), np.uint8), None) for name, width in parts.WIDTHS.items()})
    assert matches(render(1), part) == []
    assert part.id(0) == ""
