"""Disks of stores and caches that are full, fail, or vanish: one line, and the same command goes on afterwards."""

from __future__ import annotations

import contextlib
import errno
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from faults import failing, limited, slowed_at
from scene import FAILED, Scene, cold_cache, copy, stopped, then_same, words

RNG = random.Random(14)


@contextlib.contextmanager
def mounted(folder: Path, options: str, *more: str) -> Iterator[Path]:
    """A disk in memory at a folder, or what `more` says. Skips the test for users who may not mount."""
    folder.mkdir(exist_ok=True)
    asked = ["mount", "-o", options, *(more or ("-t", "tmpfs", "none")), str(folder)]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted disk."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


# ── the store's disk ─────────────────────────────────────────────────────────────────────────────────────────────────


def full(scene: Scene, folder: Path, kilobytes: int) -> str:
    """Run on a disk that is too small, then enlarge it."""
    with mounted(folder, f"size={kilobytes}k") as disk:
        ended = scene.run(words("run", scene.recipe("q"), disk / "store"))
        if wrong := ended.wrong(1, 75) or ("" if "space" in ended.output else "the error doesn't speak of space"):
            return wrong
        remount(disk, "size=100m")
        return then_same(scene, disk / "store")


def test_a_disk_that_is_full(scene, trials, tmp_path):
    trials(partial(full, scene, tmp_path / "disk"), [200])


@pytest.mark.fire
def test_the_disk_is_full(scene, trials, tmp_path):
    """On a full disk a run stops with one line, and what it has finished counts when there is space again.

    Disks of 16 to 500 kB, enlarged afterwards, and two limits on the size of a file.
    """
    scene.after("q", "run")

    def attack(case: tuple[str, int]) -> str:
        what, kilobytes = case
        if what == "disk":
            return full(scene, tmp_path / "disk", kilobytes)
        store = tmp_path / f"store-{kilobytes}"
        fault = partial(limited, resource.RLIMIT_FSIZE, kilobytes * 1024)
        return scene.run(words("run", scene.recipe("q"), store), fault=fault).wrong(1, 75) or then_same(scene, store)

    sizes = (16, 32, 64, 100, 150, 250, 350, 450, 500)
    trials(attack, [*(("disk", size) for size in sizes), ("file", 20), ("file", 60)])


@pytest.mark.fire
def test_a_store_that_can_only_be_read(scene, trials, tmp_path):
    """Commands that only read work on a read-only disk; the others say in one line that they can't write.

    show, diff, verify, plan and blocklist, a build from the edition; then rollback, curate and run.
    """
    kept = copy(scene.after("k", "run"), tmp_path / "kept")
    recipe, place = scene.recipe("k"), ["--store", str(tmp_path / "disk")]
    derived = scene.folder / "derived.yaml"
    source = "{name: edition, store: %s, edition: k@1.0.0}" % (tmp_path / "disk")
    derived.write_text(f"dataset: derived\nversion: 1.0.0\nsource: {source}\n")
    reading = [
        ["show", *place],
        ["show", "k", *place],
        ["show", "k@1.0.0", "--json", *place],
        ["diff", "k@1.0.0", "k@1.0.0-r1", *place],
        ["verify", "k", *place],
        ["plan", str(recipe), *place],
        ["blocklist", "k@1.0.0", str(tmp_path / "list.parquet"), *place],
        words("build", derived, tmp_path / "other"),
    ]
    writing = [
        ["rollback", "k", "--to", "1", *place],
        words("curate", recipe, tmp_path / "disk", "--set", "curate.policy.rules=[]"),
        words("run", recipe, tmp_path / "disk", "--set", "version=2.0.0"),
    ]

    def attack(asked: list[str]) -> str:
        with mounted(tmp_path / "disk", "bind", str(kept)) as disk:
            remount(disk, "bind,ro")
            ended = scene.run(asked)
        return ended.wrong(*((0,) if asked in reading else (0, 1)))

    trials(attack, [*reading, *writing])


