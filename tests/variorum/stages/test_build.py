import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from variorum.edition.editions import editions, resolve
from variorum.edition.shards import read_shard, sample_at
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.machine.retrying import hash_content
from variorum.pipeline import Job, Threads, build
from variorum.schemas.errors import CorruptShard, SourceChanged, SourceError, StoreError, TooManyFailures, VersionDrift
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build, seal_edition
from variorum.stages.estimate import estimate
from variorum.stages.join import Join, drop

pytestmark = pytest.mark.usefixtures("own_cache")


def recipe(photos: Path, *generate, **fields) -> Recipe:
    source = {"name": "image_folder", "path": str(photos)}
    defaults = {"dataset": "d", "version": "1.0.0", "samples_per_shard": 4, "source": source}
    return Recipe.parse({**defaults, "generate": [{"name": "probe", **config} for config in generate], **fields})


def made(what: Recipe, store: Store, workers: int = 1):
    return build(Job(what, store), Threads(workers))


def nothing(_steps: int) -> None:
    pass


def rows(manifest, store: Store) -> list[dict]:
    return read_table(store, manifest.rows).to_pylist()


def tree(url: str) -> dict[str, str]:
    """Everything that an edition is, by hash: objects and manifest, not receipts, which hold clocks."""
    root = Path(url)
    paths = [*root.glob("objects/*"), *root.glob("editions/*/*/manifest.json"), *root.glob("editions/*/*/data/*")]
    return {str(path.relative_to(root)): hash_content(path) for path in paths}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


# ── what comes out ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_an_edition_of_the_source_itself(photos, tmp_path, kind):
    store = Store(str(tmp_path / "s") if kind == "folder" else f"memory://{uuid.uuid4().hex}")
    manifest = made(recipe(photos), store)
    assert manifest.counts == {"original": {"accepted": 12}}
    assert manifest.members == ["cls", "json", "png"]
    assert manifest.classes == [("astronaut", "astronaut"), ("chelsea", "chelsea"), ("coffee", "coffee")]
    assert [shard.samples for shard in manifest.shards["test"]] == [4, 4, 4]
    assert "quarantine" not in manifest.shards
    assert verify(manifest, store) == []
    assert resolve("d", Store(store.url)) == manifest
    labels = [int(ms["cls"]) for info in manifest.shards["test"] for _, ms in read_shard(store.path(info))]
    assert labels == [0] * 4 + [1] * 4 + [2] * 4


def test_pictures_come_through_unchanged(photos, store):
    from variorum.pixels import decode

    manifest = made(recipe(photos), store)
    by_origin = {row["origin"]: row for row in rows(manifest, store)}
    for path in photos.rglob("*.jpg"):
        row = by_origin[path.relative_to(photos).as_posix()]
        shard = manifest.shards["test"][row["label"]]  # four pictures a class, four a shard
        key, members = sample_at(store.path(shard), row["start"])
        assert key == row["id"] == json.loads(members["json"])["id"]
        assert np.array_equal(decode(members["png"]), decode(path.read_bytes()))


def test_what_is_not_made_is_a_row(photos, store):
    (photos.parent / "mixed").mkdir(exist_ok=True)
    folder = photos.parent / "mixed" / uuid.uuid4().hex
    shutil.copytree(photos, folder)
    (folder / "coffee" / "0.jpg").write_bytes(b"\xff\xd8\xffnot a picture")
    (folder / "coffee" / "1.jpg").write_bytes(b"")
    what = recipe(folder, {"fail": "chelsea/0", "ineligible": "chelsea/1", "quarantine": "astronaut"})
    manifest = made(what, store)
    assert sum(sum(statuses.values()) for statuses in manifest.counts.values()) == 22
    assert manifest.counts["negative_0"] == {
        "accepted": 4,
        "failed:asked_for": 1,
        "ineligible:asked_for": 1,
        "quarantined:asked_for": 4,
    }
    assert manifest.counts["original"]["accepted"] == 10
    assert sum(manifest.counts["original"].values()) == 12
    assert [shard.samples for shard in manifest.shards["quarantine"]] == [4]
    failed = [row for row in rows(manifest, store) if row["status"] == "failed"]
    assert {row["origin"] for row in failed if row["variant"] == "original"} == {"coffee/0.jpg", "coffee/1.jpg"}
    assert all(row["start"] == -1 and row["sha256"] == "" and row["reason"] for row in failed)
    assert all(row["detail"] for row in failed if row["variant"] == "original")
    assert verify(manifest, store) == []


