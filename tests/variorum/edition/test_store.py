import contextlib
import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from variorum.edition.editions import (
    check_data,
    editions,
    folder_of,
    link_data,
    read_beside,
    resolve,
    seal,
    whole,
    write_beside,
)
from variorum.edition.shards import ShardWriter, read_shard
from variorum.edition.store import FEW, Store
from variorum.machine.retrying import hash_content
from variorum.schemas.canonical import digest
from variorum.schemas.errors import CorruptShard, StoreError, VersionDrift
from variorum.schemas.manifest import Manifest, Receipt, Shard, ShardInfo

pytestmark = pytest.mark.usefixtures("own_cache")


def put_shard(store: Store, content: bytes = b"x") -> ShardInfo:
    with store.temporary(".tar") as path:
        with ShardWriter(path) as writer:
            writer.write("a", {"png": content})
        return store.keep(path, sha256=writer.sha256, samples=1)


def key(name: str) -> str:
    """A unit's key."""
    return hashlib.sha256(name.encode()).hexdigest()


def receipt(store: Store, unit: str = "u", content: bytes = b"x", who: int = 0) -> Receipt:
    rows = store.keep_bytes(b"rows" + content, ".parquet", samples=1)
    shards = {"test": put_shard(store, content)}
    return Receipt(unit=key(unit), start=0, stop=1, shards=shards, members=["png"], rows=rows, made={"who": who})


