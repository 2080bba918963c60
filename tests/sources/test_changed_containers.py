"""Tars, parquet files, annotation files and archives that change, vanish or can't be read after they were pinned."""

import errno
import io
import json
import os
import resource
import socket
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from variorum.machine import retrying as steady
from variorum.machine.memo import DiskMemo
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import SourceChanged, SourceError, TemporaryError
from variorum.schemas.sample import Failure, Sample
from variorum.sources.coco import Coco
from variorum.sources.edition import Edition
from variorum.sources.huggingface import HuggingFace
from variorum.sources.parquet import Parquet
from variorum.sources.web import hosts
from variorum.sources.webdataset import Webdataset
from variorum.stages.job import models

COUNT = 4


@pytest.fixture
def ctx(tmp_path, own_cache, monkeypatch) -> Context:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(steady, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(hosts, "WAITS", (0.0, 0.0))
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 24, 3), value, np.uint8)).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


# ── a source of each kind, over pictures with these values ───────────────────────────────────────────────────────────


def tar(folder: Path, values) -> Webdataset:
    import tarfile

    with tarfile.open(folder / "a.tar", "w") as archive:
        for number, value in enumerate(values):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(png(value))
            archive.addfile(info, io.BytesIO(png(value)))
    return Webdataset(shards=str(folder / "*.tar"))


def parquet(folder: Path, values) -> Parquet:
    rows = {"image": [png(value) for value in values], "label": [f"c{number % 2}" for number in range(COUNT)]}
    pq.write_table(pa.table(rows), folder / "a.parquet", compression="none")
    return Parquet(files=str(folder / "a.parquet"), label="label")


def hub(folder: Path, values) -> HuggingFace:
    parquet(folder, values)
    return HuggingFace(dataset="parquet", data_files=str(folder / "a.parquet"), label="label")


def hub_folder(folder: Path, values) -> HuggingFace:
    for number, value in enumerate(values):
        (folder / f"{number}.png").write_bytes(png(value))
    return HuggingFace(dataset=str(folder))


def hub_zip(folder: Path, values) -> HuggingFace:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number, value in enumerate(values):
            archive.writestr(zipfile.ZipInfo(f"{number}.png"), png(value))  # without the time of day
    return HuggingFace(dataset=str(folder))


def coco(folder: Path, values) -> Coco:
    (folder / "pictures").mkdir(exist_ok=True)
    for number, value in enumerate(values):
        (folder / "pictures" / f"{number}.png").write_bytes(png(value))
    return annotated(folder)


def annotated(folder: Path, width: int = 3) -> Coco:
    images = [{"id": number, "file_name": f"{number}.png", "width": 24, "height": 16} for number in range(COUNT)]
    boxes = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, width, 4]}]
    document = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
    (folder / "a.json").write_text(json.dumps(document))
    return Coco(annotations=folder / "a.json", pictures=folder / "pictures")


KINDS = {"tar": tar, "parquet": parquet, "hub": hub, "hub folder": hub_folder, "hub zip": hub_zip, "coco": coco}
TOUCHED = {"hub folder": "0.png", "hub zip": "a.zip", "coco": "pictures/0.png", "hub": "a.parquet"}
every_kind = pytest.mark.parametrize("kind", list(KINDS))