def test_too_many_failures_name_the_first_and_the_reasons(photos, store):
    what = recipe(photos, {"fail": "chelsea"}, max_failure_rate=0.75)
    with pytest.raises(TooManyFailures) as error:
        made(what, store)
    assert "source samples 4 to 7: 4 of 4 failed, more than max_failure_rate 0.75 allows (asked_for 4)" in str(
        error.value
    )
    assert list(store.scratch.iterdir()) == []
    assert editions(store) == []
    assert sum(1 for _ in Path(store.root, "units").iterdir()) == 2  # the other units are done


def test_failures_of_later_generators_count_the_source_samples(photos, store):
    what = recipe(photos, {"copies": 5}, {"fail": "chelsea/0", "copies": 3}, max_failure_rate=0.25)
    manifest = made(what, store)  # one of four source samples failed, eighteen times
    assert sum(n for counts in manifest.counts.values() for key, n in counts.items() if "failed" in key) == 18
    with pytest.raises(TooManyFailures, match="1 of 4 failed"):
        made(what.model_copy(update={"max_failure_rate": 0.2, "seed": 1, "version": "2.0.0"}), store)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unit_that_breaks_costs_no_other(photos, store, workers):
    what = recipe(photos, {"explode": "astronaut/1"})
    with pytest.raises(ZeroDivisionError, match=r"exploded at astronaut/1\.jpg"):
        made(what, store, workers=workers)
    assert [store.receipt(unit.key) is not None for unit in Job(what, store).plan.units] == [False, True, True]
    assert list(store.scratch.iterdir()) == []


def test_a_generator_that_breaks_leaves_no_thread(photos, store):
    what = recipe(photos, {"explode": "astronaut/0"}, samples_per_shard=12)
    job, before = Job(what, store), set(threading.enumerate())
    try:
        Build(job).make(job.plan.units[0], nothing)
    except ZeroDivisionError as error:
        kept = error  # with its traceback, as a runner keeps it
        assert [one for one in threading.enumerate() if one.name == "prefetch" and one not in before] == []
    assert kept


def test_members_that_differ_within_a_shard_are_refused(photos, store):
    with pytest.raises(StoreError, match="all must have the same"):
        made(recipe(photos, {"mask": "chelsea/0"}), store)


def test_members_that_differ_between_shards_are_refused(photos, store):
    with pytest.raises(StoreError, match="shards differ in their samples' members"):
        made(recipe(photos, {"mask": "chelsea", "originals": False}), store)


def test_a_source_without_pictures(tmp_path, store):
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError):
        made(recipe(tmp_path / "none"), store)


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_folder_may_move(photos, tmp_path, store):
    one = made(recipe(photos, {}), store)
    shutil.copytree(photos, tmp_path / "moved")
    assert made(recipe(tmp_path / "moved", {}), store) == one


def test_workers_and_the_order_of_receipts_do_not_matter(photos, tmp_path):
    what = recipe(photos, {"quarantine": "coffee"}, samples_per_shard=2)
    stores = [Store(str(tmp_path / name)) for name in ("one", "two", "loop")]
    digests = {made(what, store, workers=n).digest() for n, store in zip((1, 3), stores, strict=False)}
    job = Job(what, stores[2])
    units = list(job.plan.units)
    random.Random(1).shuffle(units)
    receipts = {unit.key: Build(job).make(unit, nothing) for unit in units}
    digests.add(seal_edition(job, [receipts[unit.key] for unit in job.plan.units]).digest())
    assert len(digests) == 1
    assert tree(stores[0].url) == tree(stores[1].url) == tree(stores[2].url)