def manifest(store: Store, content: bytes = b"x", version: str = "1.0.0") -> Manifest:
    done = store.put_receipt(receipt(store, f"unit {content!r}", content))
    return Manifest(
        dataset="d",
        version=version,
        fingerprint=hashlib.sha256(content).hexdigest(),
        recipe={},
        profile="embedded",
        classes=[],
        members=["png"],
        models={},
        filters=[],
        units=[done.unit],
        shards={"test": [Shard(**done.shards["test"].model_dump(), unit=0)]},
        rows=[done.rows],
        counts={},
        sources=0,
        sources_edited=0,
        licences={},
    )


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return Store(str(tmp_path / "store") if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def local(tmp_path):
    return Store(str(tmp_path / "store"))


# ── receipts and objects ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_receipt_comes_back(store):
    assert store.receipt(key("u")) is None
    made = store.put_receipt(receipt(store))
    assert Store(store.url).receipt(key("u")) == made


@pytest.mark.parametrize("number", [2, 30])
def test_of_many_units_only_those_that_are_finished_are_read(store, monkeypatch, number):
    done = {made.unit: made for made in (store.put_receipt(receipt(store, f"{n}")) for n in range(number))}
    store.put("units/0.json", b"{")
    if number > FEW:
        monkeypatch.setattr(store, "receipt", lambda unit: done[unit])
    missing = [key(f"none {n}") for n in range(number)]
    assert store.receipts([*missing, *done, *done]) == done
    assert store.recorded("units") == {*done, "0"}
    assert store.tables(missing) == {}
    tables = {name: made.rows for name, made in zip(missing, done.values(), strict=True)}
    for name, info in tables.items():
        store.put_table(name, info)
    assert store.tables([*missing, *done]) == tables


def test_units_whose_keys_begin_alike_are_found_by_one_listing(store):
    alike = ["ab" * 16 + f"{n:032x}" for n in range(3)]
    rows = store.keep_bytes(b"rows", ".parquet", samples=1)
    for unit in (*alike[:2], key("u")):
        store.put_receipt(Receipt(unit=unit, start=0, stop=1, shards={}, members=[], rows=rows))
    assert store.finished(alike, alike[0][:32]) == {*alike[:2]}


def test_a_lost_or_cut_object_means_not_done(store):
    made = store.put_receipt(receipt(store))
    shard = f"{store.root}/objects/{made.shards['test'].sha256}.tar"
    others = [(ShardInfo(sha256=f"{n:064x}", size=1, samples=1), ".tar") for n in range(20)]
    rows = {f"{made.rows.sha256}.parquet"}
    assert store.whole(made.files())
    assert store.sound([*made.files(), *others]) == rows | {f"{made.shards['test'].sha256}.tar"}
    store.fs.pipe_file(shard, b"short")
    assert not store.whole(made.files())
    assert store.sound([*made.files(), *others]) == rows
    if store.fs.exists(shard):
        store.fs.rm_file(shard)
    assert not store.whole(made.files())
    assert store.sound([*made.files(), *others]) == rows
    with pytest.raises(CorruptShard, match="no file; run the recipe again"):
        store.path(made.shards["test"])
    again = store.put_receipt(receipt(store, who=2))  # the same content, made again
    assert again == made
    assert store.receipt(key("u")) == made
    assert store.whole(made.files())
    assert list(read_shard(store.path(made.shards["test"]))) == [("a", {"png": b"x"})]


def test_a_receipt_that_names_lost_objects_gives_way(store):
    made = store.put_receipt(receipt(store))
    store.fs.rm_file(f"{store.root}/objects/{made.rows.sha256}.parquet")
    other = store.put_receipt(receipt(store, content=b"y", who=1))
    assert other.made == {"who": 1}
    assert store.receipt(key("u")) == other


@pytest.mark.parametrize("change", [lambda data: data[:9], lambda data: data.replace(b'"stop": 1', b'"stop": 2')])
def test_a_damaged_receipt_is_made_again_and_said(store, change, caplog):
    made = store.put_receipt(receipt(store))
    path = f"{store.root}/units/{key('u')}.json"
    data = store.fs.cat_file(path)
    assert change(data) != data
    store.fs.pipe_file(path, change(data))
    assert store.receipt(key("u")) is None
    assert f"units/{key('u')}.json" in caplog.text
    assert "it is made again" in caplog.text
    assert store.put_receipt(made) == made
    assert store.receipt(key("u")) == made


def flip(path: Path, place: int = 600) -> None:
    """Change one bit and nothing else that can be seen from outside."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_flipped_bit_is_noticed_by_the_next_process_and_moved_aside(local, caplog):
    made = local.put_receipt(receipt(local))
    shard = local.path(made.shards["test"])
    flip(shard)
    assert Store(local.url, trust=True).whole(made.files())
    reader = Store(local.url, writable=False)
    assert not reader.whole(made.files())
    with pytest.raises(CorruptShard, match=r"its content doesn't match its name; run the recipe again"):
        reader.path(made.shards["test"])
    assert shard.exists()  # a reader moves nothing
    assert not caplog.text
    store = Store(local.url)
    assert not store.whole(made.files())
    assert not shard.exists()
    assert hash_content(Path(local.url, "damaged", shard.name)) != made.shards["test"].sha256
    assert "was damaged and has to be made again" in caplog.text
    receipt(store)
    assert Store(local.url).whole(made.files())


def test_an_object_is_hashed_once_in_a_process(local, monkeypatch):
    made = local.put_receipt(receipt(local))
    store, hashed = Store(local.url), []
    monkeypatch.setattr("variorum.edition.store.hash_stream", lambda file: hashed.append(file) or "")
    assert local.whole(made.files())  # it wrote them itself
    assert hashed == []
    assert not store.whole(made.files())
    assert len(hashed) == 2


def test_a_record_that_is_wrong_about_a_size_harms_no_object(local):
    made = local.put_receipt(receipt(local))
    good = made.shards["test"]
    wrong = good.model_copy(update={"size": good.size + 512})
    for trust in (True, False):
        store = Store(local.url, trust=trust)
        assert not store.whole([(wrong, ".tar")])
        with pytest.raises(CorruptShard, match=f"{good.size} bytes where {wrong.size} bytes should be"):
            store.path(wrong)
        assert store.whole([(good, ".tar")])


def test_a_good_object_that_took_a_damaged_ones_place_stays(local):
    made = local.put_receipt(receipt(local))
    shard = local.path(made.shards["test"])
    before = shard.stat()
    data = shard.read_bytes()
    shard.unlink()
    (shard.parent / "other").write_bytes(b"keeps the old inode from being used again")
    (shard.parent / "new").write_bytes(data)
    (shard.parent / "new").replace(shard)
    if shard.stat().st_ino == before.st_ino:
        pytest.skip("this file system uses inodes again at once")
    Store(local.url)._move_aside(shard, before)
    assert shard.read_bytes() == data


@pytest.mark.parametrize("kind", ["link", "loop", "folder", "fifo"])
def test_an_object_that_is_no_file_is_damaged(local, tmp_path, kind):
    made = local.put_receipt(receipt(local))
    shard = local.path(made.shards["test"])
    outside = tmp_path / "outside.tar"
    outside.write_bytes(shard.read_bytes())
    shard.unlink()
    if kind == "fifo":
        os.mkfifo(shard)
    elif kind == "folder":
        shard.mkdir()
    else:
        shard.symlink_to(outside if kind == "link" else shard)
    with pytest.raises(CorruptShard):
        Store(local.url, writable=False).path(made.shards["test"])
    store = Store(local.url)
    assert not store.whole(made.files())
    receipt(store)
    assert store.whole(made.files())
    assert outside.exists()


@pytest.mark.parametrize("folder", ["objects", "units", "tmp", "damaged", "editions"])
def test_nothing_is_written_through_a_link_that_leads_out(tmp_path, folder):
    store = Store(str(tmp_path / "store"))
    made = manifest(store)
    seal(made, store)
    outside = tmp_path / "outside"
    inside = Path(store.url, folder)
    if inside.exists():
        inside.rename(outside)
    else:
        outside.mkdir()
    inside.symlink_to(outside)
    before = sorted(path for path in outside.rglob("*"))
    flip(next(Path(store.url, "objects").glob("*.tar")))

    def write_everywhere() -> None:
        again = Store(store.url)
        again.whole([(made.shards["test"][0], ".tar"), (made.rows[0], ".parquet")])
        seal(manifest(again, b"z", "2.0.0"), again)

    with pytest.raises(StoreError, match=rf"{folder}.* leads out of the store through a link"):
        write_everywhere()
    assert sorted(path for path in outside.rglob("*")) == before


def test_the_manifest_of_another_edition_is_refused(store):
    sealed = seal(manifest(store), store)
    store.put_record("editions/d/1.0.0/manifest.json", sealed.model_copy(update={"dataset": "e"}))
    with pytest.raises(CorruptShard, match=r"is the manifest of e@1\.0\.0; delete it"):
        resolve("d@1.0.0", store)


def test_a_store_that_is_only_read_is_not_made(tmp_path):
    store = Store(str(tmp_path / "mistyped"), writable=False)
    assert editions(store) == []
    assert not (tmp_path / "mistyped").exists()


def test_a_damaged_download_is_not_taken():
    store = Store(f"memory://{uuid.uuid4().hex}")
    made = receipt(store)
    target = f"{store.root}/objects/{made.shards['test'].sha256}.tar"
    store.fs.pipe_file(target, b"\1" * made.shards["test"].size)
    with pytest.raises(CorruptShard, match="doesn't match its name"):
        store.path(made.shards["test"])


def race(url: str, barrier, results, who: int) -> None:
    store = Store(url)
    mine = receipt(store, who=who, content=b"%d" % (who % 3))  # three different results of one unit
    barrier.wait()
    results.put((who, store.put_receipt(mine).made["who"]))


def test_processes_that_race_for_a_receipt_agree_on_one(local):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=race, args=(local.url, barrier, results, who)) for who in range(3)]
    for worker in workers:
        worker.start()
    taken = {results.get(timeout=60)[1] for _ in workers}
    for worker in workers:
        worker.join()
    assert len(taken) == 1
    assert local.receipt(key("u")).made["who"] in taken


def test_threads_that_race_for_a_receipt_agree_on_one(local):
    for round_ in range(5):
        barrier = threading.Barrier(16)

        def put(who: int, round_: int = round_, barrier: threading.Barrier = barrier) -> int:
            mine = receipt(local, f"u{round_}", b"%d" % (who % 3), who)
            barrier.wait()
            return local.put_receipt(mine).made["who"]

        with ThreadPoolExecutor(16) as pool:
            assert len(set(pool.map(put, range(16)))) == 1


# ── editions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sealed_edition_is_adopted(store):
    first = seal(manifest(store), store)
    assert seal(first.model_copy(update={"profile": "hub"}), store) == first
    assert resolve("d@1.0.0", store) == resolve("d", store) == first
    assert editions(store) == [("d", "1.0.0")]


def test_a_sealed_version_does_not_move(store):
    first = seal(manifest(store), store)
    with pytest.raises(VersionDrift, match=r"d@1.0.0 is sealed in .* new version \(--set version=...\)"):
        seal(manifest(store, b"y"), store)
    assert resolve("d@1.0.0", store) == first


def test_a_dev_version_moves_and_its_data_with_it(local):
    seal(manifest(local, b"x", "1.0.0-dev"), local)
    moved = seal(manifest(local, b"yy", "1.0.0-dev"), local)
    assert resolve("d@1.0.0-dev", local) == moved
    (name,) = Path(folder_of(moved, local), "data").iterdir()
    assert name.name == "test-00000-of-00001.tar"
    assert hash_content(name) == moved.shards["test"][0].sha256


def test_a_store_at_a_url_has_no_copies_and_those_of_older_versions_are_checked_and_go(store):
    if store.local:
        pytest.skip("a folder has links")
    sealed = seal(manifest(store, b"x", "1.0.0-dev"), store)
    name = f"{folder_of(sealed, store)}/data/test-00000-of-00001.tar"
    assert not store.fs.exists(name)
    assert check_data(sealed, store) == []
    store.fs.cp_file(store.object(sealed.shards["test"][0], ".tar"), name)
    assert check_data(sealed, store) == []
    moved = manifest(store, b"yy", "1.0.0-dev")
    assert check_data(moved, store) == [
        f"{name}: content isn't the shard's; delete it, as a store at a URL needs no copies"
    ]
    moved = seal(moved, store)
    assert resolve("d@1.0.0-dev", store) == moved
    assert not store.fs.exists(name)


def test_a_folder_that_another_process_removes_is_made_again(local, monkeypatch):
    """Two processes seal one -dev version: one removes what isn't its own while the other links."""
    sealed = seal(manifest(local), local)
    folder, real, removed = Path(folder_of(sealed, local)), os.link, []

    def link(*args, **options):
        if not removed:
            removed.append(True)
            shutil.rmtree(folder / "data")
        return real(*args, **options)

    (folder / "data" / "test-00000-of-00001.tar").unlink()
    monkeypatch.setattr(os, "link", link)
    link_data(sealed, local)
    assert removed
    assert check_data(sealed, local) == []


def test_an_edition_that_lost_a_file_is_sealed_again(store):
    first = seal(manifest(store), store)
    store.fs.rm_file(f"{store.root}/objects/{first.shards['test'][0].sha256}.tar")
    assert not whole(first, store)
    again = seal(manifest(store), store)
    assert whole(again, store)
    assert again == first


def test_versions_are_in_order_of_number_and_dev_comes_first(store):
    for version in ("1.10.0", "1.9.0", "1.9.0-dev", "2.0.0-dev"):
        seal(manifest(store, b"x", version), store)
    assert [version for _, version in editions(store)] == ["1.9.0-dev", "1.9.0", "1.10.0", "2.0.0-dev"]
    assert resolve("d", store).version == "2.0.0-dev"


@pytest.mark.parametrize("name", ["e", "d@9.9.9", "", "../d", "d@../1.0.0", "d@*", "*"])
def test_unknown_editions_are_answered_with_the_known(store, name):
    seal(manifest(store), store)
    with pytest.raises(StoreError, match=r"no edition .*; there are: d@1.0.0"):
        resolve(name, store)


def test_files_beside_the_manifest(store):
    sealed = seal(manifest(store), store)
    assert read_beside(sealed, "README.md", store) is None
    write_beside(sealed, "README.md", b"one", store)
    write_beside(sealed, "README.md", b"two", store)
    assert read_beside(sealed, "README.md", store) == b"two"


# ── places that can't be written ─────────────────────────────────────────────────────────────────────────────────────


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for url in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError) as error:
            Store(str(url))
        assert "choose another place with --store" in one_line(error)


