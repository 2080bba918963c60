"""Garbage collection removes what nothing names, and never what an edition or a running build needs."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from variorum.edition import gc
from variorum.edition.editions import read_manifest, resolve
from variorum.edition.gc import collect, unnamed
from variorum.edition.store import Store
from variorum.edition.verify import verify
from variorum.pipeline import Job, run
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Receipt
from variorum.schemas.recipe import Recipe

DAY = 24 * 3600.0
ORPHAN, ASIDE = "ab" * 32 + ".tar", "cd" * 32 + ".parquet"


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the small store's folder."""
    shutil.copytree(made, tmp_path / "made", symlinks=True)
    return tmp_path / "made"


@pytest.fixture
def store(folder):
    return Store(str(folder / "store"))


def files(folder: Path) -> set[str]:
    """All files below a folder, but for temporary ones."""
    found = (one.relative_to(folder) for one in folder.rglob("*") if one.is_file())
    return {str(one) for one in found if "tmp" not in one.parts}


def plant(store: Store, *names: str, days: float = 10) -> None:
    """Files of some days of age."""
    for name in names:
        path = Path(store.root, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"abc")
        os.utime(path, (time.time() - days * DAY,) * 2)


def whole(store: Store, *names: str) -> bool:
    return not any(verify(resolve(name, store), store) for name in names)


def test_a_store_of_whole_editions_has_nothing_to_remove(store):
    assert unnamed(store, 0) == []
    assert collect(store, 0) == []


def test_only_old_files_that_nothing_names_go(store, folder):
    before = files(folder)
    plant(store, f"objects/{ORPHAN}", f"damaged/{ASIDE}", "objects/notes.txt")
    plant(store, f"objects/{'ef' * 32}.tar", days=0.5)
    outside = folder / "outside"
    outside.write_bytes(b"mine")
    Path(store.root, "objects", "12" * 32 + ".tar").symlink_to(outside)
    planted = files(folder)

    found = unnamed(store, DAY)
    assert [(one.kind, one.name, one.size) for one in found] == [
        ("damaged", f"damaged/{ASIDE}", 3),
        ("objects", f"objects/{ORPHAN}", 3),
    ]
    assert files(folder) == planted  # looking removes nothing
    assert collect(store, DAY) == found
    assert planted - files(folder) == {f"store/damaged/{ASIDE}", f"store/objects/{ORPHAN}"}
    assert [one.name for one in collect(store, 0)] == [f"objects/{'ef' * 32}.tar"]
    assert outside.read_bytes() == b"mine"
    assert before <= files(folder)
    assert whole(store, "small@1.0.0", "small@1.0.0-r1", "other@1.0.0")


def test_finished_work_without_an_edition_stays_unless_it_is_asked_for(store, folder):
    digest, ledger = resolve("other@1.0.0", store).digest(), resolve("other@1.0.0-r1", store).ledger
    receipts = [Path(store.root, "units", f"{unit}.json") for unit in resolve("other@1.0.0", store).units]
    shutil.rmtree(Path(store.root, "editions", "other"))
    assert [one.name for one in unnamed(store, 0)] == [f"objects/{ledger.verdicts.sha256}.parquet"]
    assert unnamed(store, DAY, unfinished=True) == []  # all of it is of today

    found = collect(store, 0, unfinished=True)
    assert {one.kind for one in found} == {"objects", "receipts"}
    assert not any(path.exists() for path in receipts)
    assert whole(store, "small@1.0.0", "small@1.0.0-r1")
    recipe = Recipe.parse(yaml.safe_load((folder / "other.yaml").read_text()))
    run(Job(recipe, str(folder / "store")))
    assert resolve("other@1.0.0", store).digest() == digest
    assert whole(store, "other@1.0.0", "other@1.0.0-r1")


def test_tables_that_one_record_names_stay_until_it_names_others(tmp_path):
    store = Store(str(tmp_path / "store"))
    first, second, other = (store.keep_bytes(text, ".parquet", samples=1) for text in (b"1", b"2", b"3"))
    shard, *keys = (f"{number:064x}" for number in range(3))
    store.put_tables(shard, dict(zip(keys, (first, second), strict=True)))
    assert [one.name for one in collect(store, 0, unfinished=True)] == [f"objects/{other.sha256}.parquet"]
    other = store.keep_bytes(b"3", ".parquet", samples=1)
    store.put_tables(shard, {keys[0]: other})
    assert [one.name for one in collect(store, 0)] == [f"objects/{first.sha256}.parquet"]
    assert store.whole((info, ".parquet") for info in store.together([shard])[shard].values())


@pytest.mark.parametrize("name", ["manifest.json", "ledgers/0001.json"])
@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_record_that_cant_be_read_stops_it(store, folder, name, content):
    plant(store, f"objects/{ORPHAN}")
    path = Path(store.root, "editions", "small", "1.0.0", name)
    path.write_bytes(path.read_bytes()[:200] if content else b"")
    before = files(folder)
    with pytest.raises(StoreError, match="nothing is removed"):
        collect(store, 0, unfinished=True)
    assert files(folder) == before


