import contextlib
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from variorum.edition.shards import MAX_NAME, ShardWriter, _header, read_shard, sample_at
from variorum.schemas.errors import CorruptShard, StoreError

KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
ENDINGS = st.from_regex(r"[a-z0-9]{1,5}(\.[a-z0-9]{1,4})?", fullmatch=True)
SIZES = st.sampled_from([0, 1, 511, 512, 513, 1024, 5000])


@st.composite
def shards(draw, min_samples=0):
    """Samples for a shard: (key, {ending: content}), with unique keys and the same members."""
    keys = draw(st.lists(KEYS, unique=True, min_size=min_samples, max_size=6))
    endings = draw(st.lists(ENDINGS, unique=True, min_size=1, max_size=3))
    fill = st.builds(lambda size, byte: bytes([byte]) * size, SIZES, st.integers(0, 255))
    return [(key, {ending: draw(fill) for ending in endings}) for key in keys]


def write(path: Path, samples) -> tuple[ShardWriter, list[int]]:
    path.unlink(missing_ok=True)
    with ShardWriter(path) as writer:
        starts = [writer.write(key, members) for key, members in samples]
    return writer, starts


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@given(shards())
def test_samples_are_read_as_written(folder, samples):
    path = folder / "a.tar"
    writer, starts = write(path, samples)
    assert list(read_shard(path)) == samples
    assert [sample_at(path, start) for start in starts] == samples
    data = path.read_bytes()
    assert writer.sha256 == hashlib.sha256(data).hexdigest()
    assert (writer.size, writer.samples) == (len(data), len(samples))


@given(shards())
def test_same_samples_same_bytes(folder, samples):
    one, _ = write(folder / "one.tar", samples)
    other, _ = write(folder / "other.tar", [(key, dict(reversed(members.items()))) for key, members in samples])
    assert one.sha256 == other.sha256
    assert (folder / "one.tar").read_bytes() == (folder / "other.tar").read_bytes()


@given(shards())
def test_python_tarfile_reads_it(folder, samples):
    write(folder / "b.tar", samples)
    with tarfile.open(folder / "b.tar") as tar:
        found = [(info.name, tar.extractfile(info).read()) for info in tar]
        infos = tar.getmembers()
    assert found == [(f"{key}.{ending}", members[ending]) for key, members in samples for ending in sorted(members)]
    assert all((info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644) for info in infos)


@settings(max_examples=5)
@given(shards(min_samples=1))
def test_gnu_tar_reads_it(folder, samples):
    write(folder / "c.tar", samples)
    names = subprocess.run(["tar", "tf", "c.tar"], cwd=folder, capture_output=True, check=True)
    assert names.stderr == b""
    assert names.stdout.decode().split() == [f"{key}.{ending}" for key, ms in samples for ending in sorted(ms)]
    content = subprocess.run(["tar", "xOf", "c.tar"], cwd=folder, capture_output=True, check=True).stdout
    assert content == b"".join(members[ending] for _, members in samples for ending in sorted(members))


