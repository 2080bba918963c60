import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest

from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import ENHANCED
from variorum.sources.fashion_mnist import FashionMnist
from variorum.sources.folders.idx import read_idx

pytestmark = pytest.mark.usefixtures("own_cache")


def write_part(folder, part, images, labels):
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4i", 0x803, *images.shape) + images.tobytes())
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">2i", 0x801, len(labels)) + bytes(labels))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 20)):
        write_part(tmp_path, part, rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), [k % 10 for k in range(n)])
    return tmp_path


@pytest.fixture
def ctx():
    return Context(0, ModelTable("embedded"), lambda key, compute: compute())


def test_pictures_are_the_files_with_the_judges_class_ids(folder, ctx):
    source = FashionMnist(path=folder)
    samples = list(source.read(0, 99, ctx))
    images = read_idx(folder / "train-images-idx3-ubyte.gz")
    assert source.size(ctx) == len(samples) == 40
    for number in (0, 13, 39):
        assert samples[number].image.shape == (28, 28, 3)
        assert (samples[number].image == images[number][..., None]).all()
    assert [info.id for info in source.classes(ctx)] == list(ctx.models.get("judge").classes)
    assert samples[13].labels == ("dress",)
    assert samples[13].origin == "train/13"
    assert {sample.licence for sample in samples} == {"MIT"}
    assert {sample.digital_source_type for sample in samples} == {ENHANCED}
    assert list(map(str, source.read(5, 9, ctx))) == list(map(str, samples[5:9]))


def test_parts_share_no_picture(folder, ctx):
    train, test = FashionMnist(path=folder), FashionMnist(path=folder, part="test")
    assert test.size(ctx) == 20
    ids = [{sample.id for sample in source.read(0, 99, ctx)} for source in (train, test)]
    assert not ids[0] & ids[1]
    assert train.pin(ctx) != test.pin(ctx)


def test_per_class_keeps_the_first_of_each_and_their_ids(folder, ctx):
    few = FashionMnist(path=folder, per_class=2)
    samples = list(few.read(0, 99, ctx))
    assert [sample.origin for sample in samples] == [f"train/{k}" for k in range(20)]
    assert {s.id for s in samples} < {s.id for s in FashionMnist(path=folder).read(0, 99, ctx)}


def test_the_pin_is_of_what_the_files_hold_and_not_of_their_place(folder, tmp_path, ctx):
    pin = FashionMnist(path=folder).pin(ctx)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in folder.glob("train*"):
        (elsewhere / file.name).write_bytes(file.read_bytes())
    moved = FashionMnist(path=elsewhere)
    assert (moved.pin(ctx), moved.fingerprint()) == (pin, FashionMnist(path=folder).fingerprint())
    write_part(elsewhere, "train", np.zeros((10, 28, 28), np.uint8), list(range(10)))
    assert FashionMnist(path=elsewhere).pin(ctx) != pin


def test_without_the_files_the_package_is_named(tmp_path, ctx):
    source = FashionMnist(path=tmp_path / "nowhere")
    for ask in (source.size, source.pin, lambda ctx: list(source.read(0, 1, ctx))):
        with pytest.raises(SourceError, match="install Debian's package dataset-fashion-mnist, or set path"):
            ask(ctx)


def test_files_that_do_not_fit_are_refused(folder, ctx):
    write_part(folder, "t10k", np.zeros((4, 28, 28), np.uint8), [1, 2, 3])
    with pytest.raises(SourceError, match="don't match"):
        FashionMnist(path=folder, part="test").size(ctx)
    write_part(folder, "t10k", np.zeros((2, 28, 28), np.uint8), [1, 17])
    with pytest.raises(SourceError, match="don't match"):
        FashionMnist(path=folder, part="test").size(ctx)


def test_files_are_unpacked_once_for_their_content(folder, tmp_path, ctx, monkeypatch):
    def sizes():
        return [FashionMnist(path=folder, per_class=number).size(kept) for number in (1, 3)]

    kept = replace(ctx, memo=DiskMemo(tmp_path / "memo"))
    assert sizes() == [10, 30]
    with monkeypatch.context() as patch:
        patch.setattr(gzip, "decompress", lambda _: pytest.fail("it is unpacked again"))
        assert sizes() == [10, 30]
    write_part(folder, "train", np.zeros((4, 28, 28), np.uint8), [1, 2, 3])
    with pytest.raises(SourceError, match="don't match"):
        sizes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b not gzip", "can't be unpacked"),
        (gzip.compress(b"GIF89a"), "not an IDX file"),
        (gzip.compress(struct.pack(">4i", 0x803, 2, 28, 28) + b"\0" * 100), "doesn't match its header"),
        (gzip.compress(struct.pack(">2i", 0x803, 2)), "doesn't match its header"),
        (gzip.compress(struct.pack(">2i", 0x0D01, 2) + b"\0" * 8), "not an IDX file of unsigned bytes"),
    ],
    ids=["no gzip", "another format", "too short", "no dimensions", "other numbers"],  # gzip's bytes hold the time
)
def test_other_files_are_refused(tmp_path, content, message):
    file = tmp_path / "x.gz"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_idx(file)


def test_an_unpacked_file_is_read_too(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(struct.pack(">3i", 0x802, 2, 3) + bytes(range(6)))
    assert read_idx(file).tolist() == [[0, 1, 2], [3, 4, 5]]
