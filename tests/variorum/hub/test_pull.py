"""Pulling an edition from folders, web servers and stores: whole, continued, refused; nothing leaves the new store."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import resource
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from edition_to_pull import EDITION, RELEASE, make
from PIL import Image, PngImagePlugin
from s3_server import BUCKET, use
from served_files import serving
from small_store import one_line, rewrite, snapshot

from variorum.edition.editions import files_of, folder_of, resolve
from variorum.edition.gc import collect
from variorum.edition.pulled import read_pulled
from variorum.edition.records import parse, to_json
from variorum.edition.store import Store
from variorum.hub import pull_fetch
from variorum.hub.pull import edition_at, pull, read_published
from variorum.hub.pull_beside import unfit
from variorum.hub.pull_foreign import find_tars
from variorum.hub.pull_places import place_of
from variorum.pipeline import Job, build
from variorum.reports.diff import diff
from variorum.reports.verified import verify_edition
from variorum.schemas.errors import SourceError, StoreError, TemporaryError, VariorumError, VersionDrift
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `edition_to_pull`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "far" / "store"))


@pytest.fixture
def quick(monkeypatch):
    """No pauses between attempts."""
    monkeypatch.setattr(pull_fetch, "WAITS", (0.0, 0.0))


def pulled(source: str | Path, store: Store, **given):
    found = edition_at(str(source))
    assert found
    return pull(str(source), *found, store, **given)


def copied(made: Path, folder: Path, name: str = EDITION) -> Path:
    return Path(shutil.copytree(made / name, folder / "copied"))


def empty(store: Store) -> bool:
    """Whether a store has no edition and no half of one, though perhaps objects that came before an error."""
    return not store.listed("editions/*/*/manifest.json")


# ── whole ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_from_a_web_server(made, store):
    with serving(made) as web:
        got = pulled(f"{web.url}/{EDITION}", store)
        asked = web.paths()
        again = pulled(f"{web.url}/{EDITION}", store)
        assert [path for path in web.paths()[len(asked) :] if path.endswith((".tar", ".parquet"))] == []
    sizes = {info.sha256: info.size for info, _ in files_of(got.manifest)}
    assert (got.fetched, got.kept, got.card) == (sum(sizes.values()), 0, "author")
    assert (again.fetched, again.kept) == (0, got.fetched)
    assert verify_edition(got.manifest, store, digest=got.manifest.digest()) == []
    folder = Path(folder_of(got.manifest, store))
    assert (folder / "README.md").read_bytes() == (made / EDITION / "README.md").read_bytes()
    there = {path.name for path in folder.iterdir()}
    assert {"manifest.json", "index.parquet", "croissant.json", "contact_sheet.png", "pulled.json"} <= there
    assert "pulling.json" not in there
    assert not any(path.endswith(("index.parquet", "croissant.json", "contact_sheet.png")) for path in asked)


def test_the_edition_is_a_source_like_any_other(made, store, tmp_path):
    got = pulled(made / EDITION, store)
    recipe = {
        "dataset": "mine",
        "version": "1.0.0",
        "masters": "original",
        "source": {"name": "edition", "edition": EDITION, "store": store.root},
    }
    mine = build(Job(Recipe.parse(recipe), str(tmp_path / "mine")))
    assert mine.pictures() == got.manifest.pictures() == 6
    collect(store, 0)
    assert verify_edition(got.manifest, store) == []


def test_a_release_comes_without_what_was_measured(made, store):
    before, after = pulled(made / EDITION, store), pulled(made / RELEASE, store)
    assert read_pulled(after.manifest, store).place == str(made / RELEASE)
    assert after.without == len({info.sha256 for info in after.manifest.ledger.tables()})
    assert verify_edition(after.manifest, store) == []
    assert [change.kind for change in diff(before.manifest, after.manifest, store)] == ["dropped"]


def test_from_a_store_with_its_ledger(made, store):
    with serving(made) as web:
        got = pulled(f"{web.url}/store/editions/street/1.0.0-r1", store)
    assert got.without == 0
    assert verify_edition(got.manifest, store) == []


def test_from_one_object_store_into_another(made):
    """Any URL that fsspec knows."""
    fs = fsspec.filesystem("memory")
    fs.put(f"{made / EDITION}/", "/there/street/", recursive=True)
    store = Store("memory://here/store")
    got = pulled("memory://there/street", store)
    assert verify_edition(got.manifest, store) == []
    assert pulled("memory://there/street", store).fetched == 0
    fs.rm("/", recursive=True)


# ── broken off ───────────────────────────────────────────────────────────────────────────────────────────────────────


def half(handler, data):
    """Send the first half of what was asked for."""
    start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    left = data[start:]
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(left)))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(left[: len(left) // 2])
    handler.close_connection = True
    return True


@pytest.mark.parametrize("ranges", [True, False])
def test_a_pull_that_broke_off_continues(made, store, quick, ranges):
    """Where the host sends parts, only the rest comes; elsewhere the file comes anew."""
    with serving(made) as web:
        web.ranges, web.faults = ranges, {".tar": lambda handler, data: half(handler, data)}
        if not ranges:
            web.faults = {".tar": lambda handler, data: handler.headers.get("Range") is None and half(handler, data)}
            pulled(f"{web.url}/{EDITION}", store)
        else:
            with pytest.raises(TemporaryError, match=r"received [0-9]+ bytes"):
                pulled(f"{web.url}/{EDITION}", store)
            assert empty(store)
            web.faults = {}
            web.asked.clear()
            pulled(f"{web.url}/{EDITION}", store)
            parts = [headers["Range"] for path, headers in web.asked if "Range" in headers]
            assert parts
            assert all(int(part[6:-1]) > 0 for part in parts)
    assert verify_edition(resolve(EDITION, store), store) == []
    assert list(store.scratch.iterdir()) == []


def test_a_host_that_is_busy_is_asked_again(made, store, quick):
    tries: list[str] = []

    def busy(handler, data):
        first = handler.path not in tries
        tries.append(handler.path)
        if first:
            handler.answer(503)
        return first

    with serving(made) as web:
        web.faults = {"manifest.json": busy, ".parquet": busy}
        pulled(f"{web.url}/{EDITION}", store)
    assert len(tries) > 2


def test_a_network_that_is_gone(made, store, quick):
    def gone(handler, data):
        handler.close_connection = True
        return True

    with serving(made) as web:
        web.faults = {".tar": gone, ".parquet": gone}
        with pytest.raises(TemporaryError, match="run the same command again"):
            pulled(f"{web.url}/{EDITION}", store)
    assert empty(store)
    # what a pull has begun is kept from gc: its manifest lies in the edition's folder, but not as such
    assert store.listed("editions/street/1.0.0/pulling.json")
    objects = len(store.listed("objects/*"))
    collect(store, 0)
    assert len(store.listed("objects/*")) == objects


def test_what_lies_unfinished_may_be_another_file(made, store):
    manifest, place = edition_at(str(made / EDITION))
    info = next(iter(manifest.shards.values()))[0]
    store.scratch.mkdir(exist_ok=True)
    pull_fetch.unfinished(store.scratch, f"{info.sha256}.tar").write_bytes(b"x" * 100)
    assert verify_edition(pull(str(made / EDITION), manifest, place, store).manifest, store) == []


def test_a_disk_that_is_full_isnt_the_hosts_fault(made, store):
    found = edition_at(str(made / EDITION))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(StoreError, match="no space left; what is finished is kept"):
            pull(str(made / EDITION), *found, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert empty(store)


# ── refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_manifest_of_files_that_dont_exist_costs_few_requests(made, store, tmp_path):
    folder, many = copied(made, tmp_path), 500
    manifest = parse((folder / "manifest.json").read_bytes(), Manifest)
    group, (shard, *_) = next(iter(manifest.shards.items()))
    fields = {
        "units": [f"{number:064x}" for number in range(many)],
        "rows": [manifest.rows[0].model_copy(update={"sha256": f"{number:064x}"}) for number in range(many)],
        "shards": {group: [shard.model_copy(update={"unit": number}) for number in range(many)]},
    }
    (folder / "manifest.json").write_bytes(to_json(manifest.model_copy(update=fields)))
    with serving(folder) as web, pytest.raises(SourceError, match=r"it lacks the file .*, which its manifest names"):
        pulled(web.url, store)
    assert len(web.asked) < 50
    assert empty(store)


def test_another_edition_of_this_name(made, store, tmp_path):
    pulled(made / EDITION, store)
    other = copied(made, tmp_path)
    rewrite(other / "manifest.json", lambda content: content.update(profile="hub"))
    with pytest.raises(VersionDrift, match="--store OTHER"):
        pulled(other, store)


def test_another_digest_than_the_author_told(made, store):
    with pytest.raises(SourceError, match="another edition of this name"):
        pulled(made / EDITION, store, digest="0" * 64)
    with pytest.raises(SourceError, match="64 hexadecimal"):
        pulled(made / EDITION, store, digest="98b9")
    assert empty(store)


def test_more_than_the_disk_holds(made, store, tmp_path):
    other = copied(made, tmp_path)
    rewrite(other / "manifest.json", lambda content: first(content).update(size=2**52))
    with pytest.raises(StoreError, match=r"4,503\.6 TB are to be fetched, .* are free, and 67\.1 MB must stay free"):
        pulled(other, store)
    assert store.listed("objects/*") == []


def test_a_disk_with_little_left(made, store, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12_300_000))
    with pytest.raises(StoreError, match=r" kB are to be fetched, 12\.3 MB are free"):
        pulled(made / EDITION, store)


def first(content):
    return next(iter(content["shards"].values()))[0]


def rows(content):
    return content["rows"][0]


TAMPERED = {
    "group: out of the folder": lambda m: m["shards"].update(
        {"../../x/test": m["shards"].pop(next(iter(m["shards"])))}
    ),
    "group: absolute": lambda m: m["shards"].update({"/etc/test": m["shards"].pop(next(iter(m["shards"])))}),
    "sha256: a path": lambda m: first(m).update(sha256="../" * 20 + "etc"),
    "size: less": lambda m: first(m).update(size=first(m)["size"] - 512),
    "size: more": lambda m: first(m).update(size=first(m)["size"] + 512),
    "size: below 0": lambda m: first(m).update(size=-1),
    "samples: a million": lambda m: first(m).update(samples=10**6),
    "an object that isn't there": lambda m: first(m).update(sha256="0" * 64),
    "a table that isn't there": lambda m: rows(m).update(sha256="0" * 64),
    "rows: another number": lambda m: rows(m).update(samples=rows(m)["samples"] + 1),
    "units: none": lambda m: m.update(units=[], rows=[], shards={}),
    "version: a path": lambda m: m.update(version="../1.0.0"),
    "dataset: a path": lambda m: m.update(dataset="../../x"),
    "dataset: absolute": lambda m: m.update(dataset="/x"),
    "a field more": lambda m: m.update(files=["/etc/passwd"]),
    "recipe: code": lambda m: m["recipe"]["source"].update(name="/tmp/evil.py"),
    "format 99": lambda m: m.update(format=99),
    "classes: other ones": lambda m: m.update(classes=[["a", "a"], ["b", "b"]]),
    "counts: other ones": lambda m: m["counts"]["original"].update(accepted=10**6),
    "licences: other ones": lambda m: m.update(licences={"MIT": 6}),
    "members: none": lambda m: m.update(members=[]),
}
"""Changes to a manifest. Where shards swap, the hash of each is right, and only comparison with the tables can tell."""


@pytest.mark.parametrize("what", TAMPERED)
def test_a_manifest_that_was_tampered_with(made, store, tmp_path, what):
    other = copied(made, tmp_path)
    rewrite(other / "manifest.json", TAMPERED[what])
    (tmp_path / "far" / "precious").write_text("precious")
    before = snapshot(tmp_path, leave_out=Path(store.root))
    with pytest.raises(VariorumError) as caught:
        pulled(other, store)
    assert one_line(str(caught.value))
    assert empty(store)
    assert snapshot(tmp_path, leave_out=Path(store.root)) == before


def tar_of(*entries: tuple[str, bytes, bytes]) -> bytes:
    """A tar with entries of these names, kinds and contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def huge_member() -> bytes:
    """A header that says that its member has 7 GiB, and nothing behind it."""
    info = tarfile.TarInfo("a.jpg")
    info.size = 7 << 30
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(10240 - 512)