@pytest.mark.parametrize("url", ["s3:bucket/x", "s3:/hunter22@bucket/x", "https:/host/x"])
def test_a_url_with_one_slash_is_no_folder(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="a URL has two slashes") as caught:
        Store(url)
    assert "hunter22" not in str(caught.value)
    Store("./s3:bucket")
    assert [path.name for path in tmp_path.iterdir()] == ["s3:bucket"]


def test_a_protocol_that_nobody_knows(tmp_path):
    with pytest.raises(StoreError) as error:
        Store("gopher://x")
    assert "give a folder or a URL that fsspec knows" in one_line(error)


def test_a_folder_without_permission(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    if os.geteuid():
        with pytest.raises(StoreError) as error:
            Store(str(tmp_path / "closed" / "store"))
        assert "can't be written" in one_line(error)
        return
    code = (  # root may write anywhere, so a process that gave root up tries
        "import os, sys; import fsspec.core, variorum.edition.store as s; os.setegid(65534); os.seteuid(65534)\n"
        "try: s.Store(sys.argv[1])\nexcept s.StoreError as error: print(error)"
    )
    (tmp_path / "closed").chmod(0o555)
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o111)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "closed" / "store")], capture_output=True, text=True
    )
    assert "can't be written (Permission denied); choose another place with --store" in done.stdout, done.stderr


