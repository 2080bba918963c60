import io
import re
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset import tariterators

from variorum.sources.tars.bytes import LocalTar, StreamedTar, read_members
from variorum.sources.tars.headers import NotTar
from variorum.sources.tars.index import (
    CUT,
    DUPLICATE,
    MORE,
    UNSAFE,
    TarIndex,
    build_index,
    key_and_ending,
)
from variorum.sources.tars.mapped_arrays import Texts, map_arrays, save_arrays

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def tar(members, form=tarfile.PAX_FORMAT, **fields) -> bytes:
    """A tar of (name, content) pairs; a name with ` -> ` is a symbolic link, one that ends in / a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in members:
            name, _, target = name.partition(" -> ")
            info = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(info, field, value)
            if target:
                info.type, info.linkname = tarfile.SYMTYPE, target
            elif name.endswith("/"):
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class Held:
    """Bytes in memory, read forwards."""

    def __init__(self, data: bytes) -> None:
        self.data, self.total, self.last = data, len(data), 0

    def read(self, offset: int, size: int) -> bytes:
        assert offset >= self.last
        self.last = offset
        return self.data[offset : offset + size]


def index_of(data: bytes) -> TarIndex:
    return build_index(Held(data))


def entries(data: bytes):
    index = index_of(data)
    return index.entries(0, len(index))


def contents(data: bytes) -> list[tuple[str, dict[str, bytes]]]:
    """Key and members of every sample, by our index."""
    return [
        (entry.key, {name: data[start : start + size] for name, (start, size) in entry.members.items()})
        for entry in entries(data)
    ]


def flaws(data: bytes) -> list[tuple[str, int]]:
    return [(entry.key, entry.flaw) for entry in entries(data)]


def by_tarfile(data: bytes) -> list[tuple[str, dict[str, bytes]]]:
    """The same by `tarfile`: regular files, neighbours grouped by the regular expression of `webdataset`."""
    found: list[tuple[str, dict[str, bytes]]] = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            split = re.match(r"((?:.*/|)[^.]+)[.]([^/]*)$", member.name, re.DOTALL)
            if member.isreg() and split:
                if not found or found[-1][0] != split[1]:
                    found.append((split[1], {}))
                found[-1][1][split[2].lower()] = archive.extractfile(member).read()
    return found


part = st.text(st.sampled_from("abcXYZ019_- éß漢"), min_size=1, max_size=12)
folder = st.lists(part, max_size=3).map(lambda parts: "".join(f"{name}/" for name in parts))
stem = st.one_of(part, part.map(lambda text: (text * 130)[:110]))
ending = st.sampled_from(["jpg", "JPG2", "cls", "json", "mask.png", "a.b.c", "txt"])
body = st.one_of(st.binary(max_size=40), st.integers(0, 1600).map(lambda size: b"\x07" * size))
sample = st.dictionaries(ending, body, min_size=1, max_size=4)


@given(
    samples=st.dictionaries(st.tuples(folder, stem).map("".join), sample, max_size=6),
    form=st.sampled_from(list(FORMATS.values())),
    others=st.booleans(),
)
def test_any_tar_reads_as_tarfile_reads_it(samples, form, others):
    members = [(f"{key}.{name}", data) for key, found in samples.items() for name, data in found.items()]
    if form == tarfile.USTAR_FORMAT:
        members = [(name, data) for name, data in members if fits_ustar(name)]
    if others:
        members = [("folder/", b""), ("README", b"no sample"), *members, (".hidden.jpg", b"x")]
    data = tar(members, form)
    assert contents(data) == by_tarfile(data)
    assert [entry.flaw for entry in entries(data)] == [0] * len(index_of(data))


def fits_ustar(name: str) -> bool:
    try:
        tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT)
    except ValueError:
        return False
    return True


def test_webdataset_sees_the_same_samples(tmp_path):
    path = tmp_path / "a.tar"
    members = [
        ("./a.jpg", b"1"),
        ("./a.Seg.PNG", b"2"),
        ("x.y/b.0.jpg", b"3"),
        ("x.y/b.1.jpg", b"4"),
        ("__meta__/c.jpg", b"5"),
        ("__c__", b"6"),
        ("d", b"7"),
        (".e.jpg", b"8"),
        ("f.", b"9"),
    ]
    path.write_bytes(tar(members))
    with path.open("rb") as file:
        files = ({**found, "__url__": ""} for found in tariterators.tar_file_iterator(file))
        theirs = [
            (found["__key__"], {name: data for name, data in found.items() if not name.startswith("__")})
            for found in tariterators.group_by_keys(files)
        ]
    assert contents(path.read_bytes()) == theirs
    assert [key for key, _ in theirs] == ["./a", "x.y/b", "f"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", ("a", "jpg")),
        ("x.d/a.Mask.PNG", ("x.d/a", "mask.png")),
        ("a", ("", "")),
        ("x/.a.jpg", ("", "")),
        ("__meta__", ("", "")),
        ("__meta__/a.jpg", ("", "")),
        ("x/__a__.jpg", ("x/__a__", "jpg")),
    ],
)
def test_a_name_is_split_at_the_first_dot_of_its_base_name(name, expected):
    assert key_and_ending(name) == expected


def test_sizes_and_names_in_pax_headers_hold():
    name = "long/" * 40 + "é.jpg"
    (entry,) = entries(tar([(name, b"abc")], pax_headers={"comment": "x=y\nsize=7", "mtime": "1.5"}))
    assert (entry.key, entry.members["jpg"][1]) == (name[:-4], 3)
    # a size that only the PAX header has, as for members of 8 GiB and more
    data = bytearray(tar([("a.jpg", b"abc"), ("b.jpg", b"defg")], pax_headers={"size": "3"}))
    at = data.index(b"a.jpg")
    header = bytearray(data[at : at + 512])
    header[124:136] = b"00000000000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[at : at + 512] = header
    assert contents(bytes(data))[0] == ("a", {"jpg": b"abc"})


def test_numbers_of_any_size_and_all_old_forms_of_headers():
    def header(kind: bytes, size: bytes, magic: bytes, prefix: bytes = b"", signed: bool = False) -> bytes:
        raw = bytearray(512)
        raw[:5], raw[124:136], raw[156:157], raw[257:265] = b"a.jpg", size.ljust(12, b"\0"), kind, magic.ljust(8, b"\0")
        raw[345 : 345 + len(prefix)] = prefix
        raw[148:156] = b" " * 8
        total = sum(byte - 256 if byte > 127 and signed else byte for byte in raw)
        raw[148:156] = b"%06o\0 " % total
        return bytes(raw)

    body = b"abc".ljust(512, b"\0") + bytes(1024)
    binary = b"\x80" + (3).to_bytes(11, "big")
    for start in (
        header(b"0", b"00000000003", b"ustar\x0000", b"dir"),
        header(b"0", binary, b"ustar  "),
        header(b"\0", b"         3 ", b""),
        header(b"7", b"3", b"ustar\x0000"),
        header(b"0", b"3", b"ustar\x0000", "é".encode(), signed=True),
    ):
        assert contents(start + body) == by_tarfile(start + body)
        assert len(contents(start + body)) == 1
    with pytest.raises(NotTar):
        index_of(header(b"0", b"\xff" * 12, b"ustar\x0000") + body)


def test_links_devices_and_sparse_files_have_no_content():
    found = entries(tar([("a.jpg -> /etc/passwd", b""), ("a.cls", b"1"), ("b.jpg", b"x")]))
    assert [(list(entry.members), entry.links) for entry in found] == [(["cls"], ("jpg",)), (["jpg"], ())]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, kind in enumerate([tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.type, info.linkname = kind, "x" if kind == tarfile.LNKTYPE else ""
            archive.addfile(info)
        info = tarfile.TarInfo("4.jpg")
        info.pax_headers = {"GNU.sparse.major": "1"}
        archive.addfile(info)
    assert [(entry.members, entry.links) for entry in entries(stream.getvalue())] == [({}, ("jpg",))] * 5


def test_a_key_counts_once():
    data = tar([("a.jpg", b"1"), ("a.cls", b"2"), ("b.jpg", b"3"), ("a.txt", b"4"), ("b.jpg", b"5"), ("b.jpg", b"6")])
    assert flaws(data) == [("a", 0), ("b", 0), ("a", DUPLICATE), ("b", DUPLICATE), ("b", DUPLICATE)]
    assert [entry.repeat for entry in entries(data)] == [0, 0, 1, 1, 2]
    assert contents(data)[0] == ("a", {"jpg": b"1", "cls": b"2"})


def test_the_same_member_twice_begins_another_sample():
    data = tar([("a.jpg", b"1"), ("a.JPG", b"2"), ("a.cls", b"3")])
    assert contents(data) == [("a", {"jpg": b"1"}), ("a", {"jpg": b"2", "cls": b"3"})]
    assert flaws(data) == [("a", 0), ("a", DUPLICATE)]


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "x/../a.jpg", "x/../../a.jpg"])
def test_names_that_lead_elsewhere_are_unsafe(name):
    assert [flaw for _, flaw in flaws(tar([(name, b"1"), ("ok.jpg", b"2")]))] == [UNSAFE, 0]
    assert flaws(tar([("x..y/a..jpg", b"1")])) == [("x..y/a", 0)]


WHOLE = tar([(f"{key}.{name}", bytes([65 + n]) * 700) for n, key in enumerate("abcd") for name in ("cls", "jpg")])


@pytest.mark.parametrize("form", list(FORMATS))
def test_wherever_a_tar_breaks_off_what_lies_before_is_intact(form):
    members = [(f"{key}.{name}", bytes([65 + n]) * 700) for n, key in enumerate("abcd") for name in ("cls", "jpg")]
    fields = {"pax_headers": {"mtime": "0.5"}} if form == "pax" else {}
    whole = tar(members, FORMATS[form], **fields)
    expected = contents(whole)
    ends = [max(map(sum, entry.members.values())) for entry in entries(whole)]
    with pytest.raises(NotTar):
        index_of(whole[:300])
    for length in range(1024, len(whole), 31):
        data = whole[:length]
        marks = [flaw for _, flaw in flaws(data)]
        complete = sum(end <= length for end in ends)
        if length < ends[0]:
            assert set(marks) <= {0, CUT}
            continue
        good = [item for item, mark in zip(contents(data), marks, strict=True) if not mark]
        assert good == expected[:complete]
        if not any(end <= length <= end + 512 for end in ends) and length < ends[-1]:
            assert marks == [*[0] * complete, CUT]


def test_a_damaged_header_costs_the_rest_and_says_so():
    at = WHOLE.index(b"c.cls")
    data = bytearray(WHOLE)
    data[at : at + 20] = b"\xff" * 20
    assert flaws(bytes(data)) == [("a", 0), ("b", 0), ("", CUT)]
    at = WHOLE.index(b"c.jpg")
    data = bytearray(WHOLE)
    data[at : at + 20] = b"\xff" * 20
    assert flaws(bytes(data)) == [("a", 0), ("b", 0), ("c", CUT)]


def test_data_after_the_end_mark_are_a_row():
    assert flaws(WHOLE + tar([("e.jpg", b"5")])) == [*((key, 0) for key in "abcd"), ("", MORE)]
    assert flaws(WHOLE + bytes(3 << 20)) == [(key, 0) for key in "abcd"]


def test_a_missing_end_mark_alone_is_no_flaw():
    end = sum(entries(WHOLE)[-1].members["jpg"])
    assert flaws(WHOLE[:end]) == [(key, 0) for key in "abcd"]
    assert flaws(WHOLE[: WHOLE.index(b"d.jpg")]) == [("a", 0), ("b", 0), ("c", 0), ("d", CUT)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty: 0 bytes"),
        (b"abc", "is no tar"),
        (b"\x89PNG" * 200, "is no tar"),
        (b"\x1f\x8b" + bytes(600), r"compressed \(gzip\).*gunzip"),
        (b"BZh9" + bytes(600), "bunzip2"),
        (b"\xfd7zXZ\0" + bytes(600), "unxz"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "unzstd"),
    ],
)
def test_files_that_are_no_tar(data, problem):
    with pytest.raises(NotTar, match=problem):
        index_of(data)


@given(data=st.binary(max_size=3000), at=st.integers(0, len(WHOLE) - 1))
def test_no_damage_breaks_the_reader(data, at):
    damaged = WHOLE[:at] + data + WHOLE[at + len(data) :]
    try:
        found = entries(damaged)
    except NotTar:
        return
    total = len(damaged)
    assert all(sum(place) <= total for entry in found if not entry.flaw for place in entry.members.values())


def test_an_index_is_kept_and_mapped(tmp_path):
    index = index_of(WHOLE)
    save_arrays(tmp_path / "x" / "a.npz", index.arrays())
    arrays = map_arrays(tmp_path / "x" / "a.npz")
    again = TarIndex.of(arrays)
    assert again.entries(0, 4) == index.entries(0, 4)
    assert again.entries(2, 3) == index.entries(2, 3)
    assert isinstance(again.offsets.base, np.memmap)
    with np.load(tmp_path / "x" / "a.npz", allow_pickle=False) as plain:
        assert {name: plain[name].tolist() for name in plain} == {name: arrays[name].tolist() for name in arrays}
    assert map_arrays(tmp_path / "gone.npz") is None


def test_damaged_files_of_the_cache_are_made_again(tmp_path, caplog):
    path = tmp_path / "a.npz"
    save_arrays(path, index_of(WHOLE).arrays())
    data = path.read_bytes()
    for damaged in (b"", data[: len(data) // 2], data[:-30]):
        path.write_bytes(damaged)
        assert map_arrays(path) is None
    assert "made again" in caplog.text
    arrays = dict(index_of(WHOLE).arrays())
    assert TarIndex.of({**arrays, "offsets": arrays["offsets"][1:]}) is None
    assert TarIndex.of({name: array for name, array in arrays.items() if name != "keys"}) is None


def test_a_column_of_texts():
    texts = Texts.of(["a", "", "éß", "漢" * 50])
    assert texts.part(0, 4) == ["a", "", "éß", "漢" * 50]
    assert texts.part(1, 3) == ["", "éß"]
    assert texts.part(2, 2) == []
    assert texts[3] == "漢" * 50
    assert len(texts) == 4


def test_a_stream_is_read_once_and_hashed_whole(tmp_path):
    import hashlib

    stream = io.BytesIO(WHOLE)
    seen = []
    streamed = StreamedTar(lambda size: stream.read(min(size, 333)))
    index = build_index(streamed, {"cls"}, lambda members: seen.append(dict(members)))
    assert streamed.finish() == hashlib.sha256(WHOLE).hexdigest()
    assert streamed.total == len(WHOLE)
    assert index.entries(0, 4) == entries(WHOLE)
    assert seen == [{"cls": bytes([65 + n]) * 700} for n in range(4)]


@pytest.mark.parametrize("size", [10, 100_000])
def test_members_are_read_together_or_one_by_one(tmp_path, size):
    members = [
        ("a.cls", b"7"),
        ("a.jpg", bytes(range(250)) * (size // 250 + 1)),
        ("a.npy", bytes(size)),
        ("a.txt", b"hi"),
    ]
    path = tmp_path / "a.tar"
    path.write_bytes(tar(members))
    (entry,) = entries(path.read_bytes())
    with LocalTar(str(path)) as opened:
        found = read_members(opened, {name: entry.members[name] for name in ("txt", "jpg", "cls")})
        assert found == {name[2:]: data for name, data in members if name != "a.npy"}
        assert read_members(opened, {}) == {}