def test_what_gets_a_name_meanwhile_stays(store, monkeypatch):
    plant(store, f"objects/{ORPHAN}", f"objects/{ASIDE}")
    names, calls = gc._names, []

    def slow(*arguments):
        found = names(*arguments)
        if not calls:  # a build finishes between the two passes
            rows = {"sha256": ASIDE[:64], "size": 3, "samples": 0}
            receipt = {"unit": "0" * 64, "start": 0, "stop": 1, "shards": {}, "members": [], "rows": rows}
            store.put_receipt(Receipt.model_validate(receipt))
        calls.append(arguments)
        return found

    monkeypatch.setattr(gc, "_names", slow)
    assert [one.name for one in collect(store, DAY)] == [f"objects/{ORPHAN}"]
    assert len(calls) == 2


def test_what_is_written_anew_meanwhile_stays(store):
    plant(store, f"objects/{ORPHAN}")
    (listed,) = unnamed(store, DAY)
    plant(store, "objects/new")
    Path(store.root, "objects", "new").replace(Path(store.root, listed.name))
    assert not gc._remove(store, listed)
    assert Path(store.root, listed.name).read_bytes() == b"abc"


def test_nothing_outside_of_the_store_goes(store, folder):
    objects = Path(store.root, "objects")
    shutil.move(objects, folder / "elsewhere")
    plant(Store(str(folder)), f"elsewhere/{ORPHAN}")
    objects.symlink_to(folder / "elsewhere")
    with pytest.raises(StoreError, match="leads out of the store"):
        collect(Store(str(folder / "store")), DAY)
    assert (folder / "elsewhere" / ORPHAN).exists()


def test_an_edition_in_a_linked_folder_keeps_its_files(store, folder):
    shutil.move(Path(store.root, "editions", "small"), folder / "small")
    Path(store.root, "editions", "small").symlink_to(folder / "small")
    assert collect(store, 0, unfinished=True) == []


def test_a_store_in_memory(photos, own_cache):
    store = Store("memory://gc")
    recipe = {"dataset": "d", "version": "1.0.0", "source": {"name": "image_folder", "path": str(photos)}}
    manifest = run(Job(Recipe.parse(recipe), store))
    store.fs.pipe_file(f"{store.root}/objects/{ORPHAN}", b"abc")
    assert unnamed(store, DAY) == []
    assert [one.name for one in collect(store, 0)] == [f"objects/{ORPHAN}"]
    assert verify(manifest, store) == []
    store.fs.rm(store.root, recursive=True)


@pytest.mark.slow
@pytest.mark.parametrize("unfinished", [False, True])
def test_builds_that_are_killed_beside_it_end_whole(photos, tmp_path, monkeypatch, unfinished):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    rules = [{"when": [{"column": "quality.darkness", "below": 0.3}], "action": "drop", "reason": "dark"}]
    fields = {
        "dataset": "q",
        "version": "1.0.0",
        "samples_per_shard": 1,
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": [{"name": "quality"}, {"name": "policy", "rules": rules}],
    }
    (tmp_path / "q.yaml").write_text(yaml.safe_dump(fields))
    undisturbed = run(Job(Recipe.parse(fields), str(tmp_path / "undisturbed")))
    main = [sys.executable, "-c", "from variorum.flows.cli import main; main()", "run", "q.yaml", "--runner", "threads"]

    def start(number: int) -> subprocess.Popen[str]:
        words = [*main, "--store", f"store{number}"]
        return subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    began = time.monotonic()
    assert start(0).communicate()[0]
    lasts = time.monotonic() - began
    stopped, removed = threading.Event(), []
    plant(Store(str(tmp_path / "store0")), f"objects/{ORPHAN}")

    def remove() -> None:
        while not stopped.is_set():
            for folder in tmp_path.glob("store*"):
                removed.extend(collect(Store(str(folder)), 0, unfinished=unfinished))
            time.sleep(0.01)

    beside = threading.Thread(target=remove)
    beside.start()
    number, killed = 1, 0
    try:
        for turn in range(8):
            build = start(number)
            try:
                said = build.communicate(timeout=lasts * (0.15 + 0.1 * turn))[0]
            except subprocess.TimeoutExpired:
                build.send_signal(signal.SIGKILL)
                said = build.communicate()[0]
            killed += build.returncode == -signal.SIGKILL
            assert build.returncode in (0, -signal.SIGKILL) or "run the recipe again" in said, said
            number += build.returncode == 0  # the next one starts from nothing
    finally:
        stopped.set()
        beside.join()
    assert killed
    assert f"objects/{ORPHAN}" in [one.name for one in removed]
    for one in range(number + 1):
        said = (last := start(one)).communicate()[0]
        assert last.returncode == 0, said
        store = Store(str(tmp_path / f"store{one}"))
        for version in ("1.0.0", undisturbed.version):
            made = read_manifest("q", version, store)
            assert made is not None
            assert verify(made, store) == []
        assert made.digest() == undisturbed.digest()