def many_rows() -> bytes:
    """Twenty million rows in a few kilobytes of parquet."""
    out = io.BytesIO()
    pq.write_table(pa.table({"id": pa.nulls(20_000_000, pa.string())}), out, compression="zstd")
    return out.getvalue()


OBJECTS = {
    "a link": (".tar", lambda: tar_of(("a.jpg", tarfile.SYMTYPE, b""))),
    "a hard link": (".tar", lambda: tar_of(("a.jpg", tarfile.LNKTYPE, b""))),
    "a device": (".tar", lambda: tar_of(("a.jpg", tarfile.CHRTYPE, b""))),
    "a name that leads out": (".tar", lambda: tar_of(("../../a.jpg", tarfile.REGTYPE, b"x"))),
    "a name from the root": (".tar", lambda: tar_of(("/tmp/a.jpg", tarfile.REGTYPE, b"x"))),
    "a huge member": (".tar", huge_member),
    "many members": (".tar", lambda: tar_of(*((f"a.{number}", tarfile.REGTYPE, b"") for number in range(3000)))),
    "a tar that is gzip": (".tar", lambda: gzip.compress(bytes(1 << 20))),
    "no tar": (".tar", lambda: b"#!/bin/sh\necho owned\n"),
    "a table that explodes": (".parquet", many_rows),
    "no table": (".parquet", lambda: b"PAR1" + bytes(100) + b"PAR1"),
    "a pickle": (".parquet", lambda: b"\x80\x04cos\nsystem\n(S'touch owned'\ntR."),
}
"""Contents of objects that have the hash and the size that the manifest names."""