@pytest.mark.fire
def test_a_mistyped_store(scene, trials, tmp_path):
    """A store that doesn't exist is an error for commands that read, and isn't made by them.

    show, diff, verify, blocklist, rollback, card, release, curate and evaluate on a folder that isn't there.
    """
    recipe, place = scene.recipe("q"), ["--store", str(tmp_path / "stroe")]
    asked = [
        ["show", *place],
        ["show", "q", *place],
        ["diff", "q@1.0.0", "q@1.0.0-r1", *place],
        ["verify", "q", *place],
        ["blocklist", "q", str(tmp_path / "list.parquet"), *place],
        ["rollback", "q", *place],
        ["card", str(recipe), *place],
        *(words(one, recipe, tmp_path / "stroe") for one in ("release", "curate", "evaluate")),
    ]

    def attack(one: list[str]) -> str:
        ended = scene.run(one)
        made = (tmp_path / "stroe").exists()
        shutil.rmtree(tmp_path / "stroe", ignore_errors=True)
        return ended.wrong(1) or ("it made the folder" if made else "")

    trials(attack, asked)


@pytest.mark.fire
def test_the_store_is_deleted_midway(scene, trials, store):
    """A store that is deleted while a run goes on ends it in one line, and the next run makes it anew.

    The folder is deleted at eight moments of a run.
    """

    def attack(step: int) -> str:
        run = scene.start(words("run", scene.recipe("q"), store), fault=partial(slowed_at, step, 0.5))
        with stopped([run]):
            for _ in range(40):
                time.sleep(0.25)
                if not run.runs() or shutil.rmtree(store, ignore_errors=True) or RNG.random() < 0.5:
                    break
            shutil.rmtree(store, ignore_errors=True)
            wrong = run.ended().wrong(*FAILED) or then_same(scene, store)
        shutil.rmtree(store)
        return wrong

    trials(attack, range(5, 45, 5))


@pytest.mark.fire
def test_errors_of_the_stores_disk(scene, trials, store):
    """A disk that fails while results are read or written leaves nothing half-made, and the same command goes on.

    Input/output errors in opening shards, tables, receipts and new files, once or for good.
    """
    places = [("objects/", False), ("units/", False), ("editions/", False), ("tmp/", True)]
    cases = [(part, writes, times) for part, writes in places for times in (1, 10**6)]

    def attack(case: tuple[str, bool, int]) -> str:
        part, writes, times = case
        scene.before("q", "curate", store)
        fault = partial(failing, f"{store}/{part}", errno.EIO, times, writes)
        ended = scene.run(words("run", scene.recipe("q"), store), fault=fault)
        wrong = ended.wrong(*FAILED) or then_same(scene, store)
        shutil.rmtree(store)
        return wrong

    trials(attack, cases)


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.fire
def test_a_cache_that_cant_be_used(scene, trials, store, tmp_path):
    """A cache that is full, read-only or not a folder costs time or ends the run in one line, and changes no result.

    A cache on a full or read-only disk, in place of a file, or below one.
    """
    (tmp_path / "file").write_bytes(b"no folder")
    warm = cold_cache(tmp_path / "warm")

    def attack(case: tuple[str, str]) -> str:
        recipe, what = case
        cache = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "cache"}.get(what, tmp_path / "disk")
        asked = words("run", scene.recipe(recipe), store)
        with contextlib.ExitStack() as stack:
            if what.startswith("full"):
                size = 16 if recipe == "q" else 2000 + sum(p.stat().st_size for p in warm.rglob("*")) // 1024
                stack.enter_context(mounted(cache, f"size={size}k"))
                if recipe == "k":
                    shutil.copytree(warm / "weights", cache / "weights")
            elif what == "read-only":
                stack.enter_context(mounted(cache, "bind", str(warm)))
                remount(cache, "bind,ro")
            ended = scene.run(asked, cache=cache)
        wrong = ended.wrong(*FAILED) or then_same(scene, store, recipe)
        shutil.rmtree(store)
        return wrong

    cases = [("q", "full"), ("q", "read-only"), ("q", "file"), ("q", "below a file"), ("k", "full"), ("k", "read-only")]
    trials(attack, cases)
