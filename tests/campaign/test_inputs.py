"""Pictures that change while they are read, disks that fail for a while, damaged weights: never data of an edition."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from faults import failing, slowed_at_opening
from scene import Scene, copy, differs, stopped, then_same, words

PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE)
"""Errors that a disk, a network or a machine under load gives, and that may be gone later."""


def overwritten(photos: Path) -> None:
    shutil.copy(photos / "astronaut" / "0.jpg", photos / "rocket" / "7.jpg")


def taken_away(photos: Path) -> None:
    (photos / "rocket" / "7.jpg").unlink()


def cut_short(photos: Path) -> None:
    path = photos / "rocket" / "7.jpg"
    os.truncate(path, path.stat().st_size // 2)


def drive_gone(photos: Path) -> None:
    photos.rename(photos.with_name("gone"))


def class_folder_gone(photos: Path) -> None:
    (photos / "rocket").rename(photos.parent / "gone")


Change = Callable[[Path], None]
CHANGES: tuple[Change, ...] = (overwritten, taken_away, cut_short, drive_gone, class_folder_gone)


def changed_while_building(scene: Scene, change: Change, samples_per_shard: int) -> str:
    """Change pictures between plan and read; then put them back and run again."""
    recipe = scene.recipe("q")
    store, safe = scene.folder / "store", copy(scene.photos, scene.folder / "safe")
    per_unit = ("--set", f"samples_per_shard={samples_per_shard}", "--set", "version=1.0.0")
    asked = words("run", recipe, store, *per_unit)
    whole = scene.folder / f"whole-{samples_per_shard}"
    if not whole.exists():
        assert not scene.run(words("run", recipe, whole, *per_unit)).wrong()
    try:
        slow = partial(slowed_at_opening, f"{scene.photos}/chelsea/2.jpg", scene.folder / "reading", 2.0)
        run = scene.start(asked, fault=slow)  # the cache remembers the hashes of pictures: planning opens none
        with stopped([run]):
            while not (scene.folder / "reading").exists() and run.runs():
                time.sleep(0.02)
            change(scene.photos)
            ended = run.ended()
        wrong = ended.wrong(1, 75)
    finally:
        for path in (scene.photos, scene.folder / "gone", scene.folder / "reading"):
            shutil.rmtree(path, ignore_errors=True)
        safe.rename(scene.photos)
    wrong = wrong or scene.run(asked).wrong() or differs(store, whole)
    shutil.rmtree(store)
    return wrong


@pytest.mark.fire
def test_pictures_change_while_a_run_reads_them(trials, tmp_path):
    """Pictures that change or vanish while a run reads them are an error, never data of the edition.

    A picture is overwritten, removed or truncated, or the folder moved away, between plan and reading; then put back.
    """
    scene = Scene(tmp_path)
    cases = [(change, size) for change in CHANGES for size in (2, 8)]
    trials(lambda case: changed_while_building(scene, *case), cases)


@pytest.mark.fire
def test_pictures_change_after_a_run(trials, tmp_path):
    """A sealed version doesn't change with its pictures: the next run says so, and a copy put back is the same data.

    A picture is overwritten, removed or truncated, or the folder moved away, after an edition was sealed.
    """
    scene = Scene(tmp_path)
    whole = scene.after("q", "run")

    def attack(change: Change) -> str:
        store, safe = copy(whole, tmp_path / "store"), copy(scene.photos, tmp_path / "safe")
        try:
            change(scene.photos)
            wrong = scene.run(words("run", scene.recipe("q"), store)).wrong(1, 75)
        finally:
            for path in (scene.photos, tmp_path / "gone"):
                shutil.rmtree(path, ignore_errors=True)
            safe.rename(scene.photos)
        wrong = wrong or then_same(scene, store)
        shutil.rmtree(store)
        return wrong

    trials(attack, CHANGES)


@pytest.mark.fire
def test_reading_fails_for_a_while(scene, trials, store):
    """A disk or network that fails while pictures are read is tried again, and is never taken for a bad picture.

    Errors that may pass (EIO, ESTALE, ETIMEDOUT, ENOMEM, EMFILE) in opening a picture: twice, and for good.
    """
    scene.after("q", "run")

    def attack(case: tuple[int, int]) -> str:
        number, times = case
        fault = partial(failing, f"{scene.photos}/chelsea/2.jpg", number, times)
        ended = scene.run(words("run", scene.recipe("q"), store), fault=fault)
        wrong = ended.wrong() or differs(store, scene.after("q", "run")) if times < 9 else ended.wrong(75)
        wrong = wrong or then_same(scene, store)
        shutil.rmtree(store, ignore_errors=True)
        return wrong

    trials(attack, [(number, times) for number in PASSING for times in (2, 10**6)])


@pytest.mark.fire
def test_damaged_weights(trials, store, tmp_path):
    """Damaged weights are never used: they are made or fetched again, or one line says which file to delete.

    Bits flipped in fetched weights and in models exported from them, with their times kept and not; truncated, emptied.
    """
    scene = Scene(tmp_path, sizes=(2, 192))
    scene.after("k", "run")

    def attack(case: tuple[str, str]) -> str:
        pattern, damage = case
        cache = copy(scene.cache, tmp_path / "damaged")
        shutil.rmtree(cache / "memo", ignore_errors=True)
        path = min((cache / "weights").glob(pattern))
        status, data = path.stat(), bytearray(path.read_bytes())
        if damage == "bits":
            for place in range(6):
                data[len(data) // 7 * (place + 1)] ^= 1 << (place + 1)
        path.write_bytes({"truncated": data[: len(data) // 2], "emptied": b""}.get(damage, data))
        if damage == "bits":
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        ended = scene.run(words("run", scene.recipe("k"), store), cache=cache)
        wrong = ended.wrong(0, 1)
        if not wrong and ended.code == 0:
            wrong = differs(store, scene.after("k", "run"))
        if not wrong and ended.code == 1 and path.name not in ended.output:
            wrong = f"the error doesn't name the file: {ended.output.strip().splitlines()[-1]}"
        if ended.code:
            wrong = wrong or then_same(scene, store, "k")
        shutil.rmtree(store, ignore_errors=True)
        shutil.rmtree(cache)
        return wrong

    kinds = ("*u2netp.onnx", "*lite0*.export*.onnx", "*lite0*.pth")
    trials(attack, [(kind, damage) for kind in kinds for damage in ("bits", "truncated", "emptied")])