@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset's
@settings(max_examples=20)
@given(shards(min_samples=1))
def test_webdataset_reads_it(folder, samples):
    import webdataset

    write(folder / "d.tar", samples)
    found = []
    for sample in webdataset.WebDataset(str(folder / "d.tar"), shardshuffle=False):
        members = {name: data for name, data in sample.items() if not name.startswith("__")}
        found.append((sample["__key__"], members))
    assert found == samples


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_reads_it(tmp_path, streaming):
    from datasets import load_dataset

    samples = [(f"key_{i}", {"png": png(i), "json": json.dumps({"i": i}).encode(), "cls": b"%d" % i}) for i in range(9)]
    write(tmp_path / "test-0.tar", samples)
    data = load_dataset(
        "webdataset",
        data_files={"test": str(tmp_path / "*.tar")},
        split="test",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    rows = list(data)
    assert [(row["__key__"], row["json"]["i"], row["cls"]) for row in rows] == [(f"key_{i}", i, i) for i in range(9)]
    assert [row["png"].getpixel((0, 0))[0] for row in rows] == list(range(9))


@pytest.mark.parametrize("key", ["", ".", "a.b", "a/b", "/a", "ü", "a b", "a\0", "a\n", "a\\b"])
def test_keys_that_loaders_misread_are_refused(tmp_path, key):
    with ShardWriter(tmp_path / "a.tar") as writer, pytest.raises(StoreError, match="shard key"):
        writer.write(key, {"png": b"x"})
    assert list(read_shard(tmp_path / "a.tar")) == []


@pytest.mark.parametrize("ending", ["", "PNG", "a/b", ".png", "png.", "a..b", "ü", "p g", "png\0"])
def test_endings_that_loaders_misread_are_refused(tmp_path, ending):
    with ShardWriter(tmp_path / "a.tar") as writer, pytest.raises(StoreError, match="file ending"):
        writer.write("a", {ending: b"x"})


def test_samples_that_break_the_rules_are_refused_and_leave_the_shard_intact(tmp_path):
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.write("a", {"png": b"x", "cls": b"1"})
        with pytest.raises(StoreError, match=r"sample b has members png; the shard's other samples have cls, png"):
            writer.write("b", {"png": b"x"})
        with pytest.raises(StoreError, match="sample b has members cls; the shard's other samples have cls, png"):
            writer.write("b", {"cls": b"1"})
        with pytest.raises(StoreError, match="sample b has members cls, jpg, png"):
            writer.write("b", {"png": b"x", "jpg": b"x", "cls": b"1"})
        with pytest.raises(StoreError, match="occurs twice"):
            writer.write("a", {"png": b"x", "cls": b"1"})
        with pytest.raises(StoreError, match=f"the limits are {MAX_NAME} bytes"):
            writer.write("k" * (MAX_NAME - 3), {"png": b"x", "cls": b"1"})
        writer.write("k" * (MAX_NAME - 4), {"png": b"x", "cls": b"1"})
    assert [key for key, _ in read_shard(tmp_path / "a.tar")] == ["a", "k" * (MAX_NAME - 4)]


def test_a_sample_without_members_is_refused(tmp_path):
    with ShardWriter(tmp_path / "a.tar") as writer, pytest.raises(StoreError, match="no members"):
        writer.write("a", {})


def test_a_shard_larger_than_the_write_buffer(tmp_path):
    big = [(f"k{i}", {"png": bytes([i]) * 700_001, "json": b"{}" * i}) for i in range(8)]
    many = [(f"k{i}", {"cls": b"%d" % i}) for i in range(3000)]
    for samples in (big, many):
        write(tmp_path / "a.tar", samples)
        assert list(read_shard(tmp_path / "a.tar")) == samples


@given(shards(), st.data())
def test_a_truncated_shard_is_corrupt_and_never_gives_a_partial_sample(folder, samples, data):
    path, cut_path = folder / "e.tar", folder / "cut.tar"
    _, starts = write(path, samples)
    whole = path.read_bytes()
    # cut at a block border, a careless reader sees a shorter, well-formed file
    cut = data.draw(st.sampled_from(range(0, len(whole), 512)) | st.integers(0, len(whole) - 1))
    cut_path.write_bytes(whole[:cut])
    got = []
    with pytest.raises(CorruptShard):
        got.extend(read_shard(cut_path))
    assert got == samples[: len(got)]
    for start, sample in zip(starts, samples, strict=True):
        try:
            assert sample_at(cut_path, start) == sample
        except CorruptShard:
            end = start + sum(512 + -(-len(data) // 512) * 512 for data in sample[1].values())
            assert end + 512 > cut  # the block after the sample, which shows that it is complete, is cut off


@given(shards(min_samples=1), st.data())
def test_a_changed_header_is_corrupt(folder, samples, data):
    path = folder / "f.tar"
    _, starts = write(path, samples)
    content = bytearray(path.read_bytes())
    place = data.draw(st.sampled_from(starts)) + data.draw(st.integers(0, 511))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(CorruptShard):
        list(read_shard(path))


@pytest.mark.parametrize("tail", [b"\0", b"x", bytes(512), bytes(10240)])
def test_anything_after_the_end_is_corrupt(tmp_path, tail):
    write(tmp_path / "a.tar", [("a", {"png": b"x"})])
    with (tmp_path / "a.tar").open("ab") as file:
        file.write(tail)
    with pytest.raises(CorruptShard, match="after it"):
        list(read_shard(tmp_path / "a.tar"))


def test_a_foreign_tar_is_corrupt(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    with pytest.raises(CorruptShard):
        list(read_shard(tmp_path / "a.tar"))


def raw(*members: tuple[str, bytes]) -> bytes:
    """A tar as the writer makes it, of any members."""
    return b"".join(_header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in members) + bytes(1024)


@pytest.mark.parametrize(
    "members",
    [
        [("../a.png", b"x")],
        [("/etc/passwd.png", b"x")],
        [("a\x1b[2J.png", b"x")],
        [("a b.png", b"x")],
        [("a.png", b"x"), ("a.png", b"y")],
        [("a.png", b"x"), ("b.png", b"y"), ("a.png", b"z")],
        [("a.png", b"x"), ("b.png", b"y"), ("b.json", b"{}")],
        [("a.PNG", b"x")],
        [("a", b"x")],
        [("a.", b"x")],
        [("a..png", b"x")],
        [(".png", b"x")],
    ],
)
def test_members_that_the_writer_refuses_are_refused_by_the_reader(tmp_path, members):
    (tmp_path / "a.tar").write_bytes(raw(*members))
    with pytest.raises(CorruptShard) as caught:
        list(read_shard(tmp_path / "a.tar"))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 512, 2000, 8**11 - 1])
def test_a_size_that_lies_is_corrupt(tmp_path, size):
    (tmp_path / "a.tar").write_bytes(_header("a.png", size) + raw(("b.png", b"x")))
    with pytest.raises(CorruptShard):
        list(read_shard(tmp_path / "a.tar"))


def test_zeros_without_end_are_not_read_into_memory(tmp_path):
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(raw(("a.png", b"x")))
        file.truncate(1 << 42)
    with pytest.raises(CorruptShard, match="more data after it"):
        list(read_shard(tmp_path / "a.tar"))


@pytest.mark.parametrize("start", [-512, -1, 1, 100, 10**9])
def test_no_sample_at_a_wrong_offset(tmp_path, start):
    write(tmp_path / "a.tar", [("a", {"png": b"x" * 2000})])
    with pytest.raises(CorruptShard):
        sample_at(tmp_path / "a.tar", start)


def test_an_unfinished_shard_has_no_hash(tmp_path):
    writer = ShardWriter(tmp_path / "a.tar")
    with contextlib.suppress(RuntimeError), writer:
        writer.write("a", {"png": b"x"})
        raise RuntimeError
    assert writer.sha256 == ""
    with pytest.raises(CorruptShard):
        list(read_shard(tmp_path / "a.tar"))


def test_a_shard_is_never_overwritten(tmp_path):
    write(tmp_path / "a.tar", [])
    with pytest.raises(FileExistsError):
        ShardWriter(tmp_path / "a.tar")
