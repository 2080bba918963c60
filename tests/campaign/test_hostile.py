"""Hostile files, recipes and command lines"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mutants
import pytest
from hostile_arguments import CASES, Case, closed_port, prepare
from hostile_files import ACCEPTED, ANY, COUNTED, COUNTS, ROW, SILENT, hostile_files
from scene import words

from variorum.pixels import FORMATS

RECIPE = """\
dataset: hostile
version: 1.0.0
max_failure_rate: 1.0
source: {name: image_folder, path: PHOTOS}
"""


@pytest.mark.fire
def test_hostile_files(scene, trials, tmp_path):
    """No file stops a folder: each is a picture, a row with a reason, or a part of a counted warning.

    About 150 files: odd modes, cut off, bombs, links in circles, FIFOs, devices, names that aren't UTF-8.
    """
    import pyarrow.parquet as pq

    from variorum.edition.editions import resolve
    from variorum.edition.store import Store

    photos, store = tmp_path / "photos", tmp_path / "store"
    fate = hostile_files(photos)
    recipe = tmp_path / "hostile.yaml"
    recipe.write_text(RECIPE.replace("PHOTOS", str(photos)))
    ended = scene.run(words("build", recipe, store))
    assert not ended.wrong(), ended.output
    manifest = resolve("hostile", Store(str(store), writable=False))
    tables = [pq.read_table(store / "objects" / f"{info.sha256}.parquet").to_pylist() for info in manifest.rows]
    found = {row["origin"]: row for table in tables for row in table}
    warned = sum(int(one[1]) for line in ended.output.splitlines() if (one := COUNTS.match(line)))
    counted = sum(becomes == COUNTED for becomes in fate.values())

    def attack(name: str) -> str:
        becomes, row = fate[name], found.get(name)
        if becomes in (COUNTED, SILENT):
            if row or becomes == SILENT:
                return "it has a row" if row else ""
            return "" if warned == counted else f"warnings count {warned} files, not {counted}"
        if row is None:
            return "it has no row"
        reason = row["reason"]
        right = becomes == ANY or bool(reason) == (becomes != ACCEPTED)
        return "" if right and (becomes in (ACCEPTED, ANY, ROW) or becomes == reason) else f"{becomes}, but {reason!r}"

    trials(attack, sorted(fate))
    shutil.rmtree(photos, ignore_errors=True)


@pytest.mark.fire
def test_fuzzed_decoders(trials):
    """A damaged picture is a picture or has a reason: no crash, no other error, no memory beyond a limit.

    Pictures of all formats, damaged at random, 600 a trial, each decoded in four ways in a process with 4 GiB.
    """

    def attack(case: tuple[str, int]) -> str:
        words = [sys.executable, mutants.__file__, case[0], str(case[1])]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        last = (ended.stdout.splitlines() or ["none"])[-1]
        said = (ended.stderr.strip().splitlines() or [""])[-1]
        return f"mutant {last}: exit code {ended.returncode}: {said[-200:]}" if ended.returncode else ""

    trials(attack, [(format, seed) for format in FORMATS for seed in range(3)])


@pytest.mark.fire
def test_hostile_arguments(scene, trials, photos, tmp_path):
    """Every command line and recipe, however wrong, ends in one line and a documented exit code.

    Recipes that aren't YAML, bombs of aliases, wrong fields, odd stores and names, each in a process of its own.
    """
    place = tmp_path / "place"
    place.mkdir()
    prepare(place, photos)
    scene_there = type(scene)(place)
    assert not scene_there.run(
        ["build", "good.yaml", "--store", "store", "--runner", "threads"], cache=scene.cache
    ).wrong()

    def attack(case: Case) -> str:
        given = [word.replace("{port}", str(closed_port())) for word in case.words]
        ended = scene_there.run(given, cache=scene.cache)
        codes = case.code if isinstance(case.code, tuple) else (case.code,)
        if ended.code not in codes or "Traceback" in ended.output or case.says not in ended.output:
            return f"exit code {ended.code}: {ended.output[-200:]}"
        if set(ended.output) & set("\x1b\0\u202e") or "hunter22" in ended.output:
            return "it prints control characters or a password"
        return "it ran code of the recipe" if list(Path(place).glob("owned")) else ""

    trials(attack, [case for number, case in enumerate(CASES) if number % 3])  # a process for each takes long
