"""The pipeline as a whole: what a run costs when there is nothing to do, and that stages travel."""

from __future__ import annotations

import pickle
import re
import threading
import uuid
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from variorum.machine.progress import Progress
from variorum.pipeline import Job, Threads, build, curate, run
from variorum.schemas.errors import VariorumError
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build

pytestmark = pytest.mark.usefixtures("own_cache")
UNITS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Twenty small photographs."""
    import skimage.data
    from PIL import Image

    folder = tmp_path_factory.mktemp("twenty")
    image = Image.fromarray(skimage.data.astronaut())
    for number in range(UNITS):
        (folder / f"class_{number % 2}").mkdir(exist_ok=True)
        image.crop((9 * number, 7 * number, 9 * number + 64, 7 * number + 64)).save(
            folder / f"class_{number % 2}" / f"{number:02d}.jpg"
        )
    return folder


def recipe(folder: Path, **more) -> Recipe:
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 1,
            "source": {"name": "image_folder", "path": str(folder)},
            "generate": [{"name": "negative"}],
            "curate": [{"name": "bright"}, {"name": "quality"}, {"name": "bright_rules", "drop": 3}],
            "evaluate": [{"name": "brightness"}],
            **more,
        }
    )


@pytest.fixture
def counted(monkeypatch) -> Counter[str]:
    """Requests to a file system, each counted once whatever it calls in turn, and openings of parquet files."""
    calls: Counter[str] = Counter()
    inside = threading.local()

    def count(owner, name, what):
        real = getattr(owner, name)

        def call(self, *args, **kwargs):
            outermost = not getattr(inside, "it", False)
            calls[what] += outermost or owner is pq.ParquetFile
            inside.it = True
            try:
                return real(self, *args, **kwargs)
            finally:
                inside.it = not outermost

        monkeypatch.setattr(owner, name, call)

    for system in (LocalFileSystem, MemoryFileSystem):
        for name in ("exists", "isfile", "isdir", "size", "info"):
            count(system, name, "looks")
        for name in ("ls", "find", "glob"):
            count(system, name, "listings")
        for name in ("cat_file", "get_file", "open", "cp_file"):
            count(system, name, "reads")
    count(pq.ParquetFile, "__init__", "tables")
    return calls


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_run_with_nothing_to_do_looks_once_and_not_at_every_unit(folder, tmp_path, counted, kind, capsys):
    from variorum.flows.terminal_editions import print_evaluations, print_summary

    url = str(tmp_path / "store") if kind == "folder" else f"memory://{uuid.uuid4().hex}"
    first = run(Job(recipe(folder), url), Threads(2))
    assert len(first.units) == UNITS
    counted.clear()
    job = Job(recipe(folder), url)
    assert run(job) == first
    print_summary(first, job.store)  # as the command does
    print_evaluations(job.recipe, first, job.store)
    assert counted["looks"] <= UNITS
    assert counted["reads"] <= UNITS
    assert counted["listings"] <= 10
    assert counted["tables"] <= len(first.rows)  # the card shows each once


class Phases(Progress):
    """Progress that notes how far each phase came."""

    def __init__(self) -> None:
        self.done: dict[str, list[int]] = {}

    def start(self, what: str, total: int, done: int = 0) -> None:
        self.what = what
        self.done[what] = [done, total]

    def advance(self, steps: int) -> None:
        self.done[self.what][0] += steps


def test_every_phase_ends_at_its_total_also_where_references_are_measured(folder, tmp_path):
    leakage = {"name": "leakage", "embedding": False, "trained_on": {"name": "image_folder", "path": str(folder)}}
    steps = [{"name": "bright"}, {"name": "duplicates", "embedding": False}, leakage]
    phases = Phases()
    run(Job(recipe(folder, curate=steps, samples_per_shard=8), str(tmp_path / "store")), progress=phases)
    assert phases.done["measuring leakage.trained_on"] == [UNITS, UNITS]
    assert phases.done["scoring"] == [3, 3]
    assert all(done == total for done, total in phases.done.values())


def test_nothing_counts_as_done_before_its_work_is(folder, tmp_path, monkeypatch):
    """Sources are read ahead of the generators, and detectors take turns on batches."""
    from acme_components.bright import Bright
    from acme_components.negative import Negative

    phases, ahead = Phases(), []
    edit, measure = Negative.edit, Bright.measure
    begun = {"making pictures": 0, "measuring": 0}

    def watched(what):
        ahead.append(phases.done[what][0] - begun[what])
        begun[what] += 1

    def edited(self, sample, of):
        watched("making pictures")
        return edit(self, sample, of)

    def measured(self, samples, ctx):
        for row in measure(self, samples, ctx):
            watched("measuring")
            yield row

    monkeypatch.setattr(Negative, "edit", edited)
    monkeypatch.setattr(Bright, "measure", measured)
    steps = {"curate": [{"name": "bright"}, {"name": "quality"}], "evaluate": [], "samples_per_shard": UNITS}
    run(Job(recipe(folder, **steps), str(tmp_path / "store")), progress=phases)
    assert begun == {"making pictures": UNITS, "measuring": 2 * UNITS}
    assert max(ahead) <= 0
    assert all(done == total for done, total in phases.done.values())


def test_a_run_with_one_threshold_changed_measures_nothing(folder, tmp_path, counted):
    url = str(tmp_path / "store")
    run(Job(recipe(folder), url), Threads(2))
    changed = [{"name": "bright"}, {"name": "quality"}, {"name": "bright_rules", "drop": 4}]
    before = {path: path.stat().st_mtime_ns for path in Path(url, "measures").iterdir()}
    counted.clear()
    again = run(Job(recipe(folder, curate=changed), url))
    assert again.version == "1.0.0-r2"
    now = {path: path.stat().st_mtime_ns for path in Path(url, "measures").iterdir()}
    assert all(now[path] == stamp for path, stamp in before.items())
    assert len(now) - len(before) <= 4  # the evaluation measures the shards that the release changed


def test_a_stage_travels_as_plain_values(folder, tmp_path):
    job = Job(recipe(folder), str(tmp_path / "store"))
    stage, part = pickle.loads(pickle.dumps((Build(job, job.recipe.curate), job.plan.units[3])))
    receipt = stage.make(part, lambda _: None)
    assert [receipt] == Build(job).kept(job.plan.units[3:4])
    assert stage.job is not job
    assert stage.job.store.url == job.store.url


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"name": "leakage", "embedding": False, "against": ["gone.parquet"]}, "blocklist gone.parquet: no such file"),
        ({"name": "leakage", "embedding": False, "against": ["text.csv"]}, "text.csv can't be read as parquet"),
        ({"name": "audit", "answers": "gone.csv"}, "gone.csv can't be read (no such file)"),
        ({"name": "audit", "answers": "text.csv"}, "text.csv has no column id, sha256, wrong"),
        ({"name": "audit", "strata": "varient"}, "curate.audit: an edition has no column 'varient'; it has id, "),
        (
            {
                "name": "policy",
                "rules": [{"when": [{"column": "flag", "equals": True}], "action": "drop", "reason": "x"}],
            },
            "curate.policy.rules.0: an edition has no column 'flag'",
        ),
    ],
)
def test_what_curation_lacks_is_found_before_any_picture_is_made(folder, tmp_path, monkeypatch, step, said):
    monkeypatch.chdir(tmp_path)
    Path("text.csv").write_text("a,b\n1,2\n")
    steps = [{"name": "quality"}, {"name": "duplicates", "embedding": False}, step]
    job = Job(recipe(folder, curate=steps, samples_per_shard=UNITS), str(tmp_path / "store"))
    with pytest.raises(VariorumError, match=re.escape(said)):
        run(job)
    assert not list((tmp_path / "store").rglob("*.tar"))
    whole = Job(recipe(folder, curate=[], samples_per_shard=UNITS), str(tmp_path / "store"))
    with pytest.raises(VariorumError, match=re.escape(said)):
        curate(job, build(whole))
    assert not (tmp_path / "store" / "measures").exists()


def test_an_edited_decider_decides_again_without_a_new_revision(folder, tmp_path, monkeypatch):
    from acme_components.bright_rules import BrightRules

    from variorum.stages import job as jobs

    job = Job(recipe(folder, samples_per_shard=8), str(tmp_path / "store"))
    assert run(job).version == "1.0.0-r1"
    decide, code_of = BrightRules.decide, jobs.code_of
    monkeypatch.setattr(BrightRules, "decide", lambda self, table, ctx: list(decide(self, table, ctx))[:1])
    monkeypatch.setattr(
        "variorum.stages.decide.code_of", lambda cls: code_of(cls) + " edited"
    )  # as if its file were another
    assert run(job).version == "1.0.0-r2"


def test_another_table_of_models_is_read_in_the_same_process(tmp_path, monkeypatch):
    from variorum.stages.job import models

    before = models("embedded")
    assert models("embedded") is before
    (tmp_path / "mine.toml").write_text(
        '[encoder]\nname = "mine"\nloader = "shift_map"\nlicence = "none"\nsource = "a test"\n'
    )
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "mine.toml"))
    assert models("embedded").pin("encoder") != before.pin("encoder")
    monkeypatch.delenv("VARIORUM_MODELS")
    assert models("embedded") is before
