"""Tar shards to decisions to tar shards, on real photographs with known faults."""

import json

import pytest
from injected import inject

from schemas.recipe import Recipe
from variorum.context import open_context
from variorum.curate import curate
from variorum.diff import diff
from variorum.engine import build
from variorum.ledgers import read_verdicts, settle
from variorum.recipes import load_recipe
from variorum.release import release, rollback
from variorum.shards import read_shard
from variorum.store import Store
from variorum.tables import read_table
from variorum.verify import verify


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """The shipped recipe on a folder with injected faults: what was injected, the edition, its ledger, its release."""
    folder = tmp_path_factory.mktemp("curated")
    faults = inject(folder / "photos")
    what = load_recipe(
        "curate_folder",
        [
            "source.name=image_folder",
            f"source.path={folder / 'photos'}",
            "samples_per_shard=64",
            "curate.policy.min_class_size=10",  # the classes have about twenty pictures
            "curate.policy.max_share_per_class=0.3",
            "curate.confident_learning.min_class_size=10",
        ],
    )
    store = Store(str(folder / "store"))
    ctx = open_context(what, "embedded")
    manifest = build(what, ctx, store, profile="embedded")
    number, ledger = curate(what, manifest, ctx, store)
    return faults, what, manifest, number, ledger, release(manifest, number, ledger, store), store


def actions(curated) -> dict[str, tuple[str, str]]:
    _, _, manifest, _, ledger, _, store = curated
    origin = {row["id"]: row["origin"] for row in read_table(store, manifest.rows, ["id", "origin"]).to_pylist()}
    found = settle(read_verdicts(ledger, store))
    return {origin[name]: (verdict.action, verdict.reason) for name, verdict in found.items()}


def share(found, names, *wanted: str) -> float:
    return sum(found.get(name, ("", ""))[0] in wanted for name in names) / len(names)


def test_injected_faults_are_found(curated):
    faults, found = curated[0], actions(curated)
    assert share(found, faults.flips, "relabel", "review", "drop") >= 0.8
    assert share(found, faults.foreign, "relabel", "review", "drop") >= 0.8
    assert share(found, faults.foreign, "review", "drop") >= 0.6  # some get another label, as if they had one
    assert share(found, faults.damage, "review", "drop") == 1
    pairs = [(copy, original) for copy, original in faults.copies.items()]
    assert all("drop" in {found.get(name, ("",))[0] for name in pair} for pair in pairs)


def test_what_is_right_is_left_alone(curated):
    faults, found = curated[0], actions(curated)
    faulty = {*faults.flips, *faults.foreign, *faults.damage, *faults.copies, *faults.copies.values()}
    _, _, manifest, *_, store = curated
    clean = [
        name for name in read_table(store, manifest.rows, ["origin"]).column("origin").to_pylist() if name not in faulty
    ]
    assert share(found, clean, "drop", "relabel") <= 0.02
    assert share(found, clean, "review") <= 0.2  # a tenth lies beyond the 0.1 quantile by definition


def test_labels_are_mended(curated):
    faults, _, manifest, _, _, released, store = curated
    changed = {change.origin: change.after for change in diff(manifest, released, store) if change.kind == "relabelled"}
    flips = {name: right for name, right in faults.flips.items() if name in changed}
    assert len(flips) >= 0.7 * len(faults.flips)
    assert sum(changed[name] == (right,) for name, right in flips.items()) >= 0.95 * len(flips)


def test_untouched_members_are_copied_to_the_byte(curated):
    _, _, manifest, _, _, released, store = curated
    before, after = (
        {key: m for shard in x.shards["test"] for key, m in read_shard(store.path(shard))} for x in (manifest, released)
    )
    assert set(after) < set(before)
    for key, members in after.items():
        assert members["png"] == before[key]["png"]
        if json.loads(members["json"])["labels"] == json.loads(before[key]["json"])["labels"]:
            assert members == before[key]
    assert verify(released, store) == []


def test_the_same_again_and_back(curated, tmp_path):
    _, what, manifest, number, ledger, released, store = curated
    other = Store(str(tmp_path / "store"))
    ctx = open_context(what, "embedded")
    again = build(what, ctx, other, profile="embedded", workers=2)
    assert again.digest() == manifest.digest()
    assert curate(what, again, ctx, other, workers=2) == (number, ledger)
    assert release(again, number, ledger, other, workers=2).digest() == released.digest()
    strict = Recipe.parse(
        {
            **what.dump(),
            "curate": [*what.dump()["curate"][:-2], {**what.dump()["curate"][-2], "max_share_per_class": 0.05}],
        }
    )
    second = release(manifest, *curate(strict, manifest, ctx, store), store)
    assert second.digest() != released.digest()
    assert rollback(manifest, store).digest() == released.digest()
