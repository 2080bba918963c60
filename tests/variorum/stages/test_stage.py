"""The loop of all stages: what is kept isn't made, what is made is the same wherever it is made."""

import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from bright_editions import judged, nothing, recipe

from variorum.edition.store import Store
from variorum.machine.progress import QUIET
from variorum.pipeline import Job, Threads, build, curate
from variorum.schemas.errors import ModelUnavailable, StoreError, TemporaryError
from variorum.schemas.manifest import Tables
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build
from variorum.stages.measure import Measure
from variorum.stages.pieces import edition_pieces, reference_pieces
from variorum.stages.release import Release
from variorum.stages.score import Columns, Score
from variorum.stages.stage import complete

pytestmark = pytest.mark.usefixtures("own_cache")


@dataclass(frozen=True)
class Number:
    value: int
    samples: int = 10

    @property
    def key(self) -> str:
        return f"{self.value:064x}"


class Numbers:
    """Keeps a file for each number; some fail."""

    name, doing, uses_models = "number", "counting", False

    def __init__(self, job: Job, numbers: Sequence[int], fails: dict[int, Exception] | None = None) -> None:
        self.job = job
        self.numbers = numbers
        self.fails = fails or {}
        self.made: list[int] = []
        self.checked = 0

    def parts(self) -> list[Number]:
        return [Number(value) for value in self.numbers]

    def kept(self, parts: Sequence[Number]) -> list[Tables | None]:
        there = self.job.store.tables(part.key for part in parts)
        return [Tables(tables={"n": there[part.key]}) if part.key in there else None for part in parts]

    def check(self) -> None:
        self.checked += 1

    def make(self, part: Number, advance) -> Tables:
        if error := self.fails.get(part.value):
            raise error
        self.made.append(part.value)
        info = self.job.store.keep_bytes(b"%d" % part.value, ".parquet", samples=part.value)
        self.job.store.put_table(part.key, info)
        advance(part.samples)
        return Tables(tables={"n": info})


@dataclass
class Heard:
    """Progress that notes what it hears."""

    total: int = 0
    steps: int = 0
    name: str = ""

    def start(self, name: str, total: int, done: int = 0) -> None:
        self.name, self.total, self.steps = name, total, done

    def advance(self, steps: int) -> None:
        self.steps += steps


@pytest.fixture
def job(photos, tmp_path):
    return Job(recipe(photos), str(tmp_path / "store"))


def values(results: Sequence[Tables]) -> list[int]:
    return [result.tables["n"].samples for result in results]


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_kept_is_not_made_and_results_come_in_order(job, workers):
    complete(Numbers(job, [3, 5]), Threads(workers))
    stage, heard = Numbers(job, [1, 3, 4, 5, 2]), Heard()
    assert values(complete(stage, Threads(workers), heard)) == [1, 3, 4, 5, 2]
    assert sorted(stage.made) == [1, 2, 4]
    assert stage.checked == 1
    assert (heard.name, heard.total, heard.steps) == ("counting", 50, 50)


def test_with_nothing_to_do_nobody_is_asked_for_models(job, monkeypatch):
    complete(Numbers(job, [1, 2]), Threads())
    stage, heard = Numbers(job, [2, 1]), Heard()
    monkeypatch.setattr(stage, "check", lambda: pytest.fail("asked"))
    assert values(complete(stage, Threads(), heard)) == [2, 1]
    assert (heard.total, heard.steps) == (20, 20)


@pytest.mark.parametrize("harm", ["lost", "cut"])
def test_a_result_whose_file_is_lost_or_cut_is_made_again(job, harm):
    first = complete(Numbers(job, [1, 22]), Threads())
    path = job.store.path(first[1].tables["n"], ".parquet")
    if harm == "lost":
        path.unlink()
    else:
        path.write_bytes(b"2")
    stage = Numbers(job, [1, 22])
    assert complete(stage, Threads()) == first
    assert stage.made == [22]
    assert path.read_bytes() == b"22"


def test_a_failed_check_makes_nothing(job, monkeypatch):
    def check():
        raise ModelUnavailable("missing")

    stage = Numbers(job, [1])
    monkeypatch.setattr(stage, "check", check)
    with pytest.raises(ModelUnavailable):
        complete(stage, Threads())
    assert stage.made == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_part_that_fails_costs_no_other(job, workers, caplog):
    fails = {2: ZeroDivisionError("two"), 4: ValueError("four")}
    stage = Numbers(job, [1, 2, 3, 4, 5], fails)
    with pytest.raises((ZeroDivisionError, ValueError), match=r"two|four") as raised:
        complete(stage, Threads(workers))
    assert sorted(stage.made) == [1, 3, 5]
    assert sorted([*caplog.messages, str(raised.value)]) == ["four", "two"]  # the first is raised, the other logged
    if workers == 1:
        assert str(raised.value) == "two"
    again = Numbers(job, [1, 2, 3, 4, 5])
    assert values(complete(again, Threads(workers))) == [1, 2, 3, 4, 5]
    assert again.made == [2, 4] or workers > 1


@pytest.mark.parametrize("error", [StoreError("disk full"), TemporaryError("disk full")])
def test_when_the_store_or_the_machine_fails_what_has_not_begun_is_left_out(job, error):
    begun = threading.Event()

    class Slow(Numbers):
        def make(self, part, advance):
            if part.value == 2:
                begun.wait(10)
            return super().make(part, advance)

    stage = Slow(job, [1, 2, *range(10, 60)], {1: error})
    threading.Timer(0.3, begun.set).start()
    with pytest.raises(type(error), match="disk full"):
        Threads(1).map(stage, stage.parts(), QUIET)
    assert len(stage.made) <= 1  # the part that had begun meanwhile