def made(kind: str, tmp_path: Path, values=range(COUNT)) -> tuple[Source, Path]:
    """A source and the file with its first picture."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    source = KINDS[kind](folder, values)
    return source, folder / TOUCHED.get(kind, f"a.{kind}")


def planned(source: Source, ctx: Context) -> str:
    """What a plan asks of a source."""
    pin = source.pin(ctx)
    assert source.size(ctx) == COUNT
    source.classes(ctx)
    return pin


def pictures(source: Source, ctx: Context, start: int = 0, stop: int = COUNT) -> list[bytes]:
    items = list(source.read(start, stop, ctx))
    assert not [item for item in items if isinstance(item, Failure)]
    return [item.image for item in items if isinstance(item, Sample)]


# ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@every_kind
@pytest.mark.parametrize("way", ["in place", "renamed over", "same times"])
def test_another_content_of_the_same_length_is_an_error(kind, way, tmp_path, ctx):
    source, file = made(kind, tmp_path)
    pin = planned(source, ctx)
    before = file.stat()
    (tmp_path / "other").mkdir()
    KINDS[kind](tmp_path / "other", [9, *range(1, COUNT)])
    data = (tmp_path / "other" / file.relative_to(tmp_path / "data")).read_bytes()
    assert len(data) == before.st_size
    if way == "renamed over":
        (tmp_path / "new").write_bytes(data)
        (tmp_path / "new").replace(file)
    else:
        file.write_bytes(data)
    if way == "same times":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SourceChanged, match=f"{file.name}: it has changed since the run began"):
        list(source.read(0, 1, ctx))
    again = KINDS[kind](tmp_path / "data", [9, *range(1, COUNT)])
    assert planned(again, ctx) != pin
    assert pictures(again, ctx) == [png(value) for value in (9, 1, 2, 3)]


@every_kind
def test_a_file_that_was_only_touched_or_copied_over_is_the_same(kind, tmp_path, ctx):
    source, file = made(kind, tmp_path)
    planned(source, ctx)
    os.utime(file)
    assert pictures(source, ctx, 0, 2) == [png(0), png(1)]
    (tmp_path / "copy").write_bytes(file.read_bytes())
    (tmp_path / "copy").replace(file)
    assert pictures(source, ctx, 2, 4) == [png(2), png(3)]


@every_kind
def test_a_change_during_a_unit_is_an_error_before_its_last_item(kind, tmp_path, ctx):
    source, file = made(kind, tmp_path)
    planned(source, ctx)
    items = source.read(0, COUNT, ctx)
    first = next(items)
    with file.open("ab") as opened:
        opened.write(b"more")
    if kind in ("hub folder", "coco"):  # each picture is hashed when it is read, and this one was
        assert first.image == png(0)
        return
    with pytest.raises(SourceChanged):
        list(items)


@every_kind
def test_a_drive_that_drops_out_is_no_data_and_comes_back(kind, tmp_path, ctx):
    source, _ = made(kind, tmp_path)
    pin = planned(source, ctx)
    healthy = list(source.read(0, COUNT, ctx))
    (tmp_path / "data").rename(tmp_path / "away")
    with pytest.raises(TemporaryError, match="is gone"):
        list(source.read(0, COUNT, ctx))
    (tmp_path / "data").mkdir()  # a mount point without its drive
    with pytest.raises(TemporaryError, match=r"is empty now|is gone"):
        list(source.read(0, COUNT, ctx))
    (tmp_path / "data").rmdir()
    (tmp_path / "away").rename(tmp_path / "data")
    assert list(source.read(0, COUNT, ctx)) == healthy
    assert source.pin(ctx) == pin


@every_kind
def test_one_file_that_is_gone_is_a_change(kind, tmp_path, ctx):
    source, file = made(kind, tmp_path)
    planned(source, ctx)
    (file.parent / "another").write_text("so that the folder isn't empty")
    file.unlink()
    with pytest.raises(SourceChanged, match=f"{file.name}: it has changed since the run began .*No such file"):
        list(source.read(0, 1, ctx))


@every_kind
def test_a_file_that_becomes_a_fifo_is_not_waited_for(kind, tmp_path, ctx):
    source, file = made(kind, tmp_path)
    planned(source, ctx)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SourceChanged, match="it is a FIFO"):
        list(source.read(0, 1, ctx))


def test_annotations_that_change_are_noticed_though_the_file_is_open(tmp_path, ctx):
    for way in ("in place", "renamed over"):
        source, _ = made("coco", tmp_path)
        planned(source, ctx)
        other = tmp_path / "other"
        (other / "pictures").mkdir(parents=True, exist_ok=True)
        annotated(other, width=5)
        if way == "in place":
            (tmp_path / "data" / "a.json").write_bytes((other / "a.json").read_bytes())
        else:
            (other / "a.json").replace(tmp_path / "data" / "a.json")
        for read in (source.read, source.outline):
            with pytest.raises(SourceChanged, match=r"a\.json: it has changed"):
                list(read(0, COUNT, ctx))


def test_an_open_row_group_is_not_read_on_after_its_file_was_replaced(tmp_path, ctx):
    source, file = made("parquet", tmp_path)
    planned(source, ctx)
    assert pictures(source, ctx, 0, 1) == [png(0)]
    (tmp_path / "other").mkdir()
    parquet(tmp_path / "other", [9, 8, 7, 6])
    (tmp_path / "other" / "a.parquet").replace(file)
    with pytest.raises(SourceChanged):
        list(source.read(1, 2, ctx))


def test_a_missing_picture_of_an_annotation_file_must_stay_missing(tmp_path, ctx):
    source, file = made("coco", tmp_path)
    file.unlink()
    planned(source, ctx)
    (missing, *_) = source.read(0, COUNT, ctx)
    assert (missing.reason, missing.detail) == ("unreadable", "0.png: there is no such file")
    file.write_bytes(png(0))
    with pytest.raises(SourceChanged, match="it couldn't be read then"):
        list(source.read(0, COUNT, ctx))


def test_an_index_is_kept_only_for_the_content_that_it_was_made_of(tmp_path, ctx, monkeypatch):
    """A file that is replaced between the hash and the index would else give every later run a wrong index."""
    from variorum.sources.coco_files import file as coco_file
    from variorum.sources.tars import set as tar_set

    source, file = made("tar", tmp_path)
    whole, first = file.read_bytes(), tar_set.build_index

    def shortened(*args):
        tar(tmp_path / "data", [1])
        return first(*args)

    monkeypatch.setattr(tar_set, "build_index", shortened)
    with pytest.raises(SourceChanged):
        source.size(ctx)
    monkeypatch.setattr(tar_set, "build_index", first)
    file.write_bytes(whole)
    assert pictures(tar(tmp_path / "data", range(COUNT)), ctx) == [png(value) for value in range(COUNT)]

    source, _ = made("coco", tmp_path)
    build = coco_file.build_index

    def changed(*args):
        annotated(tmp_path / "data", width=5)
        build(*args)

    monkeypatch.setattr(coco_file, "build_index", changed)
    with pytest.raises(SourceChanged):
        source.size(ctx)
    monkeypatch.setattr(coco_file, "build_index", build)
    (sample, *_) = annotated(tmp_path / "data").read(0, 1, ctx)
    assert sample.annotations.objects[0].box == (1, 2, 3, 4)


# ── errors that may pass ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def no_descriptors():
    """All descriptors of the process are used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 40, hard))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@every_kind
