"""What is read is what was pinned, and what fails for now isn't sealed as data."""

from __future__ import annotations

import errno
import gzip
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hostile_files import nobody
from PIL import Image

from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.machine import retrying as steady
from variorum.machine.memo import DiskMemo
from variorum.pipeline import Job, build
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import SourceChanged, SourceError, TemporaryError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure, Sample
from variorum.sources import fashion_mnist, samples
from variorum.sources.class_names import ClassNames
from variorum.sources.fashion_mnist import FashionMnist
from variorum.sources.folders import metadata_files
from variorum.sources.image_folder import ImageFolder
from variorum.sources.imagenet import ImageNet
from variorum.sources.samples import Samples
from variorum.stages.build import decoded
from variorum.stages.job import models

CHANGED = "it has changed since the run began"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(steady, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder of sixteen PNGs of the same size in bytes, not changed for a minute."""
    for number in range(16):
        picture(tmp_path / "photos" / f"{number:02}.png", number)
    return tmp_path / "photos"


def picture(path: Path, value: int, size: tuple[int, int] = (16, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path, compress_level=0)
    os.utime(path, ns=((path.stat().st_mtime_ns - 60 * 10**9),) * 2)
    return path


def swap(path: Path, value: int) -> None:
    """Another picture of the same size in bytes, with the modification time of before."""
    before = path.stat()
    picture(path, value)
    os.utime(path, ns=(before.st_mtime_ns,) * 2)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def everything(source: Source, ctx: Context) -> list[Sample | Failure]:
    return list(source.read(0, source.size(ctx), ctx))


def job(folder: Path, store: Path) -> Job:
    source = {"name": "image_folder", "path": str(folder)}
    recipe = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 8, "source": source}
    return Job(Recipe.parse(recipe), str(store))


@pytest.fixture
def after(monkeypatch) -> Callable[[int, Callable[[], object]], None]:
    """Does something, in the thread that reads, when a number of pictures has been read."""

    def watch(number: int, action: Callable[[], object]) -> None:
        read = count(1)

        def watched(items: Iterable[Sample | Failure]) -> Iterator[Sample | Failure]:
            for item in decoded(items):
                if next(read) == number:
                    action()
                yield item

        monkeypatch.setattr("variorum.stages.build.decoded", watched)

    return watch


# ── while an edition is built ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("read_before", [1, 5, 11])
def test_a_drive_that_drops_out_and_comes_back(root, tmp_path, own_cache, after, read_before):
    undisturbed = build(job(root, tmp_path / "undisturbed")).digest()
    away = tmp_path / "away"
    after(read_before, lambda: root.rename(away))
    with pytest.raises(TemporaryError, match=r"the folder .*photos is gone.*run the same command again") as caught:
        build(job(root, tmp_path / "store"))
    assert "\n" not in str(caught.value)
    away.rename(root)
    manifest = build(job(root, tmp_path / "store"))
    assert manifest.digest() == undisturbed
    assert manifest.counts == {"original": {"accepted": 16}}


def change(root: Path) -> None:
    swap(root / "05.png", 77)


def remove(root: Path) -> None:
    (root / "05.png").unlink()


def replace_by_fifo(root: Path) -> None:
    (root / "05.png").unlink()
    os.mkfifo(root / "05.png")


def replace_by_link_to_itself(root: Path) -> None:
    (root / "05.png").unlink()
    (root / "05.png").symlink_to("05.png")


def cut(root: Path) -> None:
    os.truncate(root / "05.png", 100)


@pytest.mark.parametrize("attack", [change, remove, replace_by_fifo, replace_by_link_to_itself, cut])
def test_a_picture_that_changes_between_plan_and_reading(root, tmp_path, own_cache, after, attack):
    store = tmp_path / "store"
    after(2, lambda: attack(root))
    with pytest.raises(SourceChanged, match=rf"05\.png: {CHANGED}") as caught:
        build(job(root, store))
    assert "\n" not in str(caught.value)
    manifest = build(job(root, store))
    assert manifest.digest() == build(job(root, tmp_path / "undisturbed")).digest()
    rows = {row["origin"]: row["status"] for row in read_table(Store(str(store)), manifest.rows).to_pylist()}
    assert rows.get("05.png") == {change: "accepted", remove: None}.get(attack, "failed")


FEW = """
import json, os, resource, sys
from variorum.machine import retrying
from variorum.pipeline import Job, build
from variorum.schemas.errors import VariorumError
from variorum.schemas.recipe import Recipe

retrying.PAUSES = (0, 0, 0)
recipe, store = json.loads(sys.argv[1]), sys.argv[2]
undisturbed = build(Job(Recipe.parse(recipe), f"{store}/undisturbed")).digest()
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
for free in range(9):
    job = Job(Recipe.parse(recipe), f"{store}/{free}")
    job.plan
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + free, limits[1]))
    try:
        ended = "done" if build(job).digest() == undisturbed else "other data"
    except VariorumError as error:
        ended = str(error)
    except OSError as error:  # of the store
        ended = str(error)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    same = build(Job(Recipe.parse(recipe), f"{store}/{free}")).digest() == undisturbed
    print(json.dumps([ended, same]))