def test_an_interrupt_leaves_out_what_has_not_begun(job):
    class Interrupted(Heard):
        def start(self, name, total, done=0):
            pass

    stage = Numbers(job, range(50), {1: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        complete(stage, Threads(1), Interrupted())
    assert len(stage.made) < 50
    again = Numbers(job, range(50))
    assert values(complete(again, Threads(1))) == list(range(50))
    assert set(again.made).isdisjoint(stage.made)


# ── stages in another process ────────────────────────────────────────────────────────────────────────────────────────


def travelled(stage):
    """The stage and its parts as another process gets them, each by itself."""
    return pickle.loads(pickle.dumps(stage)), [pickle.loads(pickle.dumps(part)) for part in stage.parts()]


def unmade(receipts):
    """Receipts without when and where."""
    return [receipt.model_copy(update={"made": {}}) for receipt in receipts]


@pytest.fixture
def both(photos, tmp_path):
    """The same recipe in two stores: in the first all is made here, in the second by stages that have travelled."""
    data = {**recipe(photos, drop=2, relabel=1, notes=True).dump(), "generate": [{"name": "negative"}]}
    reference = {"name": "image_folder", "path": str(photos / "coffee")}
    leakage = [{"name": "duplicates", "embedding": False}]
    leakage += [{"name": "leakage", "embedding": False, "trained_on": reference}]
    what = Recipe.parse({**data, "curate": [*data["curate"], *leakage], "evaluate": [{"name": "brightness"}]})
    return Job(what, str(tmp_path / "one")), Job(what, str(tmp_path / "two"))


def test_every_stage_travels_as_plain_values_and_makes_the_same(both):
    here, there = both
    manifest, number, ledger = judged(here.recipe, here.store)

    stage, units = travelled(Build(there, there.recipe.curate))
    assert stage.job is not there
    assert stage.job.store.url == there.store.url
    stage.check()
    receipts = [stage.make(unit, nothing) for unit in units]
    assert unmade(receipts) == unmade(here.store.receipt(unit) for unit in manifest.units)
    assert stage.kept(units) == receipts
    assert build(there) == manifest

    bright, duplicates, leakage = (there.component(name) for name in ("bright", "duplicates", "leakage"))
    pieces = edition_pieces(manifest, [bright, duplicates], there)
    stage, parts = travelled(Measure(there, [bright, duplicates], pieces, "measuring", then=there.recipe.curate))
    assert parts == pieces
    stage.check()
    found = [stage.make(part, nothing) for part in parts]
    for name in ("bright", "duplicates"):
        assert [tables.tables[name] for tables in found] == ledger.measured[name]
    pieces = reference_pieces(leakage, "trained_on", [duplicates], there)
    stage, parts = travelled(Measure(there, [duplicates], pieces, "measuring leakage.trained_on"))
    compared = [stage.make(part, nothing).tables["duplicates"] for part in parts]
    assert compared == [here.store.table(piece.keys["duplicates"]) for piece in pieces]
    (brightness,) = there.recipe.evaluate
    pieces = edition_pieces(manifest, [brightness], there)
    stage, parts = travelled(Measure(there, [brightness], pieces, "evaluating"))
    rows = [stage.make(part, nothing) for part in parts]
    assert complete(Measure(here, [brightness], pieces, "evaluating"), Threads()) == rows

    references = {"leakage": {"trained_on": {"duplicates": compared}}}
    columns = Columns(dict(ledger.measured), {}, references)
    for name in ("bright", "duplicates", "leakage"):
        stage, (part,) = travelled(Score(there, manifest, name, columns))
        stage.check()
        columns.scored[name] = stage.make(part, nothing).tables[name]
    assert columns.scored == ledger.scored
    assert curate(there, manifest) == (number, ledger)

    stage, parts = travelled(Release(there, manifest, ledger))
    stage.check()
    receipts = [stage.make(part, nothing) for part in parts]
    assert unmade(receipts) == unmade(complete(Release(here, manifest, ledger), Threads()))
    assert stage.kept(parts) == receipts


def objects(store: Store) -> set[str]:
    return {path.name for path in Path(store.url, "objects").iterdir()}


def test_what_was_made_meanwhile_is_taken(both):
    """`make` of a part that another process has made returns its result, and advances as if it had been made."""
    here, _ = both
    manifest, _, ledger = judged(here.recipe, here.store)
    heard = Heard()
    units = Build(here).parts()
    assert [Build(here).make(unit, heard.advance) for unit in units] == [here.store.receipt(unit.key) for unit in units]
    assert heard.steps == 12
    measurers = [here.component("bright")]
    pieces = edition_pieces(manifest, measurers, here)
    stage, before = Measure(here, measurers, pieces, "measuring"), objects(here.store)
    assert [stage.make(piece, heard.advance).tables["bright"] for piece in pieces] == ledger.measured["bright"]
    assert heard.steps == 12 + sum(piece.samples for piece in pieces)
    stage = Release(here, manifest, ledger)
    first = [stage.make(part, heard.advance) for part in stage.parts()]
    assert [stage.make(part, heard.advance) for part in stage.parts()] == first
    assert (
        objects(here.store) - before
        == {info.sha256 + suffix for receipt in first for info, suffix in receipt.files()} - before
    )
