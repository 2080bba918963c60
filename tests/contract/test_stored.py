"""Nothing that is stored with an edition names code, a file or a place: the door, its users, an edition that tries."""

import ast
import re
from pathlib import Path

import pyarrow.compute as pc
import pytest

from variorum.edition.verify import verify
from variorum.models import ModelTable
from variorum.pipeline import Job, run
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import RecipeError, StoredSettings
from variorum.schemas.lookup import (
    PLACES,
    build_component,
    component_class,
    component_names,
    kinds,
    stored_class,
    stored_component,
)
from variorum.schemas.recipe import Recipe

ROOT = Path(__file__).parents[2]
TABLE = ModelTable("embedded")
COMPONENTS = [(part, name) for part in kinds() for name in component_names(part)]
CALLERS = {
    "schemas/lookup.py": "the door itself, and components that fields hold",
    "schemas/recipe.py": "the user's recipe",
    "schemas/catalogue.py": "lists what is installed",
    "flows/reference.py": "the user's argument, and what is installed",
    "generators/ai_detection/detection_arms.py": "defaults in its own code",
    "variorum/api/leaderboard.py": "a name in its own code",
    "variorum/api/report_asked.py": "the user's source",
    "variorum/api/report_work.py": "rows of the user's suite, by names without a dot",
    "variorum/api/suite_editions.py": "the user's source",
    "variorum/hub/secret_bytes.py": "what is installed",
    "variorum/stages/suite_files.py": "rows of the user's suite, by names without a dot",
}
"""Files that may call `build_component` or `component_class`, and where their names and fields come from. A file that
has them from a record, a manifest or anything else that is stored uses `stored_component` or `stored_class`."""


def test_only_these_make_components_of_what_they_are_given():
    folders = ("schemas", "sources", "curation", "generators", "evaluation", "flows", "variorum")
    found = {
        file.relative_to(ROOT).as_posix()
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if (isinstance(node, ast.Name) and node.id in ("build_component", "component_class"))
        or (isinstance(node, ast.Attribute) and node.attr in ("build_component", "component_class"))
    }
    assert found == set(CALLERS)


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """The file of a stranger in the current folder; it leaves a trace when it runs."""
    trace = tmp_path / "ran"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.py").write_text(f"open({str(trace)!r}, 'w').close()\ns = None\n")
    yield "planted.py"
    assert not trace.exists()


PLANTS = (
    "module:planted.py:s",
    "./planted.py",
    "planted.py",
    "/etc/passwd",
    "https://example.org/x",
    "onnx:planted.onnx",
    "hf:owner/name",
    "timm:resnet50",
    "torchvision:resnet50",
    "judge + tempered t=2",
    "~/x",
    "s3://bucket/x",
    "a\nb",
)


@pytest.mark.parametrize(("part", "name"), COMPONENTS, ids=[f"{part}.{name}" for part, name in COMPONENTS])
def test_no_field_takes_a_place_from_stored_settings(part, name, trap):
    for field in component_class(part, name).model_fields:
        for plant in PLANTS:
            nested = {"name": plant}
            for value in (plant, [plant], {"x": [plant]}, {plant: 1}, nested, [nested]):
                with pytest.raises(StoredSettings, match=f"here.*{PLACES}; list it"):
                    stored_component(part, {"name": name, field: value}, "here", "list it", TABLE)


@pytest.mark.parametrize("part", kinds())
def test_only_installed_components_are_had_by_name(part, trap):
    for plant in PLANTS:
        with pytest.raises(StoredSettings, match=PLACES):
            stored_component(part, {"name": plant}, "here", "list it", TABLE)
        with pytest.raises(RecipeError, match=PLACES):
            stored_class(part, plant)
    with pytest.raises(StoredSettings, match="here: these are no settings"):
        stored_component(part, [trap], "here", "list it", TABLE)


@pytest.mark.parametrize(
    ("part", "name"), [one for one in COMPONENTS if one[0] in ("marks", "attacks")], ids="{0[0]}.{0[1]}".format
)
def test_marks_and_attacks_are_had_from_what_they_record(part, name):
    made = build_component(part, {"name": name, "label": "mine"}, "here")
    assert stored_component(part, made.identity(), "here", "list it", TABLE) == made