def test_without_descriptors_nothing_is_sealed_as_unreadable(kind, tmp_path, ctx):
    source, _ = made(kind, tmp_path)
    pin = planned(source, ctx)
    healthy = list(source.read(0, COUNT, ctx))
    with no_descriptors(), pytest.raises(TemporaryError, match="Too many open files"):
        list(source.read(0, COUNT, ctx))
    assert list(source.read(0, COUNT, ctx)) == healthy
    again, _ = made(kind, tmp_path)
    with no_descriptors(), pytest.raises(TemporaryError, match="Too many open files"):
        again.pin(ctx)
    assert again.pin(ctx) == pin


@pytest.mark.parametrize("kind", ["tar", "coco"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT])
def test_errors_of_a_disk_are_tried_again_and_raised(kind, number, tmp_path, ctx, monkeypatch):
    source, _ = made(kind, tmp_path)
    planned(source, ctx)
    healthy = list(source.read(0, COUNT, ctx))
    real, failures = os.pread, iter([True, True])

    def twice(*args):
        if next(failures, False):
            raise OSError(number, os.strerror(number))
        return real(*args)

    monkeypatch.setattr(os, "pread", twice)
    assert list(source.read(0, COUNT, ctx)) == healthy
    failures = iter([True] * 99)
    with pytest.raises(TemporaryError, match=os.strerror(number)):
        list(source.read(0, COUNT, ctx))


