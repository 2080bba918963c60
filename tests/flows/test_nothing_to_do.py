"""A run of a finished recipe: it starts nothing, notices every change, and errors come before a server."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from reviewed_set import kept, votes
from warm_command import MAIN, run_command

from variorum.edition.editions import folder_of
from variorum.machine.memo import DiskMemo
from variorum.pipeline import Job, finished, run
from variorum.schemas.component import Context
from variorum.schemas.errors import StoreError
from variorum.schemas.recipe import Recipe
from variorum.sources.cnn_filters import CnnFilters
from variorum.stages.job import models

VOTES = "votes.parquet"
HEAVY = {"prefect", "torch", "torchvision", "diffusers", "matplotlib", "datasets", "onnxruntime", "jinja2"}
WATCHED = f"""
import json, sys
try:
    {MAIN}
finally:
    print(json.dumps(sorted(sys.modules)))
"""
MARKED = "from pathlib import Path; Path('prefect-was-imported').touch(); raise SystemExit"


@pytest.fixture(scope="module")
def places(photos, tmp_path_factory):
    """A folder with photographs, votes and the store of a finished recipe, and a copy of it."""
    folder = tmp_path_factory.mktemp("nothing_to_do")
    place = folder / "place"
    shutil.copytree(photos, place / "photos")
    kept(place, votes(), VOTES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        run(Job(Recipe.parse(recipe(place)), str(place / "store")))
    shutil.copytree(place, folder / "kept", symlinks=True)
    return place, folder / "kept"


@pytest.fixture
def place(places, own_cache):
    """The folder, as it was made, to be changed."""
    shutil.rmtree(places[0])
    shutil.copytree(places[1], places[0], symlinks=True)
    return places[0]


def recipe(place):
    """A recipe with everything in it."""
    return {
        "dataset": "d",
        "version": "1.0.0-dev",
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(place / "photos")},
        "generate": [{"name": "probe"}],
        "curate": [
            {"name": "bright"},
            {"name": "consensus", "votes": str(place / VOTES)},
            {"name": "bright_rules"},
        ],
        "evaluate": [{"name": "brightness"}],
    }


@pytest.fixture
def job(place):
    """A function that gives the job of the recipe as a new process has it, with other fields if need be."""
    return lambda **other: Job(Recipe.parse({**recipe(place), **other}), str(place / "store"))


@pytest.fixture
def finished_one(job):
    """What the finished recipe has made."""
    return finished(job())


@pytest.fixture
def words(place):
    """Writes the recipe, with other fields if need be, for a command."""

    def written(*words: str, command: str = "run", **other: object) -> list[str]:
        (place / "recipe.yaml").write_text(yaml.safe_dump({**recipe(place), **other}))
        return [command, "recipe.yaml", *words]

    return written


@pytest.fixture
def refused(place, words):
    """Runs a command that must fail, by the default runner, before Prefect is imported; gives what it says."""
    (place / "prefect.py").write_text(MARKED)

    def call(**other: object) -> str:
        own = {"PYTHONPATH": os.pathsep.join([str(place), *filter(None, sys.path)])}
        done = run_command(words("--profile", "hub", **other), place, {**os.environ, **own})
        assert done.returncode == 1
        assert not (place / "prefect-was-imported").exists()
        return done.stderr

    return call


@pytest.fixture
def environment(monkeypatch):
    """The environment of a process that finds this one's plugins."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    return os.environ


@pytest.fixture
def watched(place, environment):
    """Runs a command that must succeed; gives its output and the modules that it has imported."""

    def call(*words: str) -> tuple[str, set[str]]:
        line = [sys.executable, "-c", WATCHED, *words]
        done = subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        *said, imported = done.stdout.splitlines()
        return "\n".join([*said, done.stderr]), set(json.loads(imported))

    return call


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        ("--help", {"pydantic", "numpy"}),
        ("plan imagenet_e", set()),  # it has an optional model that isn't in the table of the profile
        ("show d", {"numpy", "variorum.models"}),
        ("versions d", {"numpy", "variorum.models"}),
    ],
)
def test_a_look_imports_nothing_that_works(watched, command, unused):
    _, imported = watched(*command.split())
    assert "variorum.flows.cli" in imported
    assert not imported & (HEAVY | unused)


def test_a_plan_does_not_read_weights_that_were_counted_before(watched, own_cache):
    number = CnnFilters(models=("judge",)).size(Context(0, models("embedded"), DiskMemo(own_cache / "memo")))
    said, imported = watched("plan", "cnn_filters", "--set", "source.models=[judge]")
    assert f"cnn_filters, {number} samples" in said
    assert not imported & HEAVY


def test_a_finished_recipe_starts_no_server_and_loads_nothing(place, words, watched, environment, finished_one):
    said, imported = watched(*words())
    assert not imported & HEAVY
    assert f"d@1.0.0-dev-r1 is finished: {finished_one.pictures()} pictures, digest {finished_one.digest()}" in said
    assert "store/editions/d/1.0.0-dev-r1/README.md" in said
    done = run_command(words("--json"), place, environment)
    assert (done.returncode, json.loads(done.stdout)["digest"]) == (0, finished_one.digest())


