"""`variorum versions`, `variorum gc`, and what `diff` and the card say of a version's number."""

import json
import os
import re
import shutil
import time

import pytest

from variorum.edition.editions import before, read_beside, resolve
from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.reports.card import render_card
from variorum.schemas.recipe import Recipe

VERSIONS = {
    "1.0.0": {},
    "1.0.1": {"card": {"title": "Other words"}},
    "1.0.2": {"limit": 8},  # pictures are gone, which is no patch
    "1.1.0": {},
    "1.2.0-dev": {"limit": 8},
}


def recipe(photos, version):
    curate = [{"name": "bright"}, {"name": "bright_rules", "drop": 2}] if version in ("1.0.0", "1.1.0") else []
    fields = {
        "dataset": "d",
        "version": version,
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": curate,
        **VERSIONS[version],
    }
    return Recipe.parse(fields)


@pytest.fixture(scope="module")
def built(photos, tmp_path_factory):
    """A store with versions of one dataset, a release of the first and one of the fourth."""
    folder = tmp_path_factory.mktemp("versions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        for version in VERSIONS:
            run(Job(recipe(photos, version), str(folder / "store")))
    return folder


@pytest.fixture
def cli(built, command):
    def call(*words):
        done = command(*words, "--store", str(built / "store"))
        assert "Traceback" not in done.stderr
        return done

    return call


def test_versions_of_a_store(cli, built):
    table = cli("versions").stdout
    assert re.search(r"d@1\.1\.0-r1 +│ [0-9a-f]{12} │ \d{4}-\d\d-\d\d \d\d:\d\d │ 10 +│ 0 +│ \d+\.\d │ 1\.1\.0 ", table)
    assert "change" not in table
    found = json.loads(cli("versions", "--json").stdout)
    names = ["1.0.0", "1.0.0-r1", "1.0.1", "1.0.2", "1.1.0", "1.1.0-r1", "1.2.0-dev"]
    assert sorted(one["version"] for one in found) == sorted(names)
    assert {one["version"]: one["pictures"] for one in found if one["version"] in ("1.0.0", "1.0.0-r1", "1.0.2")} == {
        "1.0.0": 12,
        "1.0.0-r1": 10,
        "1.0.2": 8,
    }
    store = Store(str(built / "store"), writable=False)
    assert {one["version"]: one["digest"] for one in found} == {
        name: resolve(f"d@{name}", store).digest() for name in names
    }
    assert [one["version"] for one in found if one["current"]] == [
        json.loads(cli("show", "d", "--json").stdout)["edition"][2:]
    ]
    assert {one["base"] for one in found} == {"", "1.0.0", "1.1.0"}
    assert all(one["since"] is None for one in found)


def test_versions_of_a_dataset_say_what_changed(cli):
    done = cli("versions", "d", "--json")
    since = {one["version"]: one["since"] for one in json.loads(done.stdout)}
    assert since["1.0.0"] is since["1.0.0-r1"] is None
    told = {name: (one["version"], one["rank"], one["fits"], one["counts"]) for name, one in since.items() if one}
    assert told == {
        "1.0.1": ("1.0.0", "patch", True, {}),
        "1.0.2": ("1.0.1", "major", False, {"dropped": 4}),
        "1.1.0": ("1.0.2", "minor", True, {"added": 4}),
        "1.1.0-r1": ("1.0.0-r1", "patch", True, {}),
        "1.2.0-dev": ("1.1.0", "major", None, {"dropped": 4}),
    }
    table = cli("versions", "d")
    assert "major since 1.0.1: 4 pictures" in " ".join(table.stdout.split())
    assert table.stderr == "warning: d@1.0.2 is a patch step and a major change\n"


def test_unknown_and_empty(cli, tmp_path, command):
    done = cli("versions", "e")
    assert (done.returncode, "there are: d" in done.stderr) == (1, True)
    (tmp_path / "empty").mkdir()
    assert "no edition" in command("versions", "--store", "empty").stdout
    assert json.loads(command("gc", "--store", "empty", "--json").stdout)["files"] == 0


def test_diff_says_the_rank_and_warns(cli):
    fine, bad = cli("diff", "d@1.0.0", "d@1.0.1"), cli("diff", "d@1.0.1", "d@1.0.2")
    assert fine.stdout.splitlines()[-1] == "patch: the same pictures, labels and splits under another version"
    assert fine.stderr == ""
    assert bad.stdout.splitlines()[-1] == "major: 4 pictures dropped"
    assert bad.stderr == "warning: d@1.0.2 is a patch step, and this is a major change; the number for it is 2.0.0\n"
    lines = [json.loads(line) for line in cli("diff", "d@1.0.1", "d@1.0.2", "--json").stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["dropped"] * 4 + ["rank"]
    assert (lines[-1]["rank"], lines[-1]["fits"], lines[-1]["needed"]) == ("major", False, "2.0.0")
    assert cli("diff", "d@1.0.0", "d@1.0.0").stdout.splitlines()[-1] == "none: the same edition, to the byte"


def test_a_card_says_what_changed_and_names_no_picture(built):
    store = Store(str(built / "store"))
    second = resolve("d@1.0.2", store)
    card = read_beside(second, "README.md", store).decode()
    section = re.search(r"^## Changes since 1\.0\.1\n(.*?)^## ", card, re.MULTILINE | re.DOTALL)
    assert section
    assert "**major** change" in section[1]
    assert "- 4 pictures dropped\n" in section[1]
    assert "it is a patch step" in section[1]
    assert ".jpg" not in section[1]
    first = resolve("d@1.0.0", store)
    assert b"Changes since" not in read_beside(resolve("d@1.0.0-r1", store), "README.md", store)
    assert before(first, store) is None


def test_a_card_is_written_when_the_earlier_version_is_damaged(built, photos, caplog):
    store = Store(str(built / "store"))
    manifest = resolve("d@1.0.2", store)
    path = store.local / "editions" / "d" / "1.0.1" / "manifest.json"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept[:100])
        assert "Changes since" not in render_card(recipe(photos, "1.0.2"), manifest, store)
        assert "isn't compared" in caplog.text
    finally:
        path.write_bytes(kept)


def test_gc_counts_first_and_removes_when_told(cli, built):
    orphan = built / "store" / "objects" / ("ab" * 32 + ".tar")
    orphan.write_bytes(b"abc" * 1000)
    os.utime(orphan, (time.time() - 5 * 86400,) * 2)
    assert cli("gc", "--older", "7d").stdout == "nothing to remove that is older than 7d\n"
    looked = cli("gc")
    assert re.search(r"objects +│ 1 +│ 0\.0 +│ 5 days", looked.stdout)
    assert looked.stdout.splitlines()[-1] == "1 file, 0.0 MB would be removed; do it with --delete"
    assert orphan.exists()
    told = json.loads(cli("gc", "--json").stdout)
    assert (told["deleted"], told["files"], told["bytes"], told["kinds"]["objects"]["files"]) == (False, 1, 3000, 1)
    assert cli("gc", "--delete").stdout.splitlines()[-1] == "removed 1 file, 0.0 MB"
    assert not orphan.exists()
    assert cli("verify", "d@1.0.0").returncode == 0
    for age in ("yesterday", "-1", "1y", ""):
        assert cli("gc", "--older", age).returncode == 2


def test_a_damaged_manifest_is_a_line_and_stops_gc(built, command, tmp_path):
    shutil.copytree(built / "store", tmp_path / "copy", symlinks=True)
    (tmp_path / "copy" / "editions" / "d" / "1.0.1" / "manifest.json").write_bytes(b"{")
    found = {one["version"]: one for one in json.loads(command("versions", "--store", "copy", "--json").stdout)}
    assert "not a manifest" in found["1.0.1"]["problem"]
    assert found["1.0.0"]["problem"] == ""
    done = command("gc", "--delete", "--store", "copy")
    assert (done.returncode, "nothing is removed" in done.stderr) == (1, True)