FULL = """
import resource, sys
from pathlib import Path
from variorum.schemas.errors import StoreError
from test_store import put_shard, receipt
from variorum.edition.store import Store
store = Store(sys.argv[1])
store.put_receipt(receipt(store, "small"))
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    receipt(store, "big", bytes(3_000_000))
except StoreError as error:
    print(error)
"""


def fill(place: Path, how: str) -> str:
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(place), how],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    store = Store(str(place))
    kept = store.receipt(key("small"))
    assert kept, done.stderr
    assert hash_content(store.path(kept.shards["test"])) == kept.shards["test"].sha256
    assert store.receipt(key("big")) is None
    assert list(store.scratch.iterdir()) == []
    return done.stdout


def test_a_full_disk_costs_nothing_that_is_finished(tmp_path):
    assert "no space left; what is finished is kept" in fill(tmp_path / "store", "limit")


def test_a_really_full_disk_costs_nothing_that_is_finished(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True).returncode:
        pytest.skip("mounting isn't allowed here")
    try:
        assert "no space left; what is finished is kept" in fill(place, "disk")
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_read_only_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", place], capture_output=True).returncode:
        pytest.skip("mounting isn't allowed here")
    try:
        with pytest.raises(StoreError) as error:
            Store(str(place))
        assert "can't be written (Read-only file system)" in one_line(error)
    finally:
        subprocess.run(["umount", place], check=True)


