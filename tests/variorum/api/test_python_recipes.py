"""Planning and running from Python: the same recipes and editions as from the command line."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import yaml
from small_store import one_line, snapshot

import variorum as va
from variorum.api import progress
from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.flows.cli import main
from variorum.pipeline import Job
from variorum.pipeline import run as whole_pipeline
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.sources.image_folder import ImageFolder
from variorum.stages.recipe_files import load_recipe
from variorum.stages.recipe_values import recipe_of

FIELDS = {
    "dataset": "d",
    "version": "1.0.0",
    "source": {"name": "image_folder", "path": "photos", "licence": "CC0-1.0"},
    "generate": [{"name": "negative"}, {"name": "probe", "copies": 2}],
    "curate": [{"name": "bright"}, {"name": "bright_rules"}],
    "evaluate": [{"name": "brightness"}],
}
PLANNING = """
from variorum.schemas.component import Generator
from variorum.schemas.sample import child_id

class Asked(Generator):
    def requests(self, samples, ctx):
        for sample in samples:
            made = child_id(sample.id, self.fingerprint(), "negative", {})
            yield {"id": made, "source": sample.id, "variant": "negative"}

    def edit(self, sample, of):
        yield of.made(255 - sample.image, variant="negative", requested={})
"""


@pytest.fixture
def file(here) -> str:
    """The fields in a file, in a folder of the test's own."""
    (here / "d.yaml").write_text(yaml.safe_dump(FIELDS))
    return "d.yaml"


@pytest.fixture(scope="module")
def read_only(tmp_path_factory) -> str:
    """The same for tests that only read."""
    path = tmp_path_factory.mktemp("recipe") / "d.yaml"
    path.write_text(yaml.safe_dump(FIELDS))
    return str(path)


def said(call) -> str:
    with pytest.raises(va.errors.VariorumError) as error:
        call()
    assert one_line(str(error.value))
    return str(error.value)


# ── recipes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        ({}, []),
        ({"seed": 3}, ["seed=3"]),
        ({"generate.negative.noise": 1.5}, ["generate.negative.noise=1.5"]),
        ({"generate.1.copies": 1, "version": "2.0.0"}, ["generate.1.copies=1", "version=2.0.0"]),
        ({"curate.bright_rules.drop": 2}, ["curate.bright_rules.drop=2"]),
        ({"curate.bright": None}, ["curate.bright=null"]),
        ({"generate.probe": None}, ["generate.probe=~"]),
        ({"source.name": "samples"}, ["source.name=samples"]),
        ({"source.path": Path("photos/chelsea")}, ["source.path=photos/chelsea"]),
        ({"source": {"name": "image_folder", "path": Path("photos")}}, ["source={name: image_folder, path: photos}"]),
        ({"splits": {"test": 0.5}}, ["splits={test: 0.5}"]),
        ({"evaluate": []}, ["evaluate=[]"]),
        ({"card.title": "A: title: with colons"}, ["card.title=A: title: with colons"]),
        ({"dataset": "other"}, ["dataset=other"]),
    ],
)
@pytest.mark.parametrize("limit", [None, 5])
def test_settings_do_what_set_does(read_only, settings, overrides, limit):
    mine, theirs = recipe_of(read_only, settings, limit), load_recipe(read_only, overrides, limit)
    assert mine == theirs
    assert mine.fingerprint() == theirs.fingerprint()
    whole = {**FIELDS, "source": {**FIELDS["source"], "path": Path("photos")}}
    assert recipe_of(whole, settings, limit) == theirs
    assert recipe_of(Recipe.parse(FIELDS), settings, limit) == theirs
    assert recipe_of(Path(read_only), settings, limit) == theirs


def test_fields_alone_are_a_recipe_with_its_own_version(shared):
    assert recipe_of(None, FIELDS) == Recipe.parse(FIELDS)
    changed = recipe_of(None, {**FIELDS, "generate.negative.noise": 1.0})
    assert (changed.version, changed.generate[0].noise) == ("1.0.0-dev", 1.0)
    assert recipe_of(None, FIELDS, 3).version == "1.0.0-dev"


def test_a_mapping_isnt_changed(shared):
    fields = json.loads(json.dumps(FIELDS))
    recipe_of(fields, {"generate.negative.noise": 1.0}, 2)
    assert fields == FIELDS