@pytest.mark.parametrize("seconds", ["0", "0.02"])
def test_the_order_of_rows_does_not_say_which_thread_was_faster(photos, tmp_path, store, monkeypatch, seconds):
    """The generators' thread finds what the source couldn't read while another thread writes what they made."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, file in enumerate(sorted(photos.rglob("*.jpg"))[:3]):
        (folder / f"{number}.jpg").write_bytes(file.read_bytes())
        (folder / f"{number}_empty.jpg").write_bytes(b"")
    monkeypatch.setenv("PROBE_SECONDS", seconds)
    manifest = made(recipe(folder, {"ineligible": ".jpg"}, samples_per_shard=6, max_failure_rate=1), store)
    left_out = [row["variant"] for row in rows(manifest, store) if row["status"] != "accepted"]
    assert left_out == ["original"] * 3 + ["negative_0"] * 3


def test_the_shard_size_does_not_change_a_picture(photos, tmp_path):
    one, other = Store(str(tmp_path / "one")), Store(str(tmp_path / "other"))
    small = rows(made(recipe(photos, {}, samples_per_shard=1), one), one)
    large = rows(made(recipe(photos, {}, samples_per_shard=12), other), other)
    assert {row["id"]: row["sha256"] for row in small} == {row["id"]: row["sha256"] for row in large}
    assert len({row["id"] for row in small}) == 24


def test_a_limit_uses_units_made_before(photos, store):
    made(recipe(photos, {}, version="1.0.0-dev", limit=4), store)
    before = {path: path.stat().st_mtime_ns for path in Path(store.root, "units").iterdir()}
    made(recipe(photos, {}), store)
    assert len(before) == 1
    assert all(path.stat().st_mtime_ns == mtime for path, mtime in before.items())


@pytest.mark.parametrize("change", [{"seed": 1}, {"generate": [{"name": "probe", "strength": 3.0}]}, {"limit": 3}])
def test_another_recipe_under_a_sealed_version_drifts_before_any_work(photos, store, change):
    made(recipe(photos, {}), store)
    done = len(list(Path(store.root, "units").iterdir()))
    with pytest.raises(VersionDrift):
        made(Recipe.parse({**recipe(photos, {}).dump(), **change}), store)
    assert len(list(Path(store.root, "units").iterdir())) == done


def test_changed_data_is_another_edition(photos, tmp_path, store):
    folder = tmp_path / "changed"
    shutil.copytree(photos, folder)
    made(recipe(folder), store)
    shutil.copy(folder / "coffee" / "0.jpg", folder / "coffee" / "1.jpg")
    with pytest.raises(VersionDrift):
        made(recipe(folder), store)


def test_the_global_random_state_is_not_used(photos, store, monkeypatch):
    import torch

    def guarded(owner, name):
        """The function, refused to callers of this project; a Prefect thread of another test may use it meanwhile."""
        original = getattr(owner, name)

        def call(*args, **kwargs):
            frame = sys._getframe(1)
            while frame is not None:
                if frame.f_globals.get("__name__", "").partition(".")[0] == "variorum":
                    raise AssertionError(f"global random state used: {name}")
                frame = frame.f_back
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for name in ("random", "randint", "randrange", "choice", "shuffle", "uniform", "gauss", "seed", "getrandbits"):
        guarded(random, name)
    for name in ("rand", "randn", "randint", "random", "normal", "uniform", "choice", "permutation", "shuffle", "seed"):
        guarded(np.random, name)
    with pytest.raises(AssertionError, match="global random state used"):  # the guard sees a project's caller
        exec(compile("random.random()", "x", "exec"), {"__name__": "variorum.generators.x", "random": random})
    before = torch.get_rng_state()
    made(recipe(photos, {"copies": 2}), store)
    assert torch.equal(torch.get_rng_state(), before)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["folder", "memory"])
@pytest.mark.parametrize("what", ["shard", "rows", "lost"])
def test_verify_names_what_is_damaged_and_a_run_mends_it(photos, tmp_path, kind, what):
    store = Store(str(tmp_path / "s") if kind == "folder" else f"memory://{uuid.uuid4().hex}")
    manifest = made(recipe(photos, {}), store)
    assert verify(manifest, store) == []  # a remote store has its own copies of the files now
    info, suffix = (manifest.rows[1], ".parquet") if what == "rows" else (manifest.shards["test"][1], ".tar")
    target = f"{store.root}/objects/{info.sha256}{suffix}"
    whole = store.fs.cat_file(target)
    if what == "lost":
        store.fs.rm_file(target)
    else:
        store.fs.pipe_file(target, whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])
    problems = verify(manifest, store)
    assert len(problems) == 1
    assert info.sha256 in problems[0]
    if what != "lost":
        store.fs.rm_file(target)
    assert made(recipe(photos, {}), store) == manifest
    assert verify(manifest, store) == []


def test_evaluate_names_a_damaged_shard(photos, store):
    from variorum.stages.measure import shard_samples

    job = Job(recipe(photos), store)
    info = build(job).shards["test"][0]
    path = Path(store.root, "objects", f"{info.sha256}.tar")
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(CorruptShard, match="bytes should be; run the recipe again"):
        list(shard_samples(info, job.store))


def test_a_short_last_unit_may_have_as_many_failures_as_a_whole_one(photos, store):
    done = made(recipe(photos, {"fail": "coffee"}, samples_per_shard=8), store)  # 4 of 4 in the last unit
    assert done.sources == 12
    with pytest.raises(TooManyFailures, match="source samples 8 to 11: 4 of 4 failed"):
        made(
            recipe(photos, {"fail": "coffee"}, samples_per_shard=8, seed=1, max_failure_rate=0.4, version="2.0.0"),
            store,
        )


def test_a_unit_that_another_process_planned_from_other_data_is_not_made(photos, store, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "copy")
    planned = Build(Job(recipe(folder), store)).parts()
    shutil.copy(folder / "coffee" / "0.jpg", folder / "coffee" / "1.jpg")
    with pytest.raises(SourceChanged, match="has changed since the run began"):
        Build(Job(recipe(folder), store)).make(planned[0], nothing)
    assert store.receipt(planned[0].key) is None


def test_the_links_of_a_dev_version_are_those_of_its_manifest_after_a_race(photos, store, monkeypatch):
    """Another process seals the same version between this one's manifest and its links."""
    from variorum.edition import editions as module

    first, second = recipe(photos, version="1.0.0-dev"), recipe(photos, version="1.0.0-dev", limit=4)
    link, raced = module.link_data, []

    def slow(manifest, where, **options):
        if not raced:
            raced.append(None)
            raced[0] = made(second, store)
        link(manifest, where, **options)

    made(recipe(photos, version="2.0.0"), store), made(recipe(photos, version="3.0.0", limit=4), store)  # the units
    monkeypatch.setattr(module, "link_data", slow)
    made(first, store)
    there = resolve("d@1.0.0-dev", store)
    assert there == raced[0]
    assert verify(there, store) == []


