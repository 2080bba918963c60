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
from warm_command import MAIN

from variorum.edition.editions import folder_of
from variorum.edition.store import Store
from variorum.pipeline import Job, finished, run
from variorum.schemas.errors import StoreError
from variorum.schemas.recipe import Recipe

HEAVY = ("prefect", "torch", "jinja2")
WATCHED = f"""
import json, sys
try:
    {MAIN}
finally:
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""


@pytest.fixture
def fields(photos, tmp_path, own_cache):
    """A recipe with everything in it, on photographs that a test may change."""
    shutil.copytree(photos, tmp_path / "photos")
    return {
        "dataset": "d",
        "version": "1.0.0-dev",
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(tmp_path / "photos")},
        "generate": [{"name": "probe"}],
        "curate": [
            {"name": "bright"},
            {"name": "consensus", "votes": str(kept(tmp_path, votes()))},
            {"name": "bright_rules"},
        ],
        "evaluate": [{"name": "brightness"}],
    }


@pytest.fixture
def job(fields, tmp_path):
    """A function that gives the job of a recipe as a new process has it, with other fields if need be."""
    return lambda **other: Job(Recipe.parse({**fields, **other}), str(tmp_path / "store"))


@pytest.fixture
def variorum(fields, tmp_path):
    """Runs `variorum run` by the default runner: exit code, output, and which large packages it has imported."""

    def call(*words: str, command: str = "run", **other: object) -> tuple[int, str, list[str]]:
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**fields, **other}))
        paths = os.pathsep.join(path for path in sys.path if path)
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, command, "recipe.yaml", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
        *said, imported = done.stdout.splitlines()
        return done.returncode, "\n".join([*said, done.stderr]), json.loads(imported)

    return call


def test_a_finished_recipe_starts_no_server_and_loads_nothing(variorum, job):
    manifest = run(job())
    code, said, imported = variorum()
    assert (code, imported) == (0, [])
    assert f"d@1.0.0-dev-r1 is finished: {manifest.pictures()} pictures, digest {manifest.digest()}" in said
    assert "store/editions/d/1.0.0-dev-r1/README.md" in said
    code, said, _ = variorum("--json")
    assert (code, json.loads(said)["digest"]) == (0, manifest.digest())


def a_picture(fields, manifest):
    path = Path(fields["source"]["path"], "coffee", "0.jpg")
    path.write_bytes(path.with_name("1.jpg").read_bytes())


def a_new_picture(fields, manifest):
    path = Path(fields["source"]["path"], "coffee", "0.jpg")
    shutil.copy(path, path.with_name("9.jpg"))


def a_vote(fields, manifest):
    path = Path(fields["curate"][1]["votes"])
    kept(path.parent, votes()[1:], path.name)


def figures(fields, manifest):
    Path(manifest, "evaluation-brightness.json").unlink()


def the_card(fields, manifest):
    with Path(manifest, "README.md").open("a") as file:
        file.write("more")


def a_plot_or_sheet(fields, manifest):
    Path(manifest, "contact_sheet.png").unlink()


def a_shard(fields, manifest):
    shard = next(Path(manifest, "data").rglob("*.tar")).resolve()
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize("change", [a_picture, a_new_picture, a_vote, figures, a_shard])
def test_what_has_changed_outside_the_recipe_is_noticed(job, fields, change):
    manifest = run(job())
    assert finished(job()) == manifest
    change(fields, folder_of(manifest, job().store))
    assert finished(job()) is None
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
    run(job())
    assert finished(job(**other)) is None
    assert run(job(**other)) == finished(job(**other))


def card_of(manifest, job):
    folder = Path(folder_of(manifest, job.store))
    return {name: (folder / name).read_bytes() for name in ("README.md", "contact_sheet.png")}


@pytest.mark.parametrize("change", [the_card, a_plot_or_sheet])
def test_a_card_alone_is_mended_without_a_runner(job, fields, change):
    manifest = run(job())
    before = card_of(manifest, job())
    change(fields, folder_of(manifest, job().store))
    assert finished(job()) == manifest
    assert card_of(manifest, job()) == before


@pytest.mark.parametrize("other", [{"evaluate": []}, {"card": {"title": "Other words"}}], ids=("evaluate", "card"))
def test_another_card_alone_is_written_without_a_runner(job, other):
    manifest = run(job())
    before = card_of(manifest, job())
    assert finished(job(**other)) == manifest
    assert card_of(manifest, job())["README.md"] != before["README.md"]
    assert run(job()) == manifest
    assert card_of(manifest, job()) == before


def test_an_earlier_version_that_the_card_compares_with_is_noticed(job):
    manifest = run(job(version="1.1.0"))
    alone = card_of(manifest, job())
    run(job(version="1.0.0", seed=1))
    assert finished(job(version="1.1.0")) == manifest
    assert card_of(manifest, job())["README.md"] != alone["README.md"]


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
def test_errors_of_a_recipe_come_before_a_server(variorum, other, said):
    code, text, imported = variorum(**other)
    assert (code, "prefect" in imported) == (1, False)
    assert said in text


def test_a_missing_model_of_a_later_step_comes_before_a_server(variorum, job):
    run(job())
    code, text, imported = variorum(evaluate=[{"name": "accuracy_drop", "classifiers": ["classifier"]}])
    assert (code, "prefect" in imported) == (1, False)
    assert "variorum doctor" in text


@pytest.mark.parametrize(
    ("command", "other"),
    [
        ("build", {"version": "2.0.0", "generate": [{"name": "attribute_edit"}]}),
        ("curate", {"curate": [{"name": "features"}]}),
        ("evaluate", {"evaluate": [{"name": "accuracy_drop", "classifiers": ["classifier"]}]}),
    ],
)
def test_a_missing_model_of_one_step_comes_before_a_server(variorum, job, command, other):
    run(job())
    code, text, imported = variorum(command=command, **other)
    assert (code, "prefect" in imported) == (1, False)
    assert "variorum doctor" in text


def test_a_disk_without_room_is_refused_before_any_work(job, monkeypatch):
    manifest = run(job())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert finished(job()) == manifest
    for other in ({"seed": 2}, {"dataset": "other", "generate": []}):  # from earlier units; from the source's files
        with pytest.raises(StoreError, match=r"no space left for this: about .* to be written, and 1 kB are free"):
            finished(job(**other, version="2.0.0"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7))
    assert finished(job(seed=2, version="2.0.0")) is None


def test_the_store_of_a_finished_recipe_stays_as_it_is(job):
    run(job())
    store = Store(job().store.url, writable=False)
    before = {path: path.stat().st_mtime_ns for path in Path(store.root).rglob("*.png")}
    run(job())
    assert {path: path.stat().st_mtime_ns for path in Path(store.root).rglob("*.png")} == before