def a_picture(place, edition):
    path = place / "photos" / "coffee" / "0.jpg"
    path.write_bytes(path.with_name("1.jpg").read_bytes())


def a_new_picture(place, edition):
    path = place / "photos" / "coffee" / "0.jpg"
    shutil.copy(path, path.with_name("9.jpg"))


def a_vote(place, edition):
    kept(place, votes()[1:], VOTES)


def figures(place, edition):
    Path(edition, "evaluation-brightness.json").unlink()


def the_card(place, edition):
    with Path(edition, "README.md").open("a") as file:
        file.write("more")


def a_plot_or_sheet(place, edition):
    Path(edition, "contact_sheet.png").unlink()


def a_shard(place, edition):
    shard = next(Path(edition, "data").rglob("*.tar")).resolve()
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize("change", [a_picture, a_new_picture, a_vote, figures, a_shard])
def test_what_has_changed_outside_the_recipe_is_noticed(job, place, finished_one, change):
    change(place, folder_of(finished_one, job().store))
    assert finished(job()) is None
    if change in (a_vote, figures, a_shard):
        assert run(job()) == finished(job())


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"curate": []},
        {"curate": [{"name": "bright"}, {"name": "bright_rules", "drop": 2}]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_field_is_noticed(job, other):
    assert finished(job(**other)) is None


def test_a_recipe_with_another_seed_is_finished_after_its_run(job):
    assert run(job(seed=1)) == finished(job(seed=1))


def card_of(manifest, job):
    folder = Path(folder_of(manifest, job.store))
    return {name: (folder / name).read_bytes() for name in ("README.md", "contact_sheet.png")}


@pytest.mark.parametrize("change", [the_card, a_plot_or_sheet])
def test_a_card_alone_is_mended_without_a_runner(job, place, finished_one, change):
    before = card_of(finished_one, job())
    change(place, folder_of(finished_one, job().store))
    assert finished(job()) == finished_one
    assert card_of(finished_one, job()) == before


@pytest.mark.parametrize("other", [{"evaluate": []}, {"card": {"title": "Other words"}}], ids=("evaluate", "card"))
def test_another_card_alone_is_written_without_a_runner(job, finished_one, other):
    before = card_of(finished_one, job())
    assert finished(job(**other)) == finished_one
    assert card_of(finished_one, job())["README.md"] != before["README.md"]
    assert finished(job()) == finished_one
    assert card_of(finished_one, job()) == before


def test_an_earlier_version_that_the_card_compares_with_is_noticed(job, finished_one):
    alone = card_of(finished_one, job())
    run(job(version="0.9.0", seed=1))
    assert finished(job()) == finished_one
    assert card_of(finished_one, job())["README.md"] != alone["README.md"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"generate": [{"name": "prob"}]}, "no generator named 'prob'"),
        ({"generate": [{"name": "probe", "strenth": 1}]}, "strenth: no such field"),
        ({"source": {"name": "image_folder", "path": "nowhere"}}, "nowhere doesn't exist"),
        ({"evaluate": [{"name": "accuracy_drop", "classifiers": ["classifier"]}]}, "variorum doctor"),
        ({"card": {"template": "fancy"}}, "card.template"),
    ],
    ids=("component", "field", "source", "model", "template"),
)
def test_errors_of_a_recipe_come_before_a_server(refused, place, other, said):
    shutil.rmtree(place / "store")
    assert said in refused(**other)


@pytest.mark.parametrize(
    ("command", "other"),
    [
        ("run", {"evaluate": [{"name": "accuracy_drop", "classifiers": ["classifier"]}]}),
        ("build", {"version": "2.0.0", "generate": [{"name": "attribute_edit"}]}),
        ("curate", {"curate": [{"name": "features"}]}),
        ("evaluate", {"evaluate": [{"name": "accuracy_drop", "classifiers": ["classifier"]}]}),
    ],
)
def test_a_missing_model_of_one_step_comes_before_a_server(refused, command, other):
    assert "variorum doctor" in refused(command=command, **other)


def test_a_disk_without_room_is_refused_before_any_work(job, finished_one, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert finished(job()) == finished_one
    for other in ({"seed": 2}, {"dataset": "other", "generate": []}):  # from earlier units; from the source's files
        with pytest.raises(StoreError, match=r"no space left for this: about .* to be written, and 1 kB are free"):
            finished(job(**other, version="2.0.0"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7))
    assert finished(job(seed=2, version="2.0.0")) is None


def test_the_store_of_a_finished_recipe_stays_as_it_is(job, place, finished_one):
    def files() -> dict[Path, tuple[int, bytes]]:
        found = (path for path in (place / "store").rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}

    before = files()
    assert {"README.md", "contact_sheet.png"} <= {path.name for path in before}
    run(job())
    assert files() == before