def test_a_unit_made_in_parts_is_the_same_as_in_one_go(photos, store, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "copy")
    (folder / "coffee" / "0.jpg").write_bytes(b"")
    fields = {"samples_per_shard": 8, "configs": "variant", "splits": {"test": 0.5}}
    probe = {"quarantine": "astronaut/1", "fail": "chelsea/0"}
    whole = made(recipe(folder, probe, **fields), Store(str(tmp_path / "whole")))
    parts = made(recipe(folder, probe, **fields, samples_per_part=3), store, workers=2)
    assert len(parts.units) == 2
    assert parts.shards == whole.shards
    assert verify(parts, store) == []
    there = [sorted(rows(one, of), key=str) for one, of in ((parts, store), (whole, Store(str(tmp_path / "whole"))))]
    assert there[0] == there[1]
    assert len(list(Path(store.root, "objects").iterdir())) == 2 + sum(map(len, parts.shards.values()))
    assert {path.stem for path in Path(store.root, "units").iterdir()} == set(parts.units)


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_only_what_is_lost_of_a_unit_in_parts_is_made_again(photos, tmp_path, kind, monkeypatch):
    store = Store(str(tmp_path / "s") if kind == "folder" else f"memory://{uuid.uuid4().hex}")
    what = recipe(photos, {}, samples_per_shard=6, samples_per_part=2, configs="variant")
    job, again = Job(what, store), []
    parts = Build(job).parts()
    assert [(part.start, part.stop) for part in parts] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12)]
    receipts = [Build(job).make(part, nothing) for part in parts]
    store.fs.rm_file(store.object(receipts[1].part, ".part"))
    assert (estimate(Job(what, Store(store.url))).done, estimate(job).units) == (5, 6)
    make = Build.make
    monkeypatch.setattr(
        Build, "make", lambda self, part, advance: again.append(part.start) or make(self, part, advance)
    )
    manifest = made(what, Store(store.url))
    assert again == [2]
    assert estimate(job).done == 6
    assert verify(manifest, store) == []
    lost = manifest.shards["original/test"][1]
    store.fs.rm_file(store.object(lost, ".tar"))
    assert made(what, Store(store.url)) == manifest
    assert again == [2, 6, 8, 10]
    assert verify(manifest, Store(store.url)) == []