@pytest.mark.parametrize("what", OBJECTS)
def test_a_hostile_object(made, store, tmp_path, what):
    """The manifest tells no lie about it, so it comes; it is found out before anything is sealed."""
    suffix, content = OBJECTS[what]
    other, data = copied(made, tmp_path), content()
    manifest = json.loads((other / "manifest.json").read_text())
    entry = first(manifest) if suffix == ".tar" else rows(manifest)
    name = entry["sha256"]
    sha256 = hashlib.sha256(data).hexdigest()
    for path in [*(other / "data").iterdir(), *(other / "tables").iterdir()]:
        if hashlib.sha256(path.read_bytes()).hexdigest() == name:
            path.unlink()
            (path if suffix == ".tar" else path.with_name(f"{sha256}.parquet")).write_bytes(data)
    rewrite(
        other / "manifest.json",
        lambda m: (first(m) if suffix == ".tar" else rows(m)).update(sha256=sha256, size=len(data)),
    )
    before = snapshot(tmp_path, leave_out=Path(store.root))
    with pytest.raises(SourceError, match="nothing was sealed") as caught:
        pulled(other, store)
    assert one_line(str(caught.value))
    assert empty(store)
    assert snapshot(tmp_path, leave_out=Path(store.root)) == before


def test_other_bytes_than_the_hash_says(made, store, tmp_path):
    other = copied(made, tmp_path)
    tar = next((other / "data").glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)
    with pytest.raises(SourceError, match="another file was sent"):
        pulled(other, store)
    assert empty(store)
    assert not any(path.endswith(tar.name) for path in store.listed("objects/*"))