def test_values_of_python(here):
    fields = {**FIELDS, "source": ImageFolder(path="photos", licence="CC0-1.0"), "seed": np.int64(7), "generate": ()}
    recipe = recipe_of(fields)
    assert recipe.source == Recipe.parse(FIELDS).source
    assert (recipe.seed, type(recipe.seed)) == (7, int)
    (here / "sub").mkdir()
    (here / "sub" / "asked.py").write_text(PLANNING)
    named = recipe_of({**FIELDS, "generate": [{"name": Path("sub/asked.py")}]})
    assert named.generate[0].config()["name"] == str(here / "sub" / "asked.py")


def loop() -> dict:
    found: dict = {"name": "probe"}
    found["copies"] = [found]
    return found


@pytest.mark.parametrize(
    ("given", "settings", "says"),
    [
        ("imagnet_e", {}, "did you mean imagenet_e?"),
        ("nowhere.yaml", {}, "no such file"),
        (None, {}, "a recipe is missing"),
        (3, {}, "can't be made of int"),
        (b"imagenet_e", {}, "can't be made of bytes"),
        ({1: 2}, {}, "1 is no field's name"),
        (FIELDS, {"sede": 1}, "sede: no such field"),
        (FIELDS, {"seed": object()}, "seed: a recipe can't hold object"),
        (FIELDS, {"seed": 10**400}, "a recipe can't hold int"),
        (FIELDS, {"seed": np.zeros(3)}, "a recipe can't hold ndarray"),
        (FIELDS, {"seed": {1}}, "a recipe can't hold set"),
        (FIELDS, {"card": {"title": "a\0b"}}, "NUL"),
        (FIELDS, {"card.title": "\ud800"}, "UTF-8"),
        (FIELDS, {"generate": [loop()]}, "nested more than 50 levels"),
        (FIELDS, {"generate.probe.copies.more": 1}, "generate.probe.copies is 2 and has no fields"),
        (FIELDS, {"generate.prob.copies": 1}, "no generate.prob; there are: negative, probe"),
        (FIELDS, {"generate.probe": 1}, "generate is a list"),
        (FIELDS, {"source.path": ""}, "must not be empty"),
        (FIELDS, {"version": 1.0}, "version"),
        (FIELDS, {"card.title": "https://user:hunter2000@host/x"}, "card.title"),
    ],
)
def test_what_is_no_recipe(shared, given, settings, says):
    found = said(lambda: recipe_of(given, settings))
    assert says in found
    assert "hunter2000" not in found


def test_wrong_arguments(here):
    call = {"dataset": "d", "version": "1.0.0", "source": FIELDS["source"]}
    for wrong in (
        {"limit": 0},
        {"limit": True},
        {"limit": 2.5},
        {"workers": 0},
        {"workers": "2"},
        {"profile": "x"},
        {"store": 3},
    ):
        assert next(iter(wrong)) in said(lambda wrong=wrong: va.run(**call, **wrong))
    assert "needs a folder" in said(lambda: va.run(**call, store=" "))
    assert not (here / "3").exists()
    with pytest.raises(TypeError, match="positional"):
        va.run("imagenet_e", "store")


def test_a_wrong_recipe_makes_no_store(here):
    with pytest.raises(RecipeError):
        va.run({**FIELDS, "seed": "x"}, store="new")
    assert not (here / "new").exists()


# ── plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def command(capsys, *words: str) -> dict:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    return json.loads(capsys.readouterr().out)


def test_a_plan_is_that_of_the_command(file, capsys):
    planned = va.plan(file, store="new", **{"source.licence": "CC-BY-4.0"})
    assert planned.as_json() == command(
        capsys, "plan", file, "--store", "new", "--set", "source.licence=CC-BY-4.0", "--json"
    )
    assert (planned.edition, planned.samples, planned.classes, planned.units) == ("d@1.0.0-dev", 12, 3, 1)
    assert planned.makes == ("negative", "probe")
    assert dict(planned.lines())["few"].startswith("12 samples. Accuracies of fewer than 30 photographs")
    assert planned.pictures is planned.requests() is planned.seconds is None
    assert not Path("new").exists()


def test_a_plan_knows_what_is_done(here):
    fields = {**FIELDS, "samples_per_shard": 5, "generate": []}
    va.run(fields, progress=False)
    planned = va.plan(fields)
    assert planned.units == planned.units_done == 3
    assert planned.disk_bytes > 0
    assert planned.seconds == 0
    assert "3 of up to 5; 3 done already" in str(planned) == repr(planned)
    assert "<td" in planned._repr_html_()