def test_a_part_of_a_damaged_unit_is_made_again_once(photos, store):
    what = recipe(photos, {}, samples_per_shard=6, samples_per_part=2)
    lost = next(iter(made(what, store).shards.values()))[0]
    store.fs.rm_file(store.object(lost, ".tar"))
    stage = Build(Job(what, Store(store.url)))
    part = stage.parts()[0]
    file = Path(store.object(stage.make(part, nothing).part, ".part"))
    before = file.stat().st_ino
    stage.make(part, nothing)
    assert file.stat().st_ino == before


def test_a_part_that_another_process_joins_meanwhile_is_not_made_again(photos, store, monkeypatch):
    what = recipe(photos, {}, samples_per_shard=6, samples_per_part=2)
    stage = Build(Job(what, store))
    part = stage.parts()[0]
    stage.make(part, nothing)
    look = store.receipt

    def joined_meanwhile(key):
        found = look(key)
        if key == part.key:
            made(what, Store(store.url))
        return found

    monkeypatch.setattr(store, "receipt", joined_meanwhile)
    assert stage.make(part, nothing).unit == part.unit


def test_parts_that_another_process_joins_while_they_are_read(photos, store, monkeypatch):
    what = recipe(photos, {}, samples_per_shard=6, samples_per_part=2)
    job, place = Job(what, store), store.path
    for part in Build(job).parts():
        Build(job).make(part, nothing)

    def joined_meanwhile(info, suffix=".tar", **options):
        path = place(info, suffix, **options)
        if suffix == ".part":
            made(what, Store(store.url))
        return path

    monkeypatch.setattr(store, "path", joined_meanwhile)
    assert Join(job).make(job.plan.units[0], nothing) == store.receipt(job.plan.units[0].key)


def test_a_short_unit_without_parts_is_lost_before_the_others_are_joined(photos, store):
    what = recipe(photos, {}, samples_per_shard=5, samples_per_part=2)
    job = Job(what, store)
    for part in Build(job).parts():
        Build(job).make(part, nothing)
    last = job.plan.units[-1]
    assert last in job.plan.parts
    store.fs.rm_file(f"{store.root}/units/{last.key}.json")
    with pytest.raises(CorruptShard, match="run the recipe again"):
        Join(job).make(last, nothing)
    assert verify(made(what, Store(store.url)), store) == []


def test_a_listing_that_lacks_what_was_just_made_repeats_nothing(photos, monkeypatch):
    store, what = Store(f"memory://{uuid.uuid4().hex}"), recipe(photos, {}, samples_per_shard=1)
    monkeypatch.setattr("variorum.edition.store.FEW", 2)
    done = [Build(Job(what, store)).make(unit, nothing) for unit in Job(what, store).plan.units[:6]]
    monkeypatch.setattr("variorum.edition.bucket.listed_sizes", lambda *_, **__: {})
    made(what, Store(store.url))
    assert [store.receipt(one.unit) for one in done] == done


# ── units that are handed out whole ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def whole_units(monkeypatch):
    """As if there were too many parts to hand out singly."""
    monkeypatch.setattr("variorum.stages.plan.MOST", 3)


@pytest.fixture
def written(monkeypatch):
    """Where the parts begin that are made."""
    starts, write = [], Build.write

    def noted(self, part, *args, **options):
        starts.append(part.start)
        return write(self, part, *args, **options)

    monkeypatch.setattr(Build, "write", noted)
    return starts


IN_PARTS = {"samples_per_shard": 6, "samples_per_part": 1, "configs": "variant"}


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_unit_that_is_handed_out_whole_is_made_in_parts_each_once(photos, tmp_path, whole_units, written, kind):
    whole = made(recipe(photos, {}, samples_per_shard=6, configs="variant"), Store(str(tmp_path / "whole")))
    store = Store(str(tmp_path / "s") if kind == "folder" else f"memory://{uuid.uuid4().hex}")
    stage = Build(Job(recipe(photos, {}, **IN_PARTS), store))
    first, second = stage.parts()
    parts = stage.job.plan.parts_of(first)
    lost, half = stage.write(parts[0], nothing), stage.write(parts[3], nothing)
    store.fs.rm_file(store.object(lost.part, ".part"))
    steps = []
    assert stage.make(first, steps.append).unit == first.key
    assert sum(steps) == 6
    manifest = made(recipe(photos, {}, **IN_PARTS), Store(store.url))
    assert manifest.shards == whole.shards
    assert verify(manifest, store) == []
    assert sorted(written[4:]) == [start for start in range(12) if start != half.start]
    assert store.recorded("units") == set(manifest.units) == {first.key, second.key}
    assert not [path for path in store.fs.find(f"{store.root}/objects") if path.endswith(".part")]
    assert not list((store.scratch.parent / "objects").glob("*.part"))