def test_errors_of_other_files_are_not_blamed_on_the_store(local, tmp_path):
    (tmp_path / "photo").mkdir()
    for wrong in ("photo", "photo/x/y"):
        with pytest.raises(OSError, match="photo"), local.temporary(".tar"):
            (tmp_path / wrong).mkdir()


# ── temp files ───────────────────────────────────────────────────────────────────────────────────────────────────────


HOLD = """
import sys
from variorum.edition.store import Store
with Store(sys.argv[1]).temporary(".tar") as path:
    path.write_bytes(b"x")
    print(path.parent.name, flush=True)
    sys.stdin.read()
"""


def holder(store: Store, *before: str) -> tuple[subprocess.Popen, str]:
    """A process that writes a temporary file, and the name of the file's folder."""
    command = [*before, sys.executable, "-c", HOLD, store.url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_only_what_dead_processes_left_is_swept(local):
    foreign = local.scratch / "notes.txt"
    foreign.write_bytes(b"")
    process, name = holder(local)
    with local.temporary(".tar") as mine:
        mine.write_bytes(b"")
        Store(local.url)
        assert {mine.parent.name, name, "notes.txt"} <= {path.name for path in local.scratch.iterdir()}
        process.kill()
        process.communicate()
        assert (local.scratch / name).exists()
        Store(local.url)
        assert not (local.scratch / name).exists()
        assert mine.exists()
    assert list(local.scratch.iterdir()) == [foreign]


def test_another_process_namespace_sweeps_nothing_that_is_alive(local):
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("namespaces can't be made here")
    with local.temporary(".tar") as mine:
        mine.write_bytes(b"")
        process, name = holder(local, *apart)
        assert mine.exists()
        Store(local.url)
        assert (local.scratch / name).exists()
        process.communicate("")
    assert list(local.scratch.iterdir()) == []


def test_without_locks_only_old_files_are_swept(local, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("variorum.machine.workplace.fcntl.flock", no_locks)
    young, old = (local.scratch / f"{name}.variorum.part" for name in ("young", "old"))
    for folder in (young, old):
        folder.mkdir()
        (folder / "file.tar").write_bytes(b"")
    os.utime(old, (0, 0))
    Store(local.url)
    assert list(local.scratch.iterdir()) == [young]


def test_many_threads_write_and_sweep_at_once(local):
    def write(number: int) -> str:
        with local.temporary(".tar") as path:
            path.write_bytes(b"%d" % number)
            Store(local.url)
            assert path.read_bytes() == b"%d" % number
            return str(path)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(write, range(64)))) == 64
    assert list(local.scratch.iterdir()) == []