def test_a_plan_lists_the_pictures(here):
    (here / "asked.py").write_text(PLANNING)
    fields = {**FIELDS, "generate": [{"name": "asked.py"}], "curate": []}
    planned = va.plan(fields, store="new")
    table = planned.requests()
    assert planned.pictures == len(table) == 12
    made = va.run(fields, store="new", progress=False)
    assert sorted(table["id"].to_pylist()) == sorted(made.table()["id"].to_pylist())


def test_a_store_that_cannot_be_written_isnt_needed_for_a_plan(here, monkeypatch):
    (here / "asked.py").write_text(PLANNING)
    fields = {**FIELDS, "generate": [{"name": "asked.py"}]}
    monkeypatch.setattr(Store, "can_write", lambda self: False)
    before = snapshot(here / "store")
    planned = va.plan(fields)
    assert len(planned.requests()) == 12
    assert snapshot(here / "store") == before
    place = Path(planned.table.store.root)
    assert place.is_dir()
    del planned
    assert not place.exists()


def test_models_have_their_state(shared):
    planned = va.plan("imagenet_e", source=FIELDS["source"])
    assert planned.models["segmenter"].keys() == {"pin", "state"}
    assert "segmenter" in repr(planned)


# ── run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_gives_the_edition_of_the_command_line(file, here):
    settings = {"generate.probe.copies": 1, "samples_per_shard": 5}
    mine = va.run(file, store="mine", limit=7, workers=2, progress=False, **settings)
    theirs = whole_pipeline(Job(load_recipe(file, [f"{key}={value}" for key, value in settings.items()], 7), "theirs"))
    assert mine.digest == theirs.digest()
    assert mine.name == "d@1.0.0-dev-r1"
    assert mine.base().digest == resolve("d@1.0.0-dev", Store("theirs")).digest()
    assert mine.figures.keys() == {"brightness"}
    assert va.run(file, store="mine", limit=7, progress=False, trust=True, **settings).digest == mine.digest


def test_force_allows_an_empty_release(file):
    settings = {"generate": [], "curate.bright_rules.drop": 12, "evaluate": [], "version": "1.1.0"}
    assert "--force" in said(lambda: va.run(file, progress=False, **settings))
    assert len(va.run(file, progress=False, force=True, **settings)) == 0


class Bar:
    """What tqdm would show."""

    seen: ClassVar[list] = []

    def __init__(self, total, initial, desc, **options) -> None:
        self.total, self.done, self.what, self.open = total, initial, desc, True
        Bar.seen.append(self)

    def set_postfix_str(self, said, refresh) -> None:
        assert said.endswith((" left", " so far")) or said.startswith("in ")

    def update(self, steps) -> None:
        assert self.open
        self.done += steps

    def close(self) -> None:
        self.open = False


def test_a_bar_for_each_phase(file, monkeypatch):
    monkeypatch.setattr(progress, "_tqdm", lambda: Bar)
    Bar.seen = []
    va.run(file, store="new", progress=False, generate=[], seed=1)
    assert Bar.seen == []
    va.run(file, store="new", generate=[])
    assert [bar.what for bar in Bar.seen] == [
        *("making pictures", "sealing the edition", "measuring", "scoring", "deciding", "releasing"),
        *("sealing the release", "evaluating", "computing figures", "writing the card"),
    ]
    assert all(bar.done == bar.total and not bar.open for bar in Bar.seen)


def test_bars_are_silent_in_a_log(file, capsys):
    va.run(file, store="new", generate=[])
    assert capsys.readouterr() == ("", "")


def test_bars_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.shown(True) as bars:
        bars.start("making", 4, 1)
        bars.advance(3)
    assert "making: 100%" in capsys.readouterr().err


def test_the_caller_may_bring_progress_of_its_own(file):
    from variorum.machine.progress import Progress

    class Mine(Progress):
        phases: ClassVar[list] = []

        def start(self, what, total, done=0):
            self.phases.append(what)

    va.run(file, store="new", progress=Mine(), generate=[])
    assert "scoring" in Mine.phases


def test_bars_in_a_notebook_make_room_for_the_result(monkeypatch, capsys):
    import types

    kernel = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setattr(progress, "_tqdm", lambda: importlib.import_module("tqdm").tqdm)
    with progress.shown(True) as bars:
        bars.start("making", 4, 1)
        bars.advance(3)
    shown = capsys.readouterr().err
    assert "making: " in shown
    assert shown.rpartition("\r")[2] == ""