def test_two_processes_that_make_one_unit_share_its_parts(photos, store, whole_units, written, monkeypatch):
    what = recipe(photos, {}, **IN_PARTS)
    monkeypatch.setattr("variorum.stages.build.AGAIN", 2)
    one, other = Build(Job(what, store)), Build(Job(what, Store(store.url)))
    unit = one.parts()[0]
    parts, mine = one.job.plan.parts_of(unit), {}
    left = one.left(unit, parts, mine)
    first = next(left)
    mine[first.key] = one.write(first, nothing)  # the other doesn't make it again
    assert other.make(unit, nothing).unit == unit.key
    again = [one.write(part, nothing) for part in left]  # at most one more, then it sees that the unit is finished
    assert len(again) <= 1
    assert len(written) == 6 + len(again)
    assert one.joined(unit, parts, mine) == store.receipt(unit.key)
    manifest = made(what, Store(store.url))
    assert store.recorded("units") == set(manifest.units)
    assert verify(manifest, store) == []


def test_of_two_processes_with_a_damaged_part_one_repairs_the_unit(photos, store, whole_units, written, monkeypatch):
    what = recipe(photos, {}, **IN_PARTS)
    one, other = Build(Job(what, store)), Build(Job(what, Store(store.url)))
    unit = one.parts()[0]
    for part in one.job.plan.parts_of(unit):
        part = one.write(part, nothing)
    store.fs.rm_file(store.object(part.part, ".part"))
    joined = other.joined

    def repaired_meanwhile(*args):
        monkeypatch.setattr(other, "joined", joined)
        with pytest.raises(CorruptShard) as found:
            joined(*args)
        one.make(unit, nothing)
        raise found.value

    monkeypatch.setattr(other, "joined", repaired_meanwhile)
    assert other.make(unit, nothing) == store.receipt(unit.key)
    assert len(written) == 6 + 1
    assert store.recorded("units") == {unit.key}


def test_only_receipts_of_parts_are_removed_with_their_units(photos, store):
    """A record under a part's name may be of something else: a stranger's, or a copy of the unit's own."""
    manifest = made(recipe(photos, {}, samples_per_shard=6, samples_per_part=2), store)
    unit, other = (store.receipt(key) for key in manifest.units)
    for number, odd in enumerate((unit, other, unit.model_copy(update={"unit": f"{unit.unit[:32]}{2:032x}"}))):
        store.put_record(f"units/{unit.unit[:32]}{number:032x}.json", odd)
    drop(Job(recipe(photos, {}, samples_per_shard=6, samples_per_part=2), store).plan.units, store)
    assert [store.receipt(key) for key in manifest.units] == [unit, other]
    assert verify(manifest, Store(store.url)) == []


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SCRIPT = """
import sys
from pathlib import Path
sys.path.append(sys.argv[3])
from variorum.stages import plan
plan.MOST = int(sys.argv[4])
from variorum.schemas.recipe import Recipe
from variorum.pipeline import Job, Threads, build
recipe = Recipe.parse({
    "dataset": "d", "version": "1.0.0", "samples_per_shard": 4, "samples_per_part": 1,
    "source": {"name": "image_folder", "path": sys.argv[1]},
    "generate": [{"name": "probe", "quarantine": "coffee"}],
})
print("ready", flush=True)
build(Job(recipe, sys.argv[2]), Threads(2))
"""
PLUGINS = str(Path(__file__).parents[2] / "plugins")


def start(photos: Path, url: str, seconds: float = 0.0, most: int = 100) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(photos), url, PLUGINS, str(most)],
        env={**os.environ, "PROBE_SECONDS": str(seconds)},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * len(processes)


def stamps(url: str) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in Path(url, "units").glob("*.json")}