@pytest.mark.parametrize(
    "put",
    [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), lambda path: path.symlink_to("/dev/zero"), os.mkdir],
    ids=["FIFO", "link to a file", "link to a device", "folder"],
)
def test_files_that_are_none(made, store, tmp_path, put):
    """A FIFO or a device is never waited for, and a file of this machine isn't taken for an object."""
    other = copied(made, tmp_path)
    path = min((other / "data").glob("*.tar"))
    path.unlink()
    put(path)
    with pytest.raises(SourceError) as caught:
        pulled(other, store)
    assert one_line(str(caught.value))
    assert empty(store)


def test_links_in_the_new_store(made, tmp_path):
    """A store whose folders lead out of it gets nothing."""
    out, root = tmp_path / "out", tmp_path / "store"
    out.mkdir()
    Store(str(root))
    (root / "objects").symlink_to(out)
    with pytest.raises(StoreError, match="leads out of the store"):
        pulled(made / EDITION, Store(str(root)))
    assert list(out.iterdir()) == []


def test_a_tag_that_has_another_version(made):
    place = place_of(str(made / EDITION))
    assert read_published(replace(place, tag="main"))
    with pytest.raises(SourceError, match=r"the tag 1\.0\.1 has the manifest of street@1\.0\.0"):
        read_published(replace(place, tag="1.0.1"))


def test_a_manifest_of_another_tool(made, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "web app", "icons": []}))
    assert edition_at(str(tmp_path)) is None


# ── cards ────────────────────────────────────────────────────────────────────────────────────────────────────────────