def test_a_path_a_source_and_a_model_that_is_brought_are_refused_in_plain_words_too():
    given = TABLE.with_models({"mine": lambda pictures: pictures})
    cases = [
        ("generate", {"name": "watermark", "keys": "photos"}),
        ("source", {"name": "image_folder", "path": "photos"}),
        ("generate", {"name": "watermark_attack", "material": {"name": "samples"}}),
        ("marks", {"name": "tree_ring", "model": "mine"}),
    ]
    for part, settings in cases:
        with pytest.raises(StoredSettings, match=PLACES):
            stored_component(part, settings, "here", "list it", given)


def test_a_component_of_the_readers_own_recipe_is_taken(trap):
    own = build_component("marks", {"name": "tree_ring", "model": f"module:{trap}:s"}, "here")
    assert stored_component("marks", own.identity(), "here", "list it", TABLE, [own]) is own


# ── an edition that tries ────────────────────────────────────────────────────────────────────────────────────────────

FORGER = """
from variorum.schemas.component import Generator

MARKED = False
SETTINGS = {"name": "tree_ring", "model": "module:planted.py:s"}

class Forger(Generator):
    def edit(self, sample, of):
        image = sample.image[:96, :96].copy()
        listed = {"tree": {"settings": SETTINGS, "keyed": "picture"}}
        yield of.made(image, variant="original", requested={"mark": None, "frame": 96},
                      achieved={"picture": sample.id, "marks": listed})
        if MARKED:
            yield of.made(image, variant="tree", requested={"mark": "tree", "settings": SETTINGS, "frame": 96},
                          achieved={"picture": sample.id, "key": "0" * 64, "psnr": 40.0})
"""
"""Of an edition whose records name a file of its author's, and whose hashes are all right."""


SAID = r"{}: sample [0-9a-f]{{32}}: marks\.tree\.model: 'module:planted\.py:s' .*; list it in {}'s `marks`"


@pytest.fixture(params=[False, True], ids=["unmarked", "marked"])
def forged(photos, tmp_path, trap, request):
    """A reader's recipe on the forged edition."""
    (tmp_path / "forger.py").write_text(FORGER.replace("MARKED = False", f"MARKED = {request.param}"))
    made = {
        "dataset": "forged",
        "version": "1.0.0",
        "limit": 2,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": str(tmp_path / "forger.py")}],
    }
    job = Job(Recipe.parse(made), str(tmp_path / "theirs"))
    assert verify(run(job), job.store) == []
    source = {"name": "edition", "edition": "forged@1.0.0", "store": str(tmp_path / "theirs")}
    return {"dataset": "mine", "version": "1.0.0", "source": source}


@pytest.mark.parametrize("forged", [False], indirect=True)  # of a marked picture the key is looked at first
def test_an_edition_that_is_evaluated_runs_nothing_of_its_author(forged, tmp_path):
    recipe = {**forged, "evaluate": [{"name": "watermark_detection"}]}
    with pytest.raises(StoredSettings) as error:
        run(Job(Recipe.parse(recipe), str(tmp_path / "store")))
    assert re.fullmatch(SAID.format(r"mine@1\.0\.0", "watermark_detection"), str(error.value))


def test_an_edition_that_is_attacked_runs_nothing_of_its_author(forged, tmp_path):
    attack = {"name": "watermark_attack", "attacks": [{"name": "overwrite"}], "strengths": [1.0]}
    job = Job(Recipe.parse({**forged, "generate": [attack], "max_failure_rate": 1}), str(tmp_path / "store"))
    rows = edition_rows(run(job), job.store, ["reason", "detail"]).filter(pc.field("reason") != "").to_pylist()
    assert {row["reason"] for row in rows} == {"unknown_mark"}
    said = SAID.format(r"forged@1\.0\.0", "watermark_attack")
    assert all(re.fullmatch(said, row["detail"]) for row in rows)
