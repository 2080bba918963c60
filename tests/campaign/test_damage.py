"""Files of a store that are truncated, emptied, removed or have one flipped bit: the same command mends them."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scene import Scene, copy, differs, words

RNG = random.Random(13)
MOVED_ASIDE = ("damaged/*",)
"""Where a damaged file goes when another takes its place."""


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


def one_bit_flipped(path: Path) -> None:
    """Size and modification time stay, as when a disk fails."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 << RNG.randrange(8)
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def filled_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty_object(path: Path) -> None:
    path.write_bytes(b"{}")


def one_number_changed(path: Path) -> None:
    """Still well-formed: the last digit of a number or a hash is another."""
    data = path.read_bytes()
    place = max(at for at, byte in enumerate(data) if chr(byte).isdigit())
    path.write_bytes(data[:place] + (b"1" if data[place : place + 1] != b"1" else b"2") + data[place + 1 :])


Damage = Callable[[Path], None]
OF_BYTES: tuple[Damage, ...] = (truncated, emptied, removed, one_bit_flipped)
OF_TEXT: tuple[Damage, ...] = (*OF_BYTES, filled_with_zeros, empty_object, one_number_changed)


@dataclass(frozen=True)
class Case:
    """A damage to a file of a store. Files of the pattern `without` are removed, so that the damaged one is needed."""

    what: str
    name: str
    damage: Damage
    without: str = ""

    def do(self, store: Path) -> None:
        """Damage the file."""
        for path in store.glob(self.without) if self.without else ():
            path.unlink()
        self.damage(store / self.name)

    def __str__(self) -> str:
        return f"{self.what} {self.damage.__name__.replace('_', ' ')}"


def objects(store: Path, dataset: str) -> dict[str, str]:
    """One object of each kind, by kind: its name in the store."""
    import pyarrow.parquet as pq

    edition, release = (
        json.loads((store / f"editions/{dataset}/{version}/manifest.json").read_bytes())
        for version in ("1.0.0", "1.0.0-r1")
    )
    shards = [_shards(one) for one in (edition, release)]
    found = {"test shard": f"{shards[0]['test'][0]}.tar", "table of rows": f"{edition['rows'][0]['sha256']}.parquet"}
    if "quarantine" in shards[0]:
        found["quarantine shard"] = f"{shards[0]['quarantine'][0]}.tar"
    found["shard of the release"] = next(f"{one}.tar" for one in shards[1]["test"] if one not in shards[0]["test"])
    for path in sorted((store / "measures").iterdir()):
        record = json.loads(path.read_bytes())
        for info in record["tables"].values() if "tables" in record else [record.get("table", record)]:
            name = f"{info['sha256']}.parquet"
            columns = pq.read_schema(store / "objects" / name).names
            if any(column.startswith("quality.") for column in columns):
                scored = any(column.endswith("_excess") for column in columns)
                found["table of scores" if scored else "table of measurements"] = name
    return {what: f"objects/{name}" for what, name in found.items()}


def _shards(manifest: dict[str, Any]) -> dict[str, list[str]]:
    return {group: [shard["sha256"] for shard in shards] for group, shards in manifest["shards"].items()}


def mended(scene: Scene, store: Path, recipe: str, case: Case) -> str:
    """Damage a file and run the same command; it ends as if nothing had happened."""
    whole = scene.after(recipe, "run")
    copy(whole, store)
    try:
        case.do(store)
        return scene.run(words("run", scene.recipe(recipe), store)).wrong() or differs(store, whole, MOVED_ASIDE)
    finally:
        shutil.rmtree(store)


def mended_or_named(scene: Scene, store: Path, recipe: str, case: Case) -> str:
    """Damage a file and run the same command. It mends it, or its error names the file to delete; then it does."""
    whole = scene.after(recipe, "run")
    copy(whole, store)
    asked = words("run", scene.recipe(recipe), store)
    try:
        case.do(store)
        ended = scene.run(asked)
        if wrong := ended.wrong(0, 1):
            return wrong
        if ended.code == 1:
            if str(store / case.name) not in ended.output:
                return f"the error doesn't name the file: {ended.output.strip().splitlines()[-1]}"
            (store / case.name).unlink()
            if wrong := scene.run(asked).wrong():
                return f"after the file was deleted: {wrong}"
        return differs(store, whole, MOVED_ASIDE)
    finally:
        shutil.rmtree(store)


def first(store: Path, pattern: str) -> str:
    """Name of the first file in a store of this pattern."""
    return min(path.relative_to(store).as_posix() for path in store.glob(pattern))


def test_one_bit_in_a_shard_and_a_table(scene, trials, store):
    found = objects(scene.after("q", "run"), "q")
    cases = [Case(what, found[what], one_bit_flipped) for what in ("test shard", "table of scores")]
    trials(partial(mended, scene, store, "q"), cases)


@pytest.mark.fire
def test_damaged_objects_are_made_again(scene, trials, store):
    """A damaged shard or table is noticed and made again by the same command, to the byte.

    One shard or table of each kind is truncated, emptied, removed, or gets one flipped bit with its times kept.
    """
    found = objects(scene.after("k", "run"), "k")
    assert len(found) == 6
    cases = [Case(what, name, damage) for what, name in found.items() for damage in OF_BYTES]
    trials(partial(mended, scene, store, "k"), cases)


@pytest.mark.fire
def test_damaged_records_are_mended_or_named(scene, trials, store):
    """A damaged receipt, manifest, ledger or record is mended, or one line names the file to delete.

    Each is truncated, emptied, removed, filled with zeros, replaced by `{}`, or has one flipped bit or another digit.
    """
    whole = scene.after("q", "run")
    names = [
        ("receipt", first(whole, "units/*.json"), "editions/*/*/manifest.json"),
        ("record of a table", first(whole, "measures/*.json"), "curations/*"),
        ("record of a curation", first(whole, "curations/*.json"), ""),
        ("manifest", "editions/q/1.0.0/manifest.json", ""),
        ("manifest of the release", "editions/q/1.0.0-r1/manifest.json", ""),
        ("ledger", "editions/q/1.0.0/ledgers/0001.json", ""),
    ]
    cases = [Case(what, name, damage, without) for what, name, without in names for damage in OF_TEXT]
    trials(partial(mended_or_named, scene, store, "q"), cases)


@pytest.mark.fire
def test_damaged_files_beside_an_edition_are_written_again(scene, trials, store):
    """A damaged card, note of the source or pointer to the current release is written again.

    Each is truncated, emptied, removed, filled with zeros, replaced by `{}`, or has one flipped bit.
    """
    names = {
        "current.json": "editions/q/1.0.0/current.json",
        "source.txt": "editions/q/1.0.0/source.txt",
        "card": "editions/q/1.0.0-r1/README.md",
    }
    cases = [Case(what, name, damage) for what, name in names.items() for damage in OF_TEXT[:-1]]
    trials(partial(mended_or_named, scene, store, "q"), cases)
