import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from acme_components.bright import Bright
from bright_editions import judged, recipe, released, rows, samples

from variorum.edition.editions import current, find
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verdicts import keep_verdicts, read_verdicts, verdict_table, verdicts_of
from variorum.edition.verify import verify
from variorum.pipeline import Job, Threads, release, rollback
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.stages.release import Release, added_content, release_units

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


# ── what comes out ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_release_drops_relabels_and_copies_the_rest(photos, store):
    manifest, made = released(recipe(photos, drop=2, relabel=1, review=1), store)
    assert made.version == "1.0.0-r1"
    before, after = samples(manifest, store), samples(made, store)
    old, new = rows(manifest, store), rows(made, store)
    dropped = {name for name, row in new.items() if row["status"] == "dropped"}
    relabelled = {name for name, row in new.items() if row.get("action") == "relabel"}
    assert len(dropped) == 2
    assert len(relabelled) == 1
    assert set(after) == set(before) - dropped
    for name, members in after.items():
        changed = {ending for ending in members if members[ending] != before[name][ending]}
        assert changed <= ({"json", "cls"} if name in relabelled else set())
    (name,) = relabelled
    record = json.loads(after[name]["json"])
    assert record["labels"] == ["chelsea"]
    assert {key: value for key, value in record.items() if key != "labels"} == {
        key: value for key, value in json.loads(before[name]["json"]).items() if key != "labels"
    }
    assert after[name]["cls"] == b"%d" % [class_id for class_id, _ in made.classes].index("chelsea")
    assert new[name]["labels"] == ["chelsea"]
    assert {row["why"] for row in new.values() if row.get("action") == "review"} == {"odd"}
    assert {row["by"] for row in new.values() if row.get("action")} == {"bright_rules"}
    assert all(new[name]["sha256"] == old[name]["sha256"] for name in old)
    assert made.counts == {"original": {"accepted": 10, "dropped:too_bright": 2}}
    assert sum(made.licences.values()) == 10
    assert verify(made, store) == []
    assert verify(manifest, store) == []


def test_untouched_shards_keep_their_names(photos, store):
    manifest, made = released(recipe(photos, drop=1), store)
    same = [a == b for a, b in zip(manifest.shards["test"], made.shards["test"], strict=True)]
    assert sorted(same) == [False, True, True]
    assert sorted(a == b for a, b in zip(manifest.rows, made.rows, strict=True)) == [False, True, True]


def test_a_shard_that_is_written_again_is_no_second_file(photos, store):
    released(recipe(photos, drop=1, review=6), store)
    objects, all_files = (list(Path(store.root).glob(found)) for found in ("objects/*.tar", "**/*.tar"))
    assert len({path.stat().st_ino for path in all_files}) == len(objects)


def test_a_release_is_made_once(photos, store):
    what = recipe(photos, drop=1)
    manifest, number, ledger = judged(what, store)
    first = release(Job(what, store), manifest, number, ledger, Threads(1))
    objects = {path: path.stat().st_ino for path in Path(store.root).glob("objects/*")}
    assert release(Job(what, store), manifest, number, ledger, Threads(3)) == first
    for path in Path(store.root).glob("editions/d/1.0.0-r1/manifest.json"):
        path.unlink()  # also when it isn't sealed yet
    assert release(Job(what, store), manifest, number, ledger, Threads(3)) == first
    assert {path: path.stat().st_ino for path in Path(store.root).glob("objects/*")} == objects


def test_what_is_sealed_and_whole_ends_early_and_is_put_in_use(photos, store, monkeypatch):
    ways = [recipe(photos, drop=number) for number in (1, 2)]
    made = [released(what, store)[1] for what in ways]
    manifest, number, ledger = judged(ways[0], store)
    assert current(manifest, store) == made[1]
    monkeypatch.setattr(Store, "receipt", lambda *_: pytest.fail("looked for a unit"))
    assert release(Job(ways[0], store), manifest, number, ledger) == made[0]
    assert current(manifest, store) == made[0]


def test_a_release_that_lost_a_shard_is_made_again(photos, store):
    what = recipe(photos, drop=1)
    manifest, made = released(what, store)
    (mine,) = [shard for shard in made.shards["test"] if shard not in manifest.shards["test"]]
    store.path(mine).unlink()
    assert verify(made, store) != []
    assert released(what, store)[1] == made
    assert verify(made, store) == []


# ── members that a detector adds ─────────────────────────────────────────────────────────────────────────────────────


def test_members_that_a_step_adds(photos, store):
    manifest, made = released(recipe(photos, notes=True), store)
    assert made.members == sorted([*manifest.members, "note.txt"])
    before, after = samples(manifest, store), samples(made, store)
    assert {members.pop("note.txt") for members in after.values()} == {b"rank %d" % place for place in range(11)}
    assert all(after[name] == before[name] for name in after)
    assert verify(made, store) == []