CARDS = {
    "a script": ("# Streets", "<script src=https://example.org/x.js></script>"),
    "HTML that is none": ("# Streets", "<!-- x -->"),
    "a script after a fence that ends with its list": ("# Streets", "- a\n\n  ```\n<script>alert(1)</script>"),
    "a script after a fence that is none": ("# Streets", "``` a`b\n<script>alert(1)</script>\n```"),
    "a script in a line of its own ending": ("# Streets", "```\rcode\r```\r<script>alert(1)</script>"),
    "a script between backticks that are text": ("# Streets", "\\`<script>alert(1)</script>`"),
    "a link that runs": ("# Streets", "[x](javascript:alert)"),
    "a link that runs, written otherwise": ("# Streets", "[x](java&#115;cript:alert)"),
    "a link to a file": ("# Streets", "[x](file:///etc/passwd)"),
    "a link to another host's file": ("# Streets", "[x](//example.org/x)"),
    "a reference that runs": ("# Streets", "[x]\n\n[x]: data:text/html,x"),
    "a picture that tells who looks": ("# Streets", "![x](https://example.org/x.png)"),
    "a picture by reference": ("# Streets", "![x][y]\n\n[y]: https://example.org/x.png"),
    "other files in the header": ("path: data/", "path: ../../"),
    "other classes in the header": ("dog", "cat"),
    "another digest": ("digest `", "digest `0"),
    "no header": ("---\n", "\n"),
}


@pytest.mark.parametrize("what", CARDS)
def test_a_card_that_could_do_harm_is_drawn_anew(made, what):
    manifest, _ = edition_at(str(made / EDITION))
    text = (made / EDITION / "README.md").read_text()
    assert unfit(text.encode(), manifest) == ""
    old, new = CARDS[what]
    changed = text.replace(old, f"{old}\n\n{new}\n" if old == "# Streets" else new, -1 if "classes" in what else 1)
    assert changed != text
    assert unfit(changed.encode(), manifest) != ""


def test_a_card_drawn_from_the_manifest(made, store, tmp_path):
    other = copied(made, tmp_path, RELEASE)
    (other / "README.md").write_text("# Hi\n\n<script>alert(1)</script>")
    got = pulled(other, store)
    text = Path(folder_of(got.manifest, store), "README.md").read_text()
    assert got.card == "manifest"
    assert unfit(text.encode(), got.manifest) == ""
    assert "alert" not in text.partition("\n---\n")[2].replace("alert(1)&gt;", "")
    assert verify_edition(got.manifest, store) == []


def test_plots_of_a_card_are_drawn_anew(made, store, tmp_path):
    other, out, said = copied(made, tmp_path), io.BytesIO(), PngImagePlugin.PngInfo()
    said.add_text("Comment", "hidden")
    Image.new("RGB", (20, 10), "red").save(out, "PNG", pnginfo=said)
    (other / "drops.png").write_bytes(out.getvalue())
    (other / "bad.png").write_bytes(b"\x89PNG" + b"<script>" * 9)
    card = (other / "README.md").read_text()
    (other / "README.md").write_text(f"{card}\n![drops](drops.png)\n![bad](bad.png)\n![none](none.png)\n")
    got = pulled(other, store)
    folder = Path(folder_of(got.manifest, store))
    assert got.card == "author"
    assert not (folder / "bad.png").exists()
    assert b"hidden" not in (folder / "drops.png").read_bytes()
    with Image.open(folder / "drops.png") as image:
        assert image.size == (20, 10)


@pytest.mark.slow
def test_from_s3_into_s3(made, s3_server, monkeypatch):
    """The bucket's keys are in no record."""
    use(monkeypatch, s3_server)
    place = f"s3://{BUCKET}/pull"
    s3_server.files().put(f"{made / RELEASE}/", f"{BUCKET}/pull/there/", recursive=True)
    got = pulled(f"{place}/there", Store(f"{place}/store"))
    store = Store(f"{place}/store")
    assert verify_edition(got.manifest, store) == []
    assert pulled(f"{place}/there", store).fetched == 0
    record = store.read("editions/street/1.0.0-r1/pulled.json") or b""
    assert b"s3://variorum/pull/there" in record
    assert s3_server.key.secret.encode() not in record
    with pytest.raises(SourceError, match="it names no tars"):
        find_tars(f"{place}/nothing")
    assert edition_at(f"{place}/nothing") is None