"""


def test_few_open_files(root, tmp_path, own_cache):
    """The limit is met while reading, or while writing: it ends well or in a line, and the same command mends it."""
    script = [sys.executable, "-c", FEW, json.dumps(job(root, tmp_path / "s").recipe.dump()), str(tmp_path / "s")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=True)
    ended = [json.loads(line) for line in done.stdout.splitlines()]
    assert [same for _, same in ended] == [True] * 9
    said = [how for how, _ in ended]
    assert said[-1] == "done"
    assert any("Too many open files" in how for how in said)
    assert all(how == "done" or ("Too many open files" in how and "\n" not in how) for how in said)


# ── what a source reads ──────────────────────────────────────────────────────────────────────────────────────────────


def failing(monkeypatch: pytest.MonkeyPatch, name: str, path: Path, code: int, times: int) -> list[int]:
    """Let a function of `os` fail for a path, this many times; the list gets an entry for each call with the path."""
    real, calls = getattr(os, name), []

    def call(where, *rest, **options):
        if isinstance(where, str | Path) and Path(where) == path:
            calls.append(1)
            if len(calls) <= times:
                raise OSError(code, os.strerror(code))
        return real(where, *rest, **options)

    monkeypatch.setattr(os, name, call)
    return calls


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM])
def test_a_failing_disk_makes_no_row(root, ctx, monkeypatch, code):
    healthy = everything(ImageFolder(path=root), ctx)
    source = ImageFolder(path=root)
    source.pin(ctx)
    with monkeypatch.context() as patch:
        calls = failing(patch, "open", root / "05.png", code, times=2)
        assert everything(source, ctx) == healthy
        assert len(calls) == 3
    failing(monkeypatch, "open", root / "05.png", code, times=99)
    items = source.read(0, 16, ctx)
    assert [next(items) for _ in range(5)] == healthy[:5]
    with pytest.raises(TemporaryError, match=r"05\.png: can't be read now"):
        next(items)


@pytest.mark.parametrize(("name", "what"), [("open", "05.png"), ("scandir", "deep")])
def test_a_failing_disk_changes_no_pin(root, ctx, monkeypatch, name, what):
    picture(root / "deep" / "x.png", 99)
    healthy = ImageFolder(path=root, labels="none").pin(ctx)
    hashes = Path(os.environ["VARIORUM_CACHE"]) / "hashes"
    shutil.rmtree(hashes)
    with monkeypatch.context() as patch:
        failing(patch, name, root / what, errno.EIO, times=2)
        assert ImageFolder(path=root, labels="none").pin(ctx) == healthy
    shutil.rmtree(hashes)
    failing(monkeypatch, name, root / what, errno.EIO, times=99)
    with pytest.raises(TemporaryError, match=f"{what}: can't be read now"):
        ImageFolder(path=root, labels="none").pin(ctx)


def test_no_free_descriptor_makes_no_row(root, ctx):
    source = ImageFolder(path=root)
    source.pin(ctx)
    healthy = everything(source, ctx)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    items = source.read(0, 16, ctx)
    assert next(items) == healthy[0]
    highest = max(map(int, os.listdir("/proc/self/fd")))
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(TemporaryError, match=r"01\.png: can't be read now \(Too many open files; raise the limit"):
            next(items)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert everything(source, ctx) == healthy


def test_pictures_that_go_while_they_are_pinned(root, ctx, tmp_path):
    source = ImageFolder(path=root)
    assert source.size(ctx) == 16
    (root / "05.png").unlink()
    with pytest.raises(SourceChanged, match=rf"05\.png: {CHANGED}"):
        source.pin(ctx)
    root.rename(tmp_path / "away")
    with pytest.raises(TemporaryError, match="is gone"):
        source.pin(ctx)


def test_a_changed_picture_is_seen_by_the_next_run(root, ctx):
    """The cache of hashes knows it under its size and times; a bit that flips on the disk changes none of them."""
    before = ImageFolder(path=root).pin(ctx)
    swap(root / "05.png", 77)
    source = ImageFolder(path=root)
    assert source.pin(ctx) != before
    (cache,) = (Path(os.environ["VARIORUM_CACHE"]) / "hashes").iterdir()
    kept = source._pins.pictures["06.png"].sha256
    cache.write_text(cache.read_text().replace(kept, "0" * 64))
    flipped = ImageFolder(path=root)
    with pytest.raises(SourceChanged, match=r"06\.png"):
        everything(flipped, ctx)
    assert ImageFolder(path=root).pin(ctx) == source.pin(ctx)
    assert len(everything(ImageFolder(path=root), ctx)) == 16


def test_what_was_unreadable_and_is_readable_now(root, ctx):
    (root / "link.png").symlink_to("later.png")
    source = ImageFolder(path=root)
    found = everything(source, ctx)
    assert [item.origin for item in found if isinstance(item, Failure)] == ["link.png"]
    picture(root / "later.png", 3)
    with pytest.raises(SourceChanged, match=r"link\.png: .*it couldn't be read then"):
        everything(source, ctx)


def test_permissions_are_facts_and_changes_of_them_are_changes(ctx, monkeypatch, caplog):
    with nobody() as folder:
        monkeypatch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        for name in ("a.png", "b.png", "closed/c.png"):
            picture(folder / "photos" / name, 1)
        root = folder / "photos"
        (root / "b.png").chmod(0)
        (root / "closed").chmod(0)
        try:
            source = ImageFolder(path=root, labels="none")
            good, closed = everything(source, ctx)
            assert isinstance(good, Sample)
            assert (closed.reason, closed.detail) == ("unreadable", "b.png: Permission denied")
            assert "1 folder" in caplog.text
            assert "(the first: closed: Permission denied)" in caplog.text
            (root / "b.png").chmod(0o600)
            with pytest.raises(SourceChanged, match="couldn't be read then"):
                everything(source, ctx)
            (root / "a.png").chmod(0)
            with pytest.raises(SourceChanged, match="Permission denied"):
                everything(source, ctx)
        finally:
            (root / "closed").chmod(0o700)


def test_masks_are_what_was_pinned(root, ctx, tmp_path):
    masks = tmp_path / "masks"
    for number in range(15):
        picture(masks / f"{number:02}.png", 255)
    for attack, problem in (
        (lambda: swap(masks / "03.png", 0), "another content"),
        (lambda: (masks / "03.png").unlink(), "No such file"),
    ):
        picture(masks / "03.png", 255)
        source = ImageFolder(path=root, masks=masks)
        source.pin(ctx)
        attack()
        with pytest.raises(SourceChanged, match=rf"masks/03\.png: .*{problem}"):
            everything(source, ctx)
    source = ImageFolder(path=root, masks=masks)
    source.size(ctx)
    masks.rename(tmp_path / "away")
    with pytest.raises(TemporaryError, match="masks is gone"):
        source.pin(ctx)


def test_metadata_is_what_was_pinned(root, ctx, tmp_path):
    file = root / "metadata.jsonl"
    rows = [f'{{"file_name": "{number:02}.png", "text": "one"}}\n' for number in range(16)]
    file.write_text("".join(rows))
    source = ImageFolder(path=root)
    pin = source.pin(ctx)
    texts = [sample.annotations.texts for sample in everything(source, ctx)]
    os.utime(file)
    assert [sample.annotations.texts for sample in everything(source, ctx)] == texts
    file.write_text("".join(rows).replace("one", "two"))
    with pytest.raises(SourceChanged, match=rf"metadata\.jsonl: {CHANGED}"):
        everything(source, ctx)
    assert ImageFolder(path=root).pin(ctx) != pin
    root.rename(tmp_path / "away")
    with pytest.raises(TemporaryError, match="photos is gone"):
        everything(source, ctx)


def test_metadata_that_changes_while_it_is_loaded(root, ctx, monkeypatch):
    file = root / "labels.csv"
    file.write_text("file_name,label\n00.png,cat\n")
    real = metadata_files.read_metadata_file

    def slow(*arguments):
        file.write_text("file_name,label\n00.png,dog\n")
        return real(*arguments)

    monkeypatch.setattr(metadata_files, "read_metadata_file", slow)
    with pytest.raises(SourceChanged, match=rf"labels\.csv: {CHANGED}"):
        ImageFolder(path=root).size(ctx)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_metadata_on_a_failing_disk(root, ctx, monkeypatch, name):
    (root / name).write_bytes(b"")
    real, calls = os.open, []

    def broken(where, *rest, **options):
        if str(where).endswith(name):
            calls.append(1)
            if len(calls) > 1:  # it could be pinned
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(where, *rest, **options)

    monkeypatch.setattr(os, "open", broken)
    with pytest.raises(TemporaryError, match=rf"{name}: can't be read now"):
        ImageFolder(path=root).size(ctx)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet", "labels.csv"])
def test_a_metadata_file_that_is_a_fifo_is_an_error(root, ctx, name):
    os.mkfifo(root / name)
    with pytest.raises(SourceError, match=rf"{name}: it is a FIFO, not a file; or set metadata to none"):
        ImageFolder(path=root).size(ctx)
    assert ImageFolder(path=root, metadata="none").size(ctx) == 16


def test_imagenet_reads_what_it_pinned(ctx, tmp_path):
    root, masks = tmp_path / "imagenet" / "n01440764", tmp_path / "masks" / "n01440764"
    for number in range(3):
        picture(root / f"{number}.png", number)
        picture(masks / f"{number}.png", 1)
    source = ImageNet(path=root.parent, masks=masks.parent)
    assert all(isinstance(item, Sample) for item in everything(source, ctx))
    (masks / "1.png").write_bytes((masks / "1.png").read_bytes()[:60])
    reasons = [getattr(item, "reason", "") for item in everything(ImageNet(path=root.parent, masks=masks.parent), ctx)]
    assert reasons == ["", "bad_mask", ""]
    for attack in (lambda: swap(root / "2.png", 9), lambda: swap(masks / "2.png", 9)):
        source = ImageNet(path=root.parent, masks=masks.parent)
        source.pin(ctx)
        attack()
        with pytest.raises(SourceChanged, match=rf"2\.png: {CHANGED}"):
            everything(source, ctx)


def test_fashion_mnist_reads_what_it_pinned(ctx, tmp_path, monkeypatch):
    def write(value: int) -> None:
        images = np.full((4, 28, 28), value, np.uint8)
        with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4i", 0x803, *images.shape) + images.tobytes())
        with gzip.open(tmp_path / "train-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">2i", 0x801, 4) + bytes(range(4)))

    write(1)
    source = FashionMnist(path=tmp_path)
    source.pin(ctx)
    write(2)
    with pytest.raises(SourceChanged, match=rf"images-idx3-ubyte\.gz: {CHANGED}"):
        source.size(ctx)
    source = FashionMnist(path=tmp_path)
    source.pin(ctx)
    real, calls = fashion_mnist.read_idx, []

    def flaky(path):
        calls.append(path)
        if len(calls) < 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    monkeypatch.setattr(fashion_mnist, "read_idx", flaky)
    assert source.size(ctx) == 4


def test_samples_are_made_of_what_was_pinned(ctx, tmp_path, monkeypatch):
    copy = tmp_path / "chelsea.png"
    shutil.copy(samples._photograph("chelsea.png"), copy)
    monkeypatch.setattr(samples, "_photograph", lambda _name: copy)
    source = Samples(stamps="none")
    source.pin(ctx)
    copy.write_bytes(copy.read_bytes() + b"more")
    with pytest.raises(SourceChanged, match=r"chelsea\.png"):
        everything(source, ctx)


def test_a_table_of_classes_on_a_failing_disk(ctx, tmp_path, monkeypatch):
    table = tmp_path / "classes.csv"
    table.write_text("id,name\na,ant\n")
    os.mkfifo(tmp_path / "fifo.csv")
    with pytest.raises(SourceError, match="it is a FIFO"):
        ClassNames(table=str(tmp_path / "fifo.csv")).size(ctx)
    with monkeypatch.context() as patch:
        failing(patch, "open", table, errno.EIO, times=2)
        assert ClassNames(table=str(table), per_class=2).size(ctx) == 2
    failing(monkeypatch, "open", table, errno.EIO, times=99)
    with pytest.raises(TemporaryError, match=r"classes\.csv: can't be read now"):
        ClassNames(table=str(table)).size(ctx)