def test_a_row_group_goes_on_after_an_error_that_passes(tmp_path, ctx, monkeypatch):
    source, _ = made("parquet", tmp_path)
    planned(source, ctx)
    real, failures = pq.ParquetFile.iter_batches, iter([True])

    def once(self, *args, **fields):
        for batch in real(self, 2, **fields):
            yield batch
            if next(failures, False):
                raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", once)
    assert pictures(source, ctx) == [png(value) for value in range(COUNT)]
    failures = iter([True] * 99)
    with pytest.raises(TemporaryError, match="Input/output error"):
        list(source.read(0, COUNT, ctx))


# ── what isn't a file ────────────────────────────────────────────────────────────────────────────────────────────────


def odd_things(folder: Path, ending: str) -> int:
    """Things with the ending of a container that are none; says how many."""
    os.mkfifo(folder / f"fifo{ending}")
    (folder / f"itself{ending}").symlink_to(f"itself{ending}")
    (folder / f"nowhere{ending}").symlink_to("nothing")
    (folder / f"to_fifo{ending}").symlink_to(f"fifo{ending}")
    (folder / f"null{ending}").symlink_to("/dev/zero")
    place = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{place}/socket{ending}")
    os.close(place)
    (folder / f"folder{ending}").mkdir()
    return 6


def test_odd_things_among_tars_are_counted(tmp_path, ctx, caplog):
    source, _ = made("tar", tmp_path)
    number = odd_things(tmp_path / "data", ".tar")
    assert pictures(source, ctx) == [png(value) for value in range(COUNT)]
    assert f"what isn't a file is left out, {number} in all, such as " in caplog.text
    for name in ("fifo", "itself", "nowhere", "null", "socket", "folder"):
        with pytest.raises(SourceError, match=rf"{name}\.tar|folder"):
            Webdataset(shards=str(tmp_path / "data" / f"{name}.tar")).size(ctx)


def test_odd_things_in_a_folder_of_parquet_files_are_counted(tmp_path, ctx, caplog):
    made("parquet", tmp_path)
    folder = tmp_path / "data"
    number = odd_things(folder, ".parquet")
    (folder / "loop").symlink_to(".")
    for name in ("a.csv", "b.csv", "c.arrow", "README.md", ".hidden.parquet"):
        (folder / name).write_text("")
    source = Parquet(files=str(folder))
    assert pictures(source, ctx) == [png(value) for value in range(COUNT)]
    assert f"what isn't a file is left out, {number + 1} in all, such as " in caplog.text
    assert "aren't read: 2 .csv, 1 .arrow" in caplog.text
    for name in ("fifo", "itself", "nowhere", "null", "socket"):
        with pytest.raises(SourceError, match=rf"{name}\.parquet"):
            Parquet(files=str(folder / f"{name}.parquet")).size(ctx)


def test_odd_things_in_a_folder_for_datasets_are_counted(tmp_path, ctx, caplog):
    source, _ = made("hub folder", tmp_path)
    number = odd_things(tmp_path / "data", ".png")
    (tmp_path / "data" / "a.heic").write_text("")
    assert pictures(source, ctx) == [png(value) for value in range(COUNT)]
    assert f"what isn't a file is left out, {number} in all, such as " in caplog.text
    assert "aren't read: 1 .heic" in caplog.text
    os.mkfifo(tmp_path / "data" / "README.md")
    with pytest.raises(SourceError, match=r"README\.md is a FIFO"):
        HuggingFace(dataset=str(tmp_path / "data")).size(ctx)


def test_odd_things_in_place_of_annotations_and_pictures(tmp_path, ctx):
    made("coco", tmp_path)
    folder = tmp_path / "data"
    odd_things(folder, ".json")
    for name in ("fifo", "itself", "nowhere", "null", "socket", "folder", "n" * 300):
        with pytest.raises(SourceError, match=f"{name[:200]}"):
            Coco(annotations=folder / f"{name}.json", pictures=folder / "pictures").size(ctx)
        with pytest.raises(SourceError, match=r"^coco: "):
            Coco(annotations=folder / "a.json", pictures=folder / f"{name}.json").pin(ctx)
    odd_things(folder / "pictures", ".odd")
    (folder / "pictures" / "0.png").unlink()
    os.mkfifo(folder / "pictures" / "0.png")
    (folder / "pictures" / "1.png").unlink()
    (folder / "pictures" / "1.png").symlink_to("1.png")
    first, second, *rest = Coco(annotations=folder / "a.json", pictures=folder / "pictures").read(0, COUNT, ctx)
    assert (first.reason, first.detail) == ("unreadable", "0.png: is a FIFO, not a file")
    assert second.reason == "unreadable"
    assert [sample.image for sample in rest] == [png(2), png(3)]