def killed_at(photos: Path, url: str, times: list[float], seconds: float, most: int = 100) -> int:
    """Kill the build after each of these times, let it finish; returns how many units the killed ones had done.

    With more than `most` parts, units are handed out whole.
    """
    done = 0
    for after in times:
        before = stamps(url)
        process = start(photos, url, seconds, most)
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        now = stamps(url)
        assert all(now.get(path, stamp) == stamp for path, stamp in before.items()), "a finished part was done again"
        done = len(now)
    before = stamps(url)
    finish(start(photos, url, seconds, most))
    now = stamps(url)
    assert all(now.get(path, stamp) == stamp for path, stamp in before.items()), "a finished part was done again"
    assert list(Path(url, "tmp").iterdir()) == []
    return done


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory) -> str:
    """A store with the edition that an undisturbed build makes."""
    in_parts = {"samples_per_shard": 4, "samples_per_part": 1}
    store = tmp_path_factory.mktemp("undisturbed") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(store.parent / "cache"))
        build(Job(recipe(photos, {"quarantine": "coffee"}, **in_parts), str(store)))
    return str(store)


@pytest.mark.parametrize("most", [pytest.param(100, marks=pytest.mark.slow), 3])  # 3 makes parts within units, too
def test_killed_builds_end_as_the_undisturbed_one(photos, tmp_path, whole, most):
    killed_at(photos, str(tmp_path / "killed"), [0.1, 0.3], 0.05, most)
    assert tree(str(tmp_path / "killed")) == tree(whole)


@pytest.mark.parametrize(
    ("name", "at"), [("put_receipt", 12), ("rm_file", 0), ("rm_file", 1), ("rm_file", 2), ("rm_file", 5)]
)
def test_a_join_that_ends_between_two_steps_is_completed(photos, tmp_path, whole, monkeypatch, name, at):
    """Twelve parts have receipts; then units get theirs, and each part loses its table, its samples and its receipt."""
    what = recipe(photos, {"quarantine": "coffee"}, samples_per_shard=4, samples_per_part=1)
    store, calls = Store(str(tmp_path / "ended")), []
    owner = store if name == "put_receipt" else store.fs
    call = getattr(owner, name)

    def ends(*args):
        if len(calls) == at:
            raise KeyboardInterrupt
        calls.append(args)
        return call(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, ends)
        with pytest.raises(KeyboardInterrupt):
            made(what, store)
    assert made(what, Store(store.url)).units
    assert tree(store.url) == tree(whole)
    assert {path.name for path in stamps(store.url)} == {path.name for path in stamps(whole)}


@pytest.mark.slow
def test_builds_killed_at_many_moments(photos, tmp_path, whole):
    rng = random.Random(2)
    for round_ in range(5):
        url = str(tmp_path / f"killed{round_}")
        killed_at(photos, url, [rng.uniform(0, 0.5) for _ in range(3)], 0.02)
        assert tree(url) == tree(whole)


def test_processes_that_race_make_one_edition(photos, tmp_path, whole):
    finish(*(start(photos, str(tmp_path / "raced"), 0.01) for _ in range(2)))
    assert tree(str(tmp_path / "raced")) == tree(whole)
    assert os.listdir(tmp_path / "raced" / "tmp") == []


def test_nothing_is_made_of_a_picture_that_is_quarantined_already(photos, store, tmp_path):
    """Its edits would pass for sound: they know nothing of what is wrong with it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, file in enumerate(sorted(photos.rglob("*.jpg"))[:3]):
        (folder / f"{number}.jpg").write_bytes(file.read_bytes())
    (folder / "labels.csv").write_bytes(b"file_name,label\n0.jpg,a\n1.jpg,b\n")  # and nothing of 2.jpg
    source = {"name": "image_folder", "path": str(folder)}
    basic = {"dataset": "q", "version": "1.0.0", "source": source}
    kept = build(Job(Recipe.parse(basic), store))
    assert kept.counts == {"original": {"accepted": 2, "quarantined:no_metadata": 1}}
    made = build(Job(Recipe.parse({**basic, "dataset": "r", "generate": [{"name": "negative"}]}), store))
    assert made.counts["original"]["ineligible:no_metadata"] == 1
    (row,) = [row for row in read_table(store, made.rows).to_pylist() if row["status"] == "ineligible"]
    assert (row["origin"], row["split"], row["source"]) == ("2.jpg", "test", row["id"])
    assert all("quarantined" not in counts for counts in made.counts.values())
