"""Whatever lies in a folder: each file is a picture, a row with a reason, or counted in a warning."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
from hostile_files import ACCEPTED, ANY, COUNTED, COUNTS, ROW, SILENT, encoded, hostile_files, nobody
from PIL import Image

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.machine.memo import DiskMemo
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.folders.listing import key_of, list_files
from variorum.sources.image_folder import ImageFolder
from variorum.stages.job import models

BUILD = """
import logging, sys
from variorum.pipeline import Job, build, run
from variorum.schemas.recipe import Recipe

logging.basicConfig(format="%(message)s")
recipe = {
    "dataset": "d", "version": "1.0.0", "samples_per_shard": 64, "max_failure_rate": 1.0, "masters": "original",
    "source": {"name": "image_folder", "path": sys.argv[1], "labels": "none"},
}
print({"build": build, "run": run}[sys.argv[3]](Job(Recipe.parse(recipe), sys.argv[2])).digest())
"""


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def jpeg(value: int = 0) -> bytes:
    return encoded(Image.new("RGB", (24, 16), (value, value, value)), "JPEG")


def built(folder: Path, store: Path, how: str) -> tuple[str, str]:
    """Digest and warnings of an edition that another process makes, within a minute; `run` adds card and sheet."""
    script = [sys.executable, "-c", BUILD, str(folder), str(store), how]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def check_fates(fate: dict[str, str], rows: dict[str, tuple[str, str]], warnings: str) -> None:
    """Each file became what it should, and the warnings count what became nothing else."""
    for key, expected in fate.items():
        status, reason = rows.get(key, ("", ""))
        if expected in (COUNTED, SILENT):
            assert not status, key
        elif expected == ACCEPTED:
            assert (status, reason) == ("accepted", ""), key
        elif expected in (ROW, ANY):
            assert status == "failed" or (expected == ANY and status == "accepted"), key
            assert reason or status == "accepted", key
        else:
            assert (status, reason) == ("failed", expected), key
    assert not rows.keys() - fate.keys()
    counted = [int(found[1]) for line in warnings.splitlines() if (found := COUNTS.match(line))]
    assert sum(counted) == sum(expected == COUNTED for expected in fate.values()), warnings


def test_an_edition_of_hostile_files(tmp_path, own_cache):
    fate = hostile_files(tmp_path / "p")
    assert len(fate) > 150
    digest, warnings = built(tmp_path / "p", tmp_path / "s", "run")
    store = Store(str(tmp_path / "s"))
    manifest = resolve("d@1.0.0", store)
    table = read_table(store, manifest.rows).to_pylist()
    check_fates(fate, {row["origin"]: (row["status"], row["reason"]) for row in table}, warnings)
    assert {row["origin"]: row["id"] for row in table} == {
        row["origin"]: source_id("image_folder", row["origin"]) for row in table
    }
    assert verify(manifest, store) == []
    assert "11 files in" in warnings
    assert "3 .heic" in warnings
    beside = Path(store.url) / "editions" / "d" / "1.0.0"
    with Image.open(beside / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 100
    assert "unreadable 1" in (beside / "README.md").read_text()
    records = {}
    for shard in (beside / "data").glob("*.tar"):
        with tarfile.open(shard) as tar:
            records |= {
                record["origin"]: record["id"]
                for member in tar
                if member.name.endswith(".json")
                for record in [json.load(tar.extractfile(member))]
            }
    assert records == {row["origin"]: row["id"] for row in table if row["status"] == "accepted"}

    shutil.rmtree(own_cache / "hashes", ignore_errors=True)
    assert built(tmp_path / "p", tmp_path / "again", "build")[0] == digest


def test_hostile_files_of_a_user_whom_permissions_stop(monkeypatch, caplog, ctx):
    """As above without an edition; where the tests don't run as root, this is what the test above did."""
    with nobody() as folder:
        monkeypatch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        fate = hostile_files(folder / "p")
        closed = [key for key in fate if key.startswith("closed/")]
        assert sorted(closed) == ["closed/file.jpg", "closed/folder"]
        try:
            source = ImageFolder(path=folder / "p", labels="none")
            items = {item.origin: item for item in source.read(0, source.size(ctx), ctx)}
        finally:
            (folder / "p" / "closed" / "folder").chmod(0o700)
        assert items["closed/file.jpg"].detail == "closed/file.jpg: Permission denied"
        readable = {key: ROW if isinstance(item, Failure) else ANY for key, item in items.items()}
        assert readable.keys() == {key for key, becomes in fate.items() if becomes not in (COUNTED, SILENT)}
        warnings = "\n".join(record.getMessage() for record in caplog.records)
        assert "2 folders in" in warnings
        check_fates({k: v for k, v in fate.items() if v in (COUNTED, SILENT)}, {}, warnings)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def undone(key: str) -> bytes:
    """The name that a key stands for."""
    return re.sub(rb"\\x(5c|[89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), key.encode())


NAMES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text("\\x58c9aefé ", min_size=1, max_size=12).map(str.encode),
    st.lists(st.sampled_from([b"\\", b"x", b"\\x5c", b"\\xe9", b"\xe9", b"\xc3", b"\xa9", b"8"])).map(b"".join),
)


@hypothesis.given(NAMES)
def test_keys_are_text_and_stand_for_one_name(name):
    key = key_of(os.fsdecode(name))
    assert undone(key.encode().decode()) == name
    if b"\\" not in name and key.isprintable() and os.fsdecode(name).isprintable():
        assert key == os.fsdecode(name)