@pytest.mark.parametrize("measured", [False, True])
def test_a_unit_reads_its_own_stretch_of_what_is_added(photos, store, measured, monkeypatch):
    if measured:
        kept = Bright.measure

        def measure(self, samples, ctx):
            for sample, row in zip(samples, kept(self, samples, ctx), strict=True):
                yield {**row, "note": sample.id.encode()}

        monkeypatch.setattr(Bright, "measure", measure)
    monkeypatch.setattr("variorum.edition.tables.GROUP", 3)  # units of 4 begin and end within groups
    what = recipe(photos, notes=not measured)
    manifest, number, ledger = judged(what, store)
    assert ledger.members == {"note.txt": "bright.note"}
    for part in release_units(manifest, ledger, store):
        table = read_table(store, [part.receipt.rows])
        content = added_content(ledger, part, store)["note.txt"]
        assert list(content) == table.column("id").to_pylist()
    made = release(Job(what, store), manifest, number, ledger)
    notes = {key: members["note.txt"] for key, members in samples(made, store).items()}
    if measured:
        assert notes == {key: key.encode() for key in notes}
    else:
        assert sorted(int(note.split()[1]) for note in notes.values()) == list(range(11))
    assert verify(made, store) == []


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_stale_verdicts_are_refused(photos, store):
    what = recipe(photos, drop=2)
    manifest, _, ledger = judged(what, store)
    verdicts = list(verdicts_of(read_verdicts(ledger.verdicts, store)))
    stale = [replace(verdicts[0], sha256="0" * 64), replace(verdicts[1], id="e" * 32)]
    keys = pa.table({name: [getattr(one, name) for one in stale] for name in ("id", "sha256")})
    forged = ledger.model_copy(update={"verdicts": keep_verdicts(verdict_table(stale, keys), store)})
    with pytest.raises(StoreError, match=r"2 verdicts on d@1.0.0: 1 name pictures that aren't in it, 1 a picture that"):
        Release(Job(what, store), manifest, forged).parts()


def test_a_label_that_is_no_class(photos, store):
    what = recipe(photos, relabel=1, to="unicorn")
    manifest, number, ledger = judged(what, store)
    with pytest.raises(StoreError, match=r"\['unicorn'\] is no class of the edition"):
        release(Job(what, store), manifest, number, ledger)


# ── going back ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rollback_restores_the_digest(photos, store):
    manifest, first = released(recipe(photos, drop=1), store)
    assert current(manifest, store) == first
    _, second = released(recipe(photos, drop=4), store)
    assert second.version == "1.0.0-r2"
    assert find("d", store) == second
    assert find("d@1.0.0", store) == manifest
    for shard in first.shards["test"]:
        if shard not in manifest.shards["test"] and shard not in second.shards["test"]:
            store.path(shard).unlink()
    assert verify(first, store) != []
    again = rollback(manifest, store)
    assert again.digest() == first.digest()
    assert verify(again, store) == []
    assert find("d", store) == first
    assert rollback(manifest, store, 2) == second
    rollback(manifest, store)
    with pytest.raises(StoreError, match=r"no release before 1.0.0-r1; there are: 1, 2"):
        rollback(manifest, store)
    with pytest.raises(StoreError, match="has no release 5"):
        rollback(manifest, store, 5)


def test_rollback_passes_over_releases_of_what_the_edition_was(photos, store):
    def dropping(number: int, **more):
        return Recipe.parse({**recipe(photos, drop=number).dump(), "version": "1.0.0-dev", **more})

    before = released(dropping(1), store)[1]
    released(dropping(2, limit=8), store)
    manifest, last = released(dropping(3, limit=8), store)
    assert last.version == "1.0.0-dev-r3"
    assert rollback(manifest, store).version == "1.0.0-dev-r2"
    with pytest.raises(StoreError, match=r"no release before 1\.0\.0-dev-r2; there are: 2, 3; of what .* moved: 1$"):
        rollback(manifest, store)
    with pytest.raises(StoreError, match=r"release 1 is of what d@1\.0\.0-dev was .*d@1\.0\.0-dev-r1"):
        rollback(manifest, store, 1)
    assert find("d@1.0.0-dev-r1", store) == before
    assert verify(before, store) == []


def test_a_failure_with_the_id_of_a_picture_changes_nothing(photos, tmp_path):
    """A generator may say of one request that it succeeded and that it failed; the verdict is about the picture."""
    file = tmp_path / "both.py"
    file.write_text(
        "from variorum.schemas.component import Generator\n"
        "class Both(Generator):\n"
        "    def edit(self, sample, of):\n"
        "        yield of.made(sample.image, variant='v', requested={})\n"
        "        yield of.skipped('odd', variant='v', requested={})\n"
    )
    store = Store(str(tmp_path / "store"))
    what = recipe(photos, drop=2, relabel=3).model_copy(
        update={"generate": (build_component("generate", {"name": str(file)}, "generate"),)}
    )
    manifest, made = released(what, store)
    assert (manifest.pictures(), made.pictures()) == (12, 10)
    assert verify(made, store) == []
    found = read_table(store, made.rows).to_pylist()
    assert sorted((row["status"], row["action"] or "") for row in found if row["action"]) == [
        *[("accepted", "relabel")] * 3,
        *[("dropped", "drop")] * 2,
    ]