@pytest.mark.parametrize("kind", ["tar", "parquet", "hub folder"])
def test_names_that_are_no_utf8_are_read(kind, tmp_path, ctx):
    _, file = made(kind, tmp_path)
    os.rename(file, os.fsencode(file.parent) + b"/caf\xe9" + os.fsencode(file.suffix))
    again = {
        "tar": lambda: Webdataset(shards=f"{tmp_path}/data/*.tar"),
        "parquet": lambda: Parquet(files=f"{tmp_path}/data", label="label"),
        "hub folder": lambda: HuggingFace(dataset=f"{tmp_path}/data"),
    }[kind]()
    planned(again, ctx)
    items = list(again.read(0, COUNT, ctx))
    assert {item.image for item in items} == {png(value) for value in range(COUNT)}
    assert all(item.id.isascii() and item.origin.encode() for item in items)


def test_patterns_find_what_glob_finds(tmp_path, ctx):
    import glob

    from variorum.sources.folders.patterns import matching_files

    for name in ("a.tar", "b/c.tar", "b/.d.tar", ".e/f.tar", "b/g/h.tar", "[x]/i.tar", "j.tgz", "b/g/k/l.tar"):
        path = tmp_path / "x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for pattern in ("*.tar", "**/*.tar", "*/*.tar", "**", "b/**", "b/**/l.tar", "?/g/*", "[[]x]/*", "b/.*", "no/*"):
        place = f"{tmp_path}/x/{pattern}"
        expected = {name for name in glob.glob(place, recursive=True) if os.path.isfile(name)}
        assert set(matching_files(place, "x")) == expected, pattern
    (tmp_path / "x" / "b" / "loop").symlink_to("..")
    assert len(matching_files(f"{tmp_path}/x/**/*.tar", "x")) == 5


# ── datasets and editions that say too much of themselves ────────────────────────────────────────────────────────────


def test_a_dataset_whose_description_counts_wrong(tmp_path, ctx):
    made("parquet", tmp_path)
    readme = "---\ndataset_info:\n  splits:\n  - name: train\n    num_examples: {}\n    num_bytes: 1\n---\n"
    for number, problem in ((10**12, "says that it has 1000000000000 rows"), (-3, "says"), (9, "has only 4 rows")):
        (tmp_path / "data" / "README.md").write_text(readme.format(number))
        source = HuggingFace(dataset=str(tmp_path / "data"))
        with pytest.raises(SourceError, match=problem):
            list(source.read(0, source.size(ctx), ctx))


def test_an_archive_with_a_damaged_member_costs_that_picture(tmp_path, ctx):
    source, file = made("hub zip", tmp_path)
    data = file.read_bytes()
    place = data.index(png(2)) + 60
    file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    items = list(source.read(0, COUNT, ctx))
    assert [item.reason for item in items] == ["", "", "unreadable", ""]
    assert "BadZipFile" in items[2].detail


def test_a_damaged_row_ends_the_stream_of_datasets_in_one_line(tmp_path, ctx):
    parquet(tmp_path, range(COUNT))
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    place = data.index(png(0))
    data[place - 40 : place] = b"\xff" * 40
    (tmp_path / "a.parquet").write_bytes(data)
    source = HuggingFace(dataset="parquet", data_files=str(tmp_path / "a.parquet"))
    with pytest.raises(SourceError, match=r"split 'train' of 'parquet': .*OSError") as raised:
        list(source.read(0, COUNT, ctx))
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_no_edition(tmp_path, ctx):
    for name in ("n" * 300, "/", "\0"):
        with pytest.raises(SourceError, match="is no edition's folder"):
            Edition(edition=name).size(ctx)