def test_a_name_that_is_no_text_has_a_key_of_its_own(tmp_path, ctx):
    folder = tmp_path / "a"
    folder.mkdir()
    for number, name in enumerate((b"caf\xe9.jpg", rb"caf\xe9.jpg", "café.jpg".encode())):
        (folder / os.fsdecode(name)).write_bytes(jpeg(number))
    source = ImageFolder(path=folder)
    samples = list(source.read(0, 9, ctx))
    assert {sample.origin: sample.image for sample in samples} == {
        r"caf\xe9.jpg": jpeg(0),
        r"caf\x5cxe9.jpg": jpeg(1),
        "café.jpg": jpeg(2),
    }
    assert len({sample.id for sample in samples}) == 3
    assert len(source.pin(ctx)) == 64


def test_classes_and_masks_of_names_that_are_no_text(tmp_path, ctx):
    for folder, ending in ((tmp_path / "a", "jpg"), (tmp_path / "m", "png")):
        (folder / os.fsdecode(b"caf\xe9")).mkdir(parents=True)
        data = jpeg(3) if ending == "jpg" else encoded(Image.new("L", (24, 16), 255), "PNG")
        (folder / os.fsdecode(b"caf\xe9/\xff." + ending.encode())).write_bytes(data)
    source = ImageFolder(path=tmp_path / "a", masks=tmp_path / "m")
    (sample,) = source.read(0, 1, ctx)
    assert isinstance(sample, Sample)
    assert sample.labels == (r"caf\xe9",)
    assert [info.id for info in source.classes(ctx)] == [r"caf\xe9"]
    assert "mask.png" in sample.extras


# ── what isn't read is said ──────────────────────────────────────────────────────────────────────────────────────────


def warnings_of(folder: Path, ctx: Context, caplog, **fields) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        ImageFolder(path=folder, **fields).size(ctx)
    return [record.getMessage() for record in caplog.records]


def test_endings_that_are_not_read_are_counted_and_named(tmp_path, ctx, caplog):
    folder = tmp_path / "a"
    for name in ("cat/x.jpg", "README.md", "LICENSE", "cat/x.txt", "cat/x.json", "cat/x.xml", "SHA256SUMS", "a.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg())
    assert warnings_of(folder, ctx, caplog) == []
    for name in [*(f"{n}.heic" for n in range(9)), "a.svg", "b.SVG", "c.svg", "noending"]:
        (folder / "cat" / name).touch()
    assert warnings_of(folder, ctx, caplog) == [
        f"image_folder: 13 files in {folder} aren't read: 9 .heic, 3 .svg, 1 without an ending (the first: cat/0.heic)"
    ]


def test_odd_files_among_masks_are_counted_too(tmp_path, ctx, caplog):
    folder, masks = tmp_path / "a", tmp_path / "m"
    folder.mkdir()
    masks.mkdir()
    for name in ("ok", "link", "fifo", "ring", "gone"):
        (folder / f"{name}.jpg").write_bytes(jpeg())
    mask = encoded(Image.new("L", (24, 16), 255), "PNG")
    (masks / "ok.png").write_bytes(mask)
    (masks / "ok.tif").write_bytes(mask)
    (tmp_path / "outside.png").write_bytes(mask)
    (masks / "link.png").symlink_to(tmp_path / "outside.png")
    (masks / "ring.png").symlink_to("ring.png")
    os.mkfifo(masks / "fifo.png")
    source = ImageFolder(path=folder, masks=masks)
    found = {item.origin: getattr(item, "detail", "") for item in source.read(0, 9, ctx)}
    assert found == {
        "fifo.jpg": "fifo.png: it is a FIFO, not a file",
        "gone.jpg": "no gone.png for gone.jpg in the masks' folder",
        "link.jpg": "no link.png for link.jpg in the masks' folder",
        "ok.jpg": "",
        "ring.jpg": "ring.png: Too many levels of symbolic links",
    }
    assert warnings_of(folder, ctx, caplog, masks=masks) == [
        f"image_folder: 1 link in {masks} isn't followed, leading to a folder or to a file outside "
        "(the first: link.png)",
        f"image_folder: 1 file in {masks} isn't read: 1 .tif (the first: ok.tif)",
    ]


def test_a_folder_without_pictures_says_what_is_there(tmp_path, ctx):
    (tmp_path / "a").mkdir()
    for name in ("x.heic", "y.heic"):
        (tmp_path / "a" / name).touch()
    with pytest.raises(
        SourceError, match=r"no picture in .*2 \.heic \(the first: x\.heic\).*files that are read end in"
    ):
        ImageFolder(path=tmp_path / "a").size(ctx)


def test_a_long_warning_is_one_line(tmp_path, ctx, caplog):
    name = "/".join("l" * 200 for _ in range(6))
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "a\nb.heic").touch()
    (tmp_path / "x.jpg").write_bytes(jpeg())
    (line,) = warnings_of(tmp_path, ctx, caplog, labels="none")
    assert len(line) < 500 + len(str(tmp_path))
    assert "\n" not in line


def test_a_tree_deeper_than_the_stack(tmp_path):
    deep = "d/" * 400
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / deep / "x.jpg").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        found = list_files(tmp_path, lambda name: name.endswith(".jpg")).files
    finally:
        sys.setrecursionlimit(limit)
    assert found == [f"{deep}x.jpg"]