def test_a_temporary_is_removed_whatever_happens(local):
    with contextlib.suppress(RuntimeError), local.temporary(".tar") as path:
        path.write_bytes(b"x")
        raise RuntimeError
    assert list(local.scratch.iterdir()) == []


def test_a_manifest_cannot_name_a_file_outside_the_store(store):
    sealed = seal(manifest(store), store)
    foreign = sealed.model_dump(mode="json")
    foreign["rows"][0]["sha256"] = "../../../precious"
    store.put("editions/d/1.0.0/manifest.json", json.dumps({"digest": digest(foreign), **foreign}).encode())
    with pytest.raises(CorruptShard, match=r"manifest\.json: not a manifest \(rows\.0\.sha256: .*; delete it"):
        resolve("d@1.0.0", store)


# ── somebody else's store ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def theirs(tmp_path, monkeypatch) -> Path:
    """A store of another user, with an edition."""
    sealed = Store(str(tmp_path / "theirs"))
    seal(manifest(sealed), sealed)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv("VARIORUM_STORES", raising=False)
    if os.geteuid() == 0:
        os.chown(tmp_path / "theirs", 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    return tmp_path / "theirs"


def files_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_another_users_store_is_only_read(theirs):
    before = files_in(theirs)
    with pytest.raises(
        StoreError, match=r"belongs to the user \w+, so it is only read.*export VARIORUM_STORES="
    ) as told:
        Store(str(theirs))
    assert "\n" not in str(told.value)
    store = Store(str(theirs), writable=False)
    found = resolve("d@1.0.0", store)
    assert whole(found, store)
    assert not store.can_write()
    for write in (
        lambda: store.put("x.json", b"{}"),
        lambda: store.put_if_absent("x.json", b"{}"),
        lambda: store.keep_bytes(b"x", ".parquet", samples=1),
        lambda: store.make_folder(f"{theirs}/new"),
        lambda: write_beside(found, "README.md", b"x", store),
        lambda: link_data(found, store),
    ):
        with pytest.raises(StoreError, match="belongs to the user"):
            write()
    assert files_in(theirs) == before


@pytest.mark.parametrize("allowed", [".", "..", "../elsewhere:."])
def test_another_users_store_that_is_allowed(theirs, monkeypatch, allowed):
    folders = os.pathsep.join(str(theirs / one) for one in allowed.split(":"))
    monkeypatch.setenv("VARIORUM_STORES", folders)
    assert Store(str(theirs)).can_write()


def test_what_is_allowed_is_no_beginning_of_a_name(theirs, monkeypatch):
    monkeypatch.setenv("VARIORUM_STORES", f"{theirs}x{os.pathsep}{str(theirs)[:-1]}{os.pathsep}")
    with pytest.raises(StoreError, match="belongs to the user"):
        Store(str(theirs))


def test_a_link_to_another_users_store(theirs, tmp_path):
    (tmp_path / "mine").symlink_to(theirs)
    with pytest.raises(StoreError, match="belongs to the user"):
        Store(str(tmp_path / "mine"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is called by sudo")
def test_under_sudo_the_callers_store_is_ones_own(theirs, monkeypatch):
    monkeypatch.setenv("SUDO_UID", "54321")
    assert Store(str(theirs)).can_write()
    monkeypatch.setenv("SUDO_UID", "5432")
    assert not Store(str(theirs), writable=False).can_write()
