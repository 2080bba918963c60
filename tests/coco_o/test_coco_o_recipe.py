"""The recipe coco_o on its own photographs."""

import pytest

from variorum.edition.store import Store
from variorum.models.aliases import ModelTable
from variorum.models.filters import weights_of
from variorum.pipeline import Job, run
from variorum.reports.card import render_card
from variorum.reports.rows import edition_rows
from variorum.schemas.uses import deciding_models, required_models
from variorum.stages.recipe_files import load_recipe

FEW = (
    "source.stamps=none",
    "generate.domain_stylization.domains=[sketch, weather]",
    "generate.domain_stylization.styles={sketch: [pencil], weather: [fog]}",
    "evaluate=[]",
)


def test_the_detector_that_is_measured_had_no_say():
    recipe = load_recipe("coco_o", ["generate.domain_stylization.detector=detector_gate"])
    table = ModelTable("embedded")
    (generator,), (evaluation, *_) = recipe.generate, recipe.evaluate
    deciding = {weights_of(table.pin(alias)) for alias in deciding_models(generator)}
    assert deciding
    assert not deciding & {weights_of(table.pin(alias)) for alias in required_models(evaluation)}


def test_only_the_diffusion_recipe_refuses_pictures_for_what_a_detector_loses():
    found = {}
    for name in ("coco_o", "coco_o_diffusion"):
        (generator,), (evaluation, *_) = (part := load_recipe(name)).generate, part.evaluate
        found[name] = generator.least_confirmed, evaluation.ignore
    assert found == {"coco_o": (0, ()), "coco_o_diffusion": (0.8, ("missing",))}


@pytest.mark.slow
def test_domains_are_configurations_and_boxes_are_those_of_the_photographs(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_BACKGROUNDS", str(tmp_path / "none"))
    store = Store(str(tmp_path / "store"))
    recipe = load_recipe("coco_o", FEW)
    manifest = run(Job(recipe, store))
    assert {"original", "sketch", "weather"} <= set(manifest.configs())
    rows = edition_rows(manifest, store).to_pylist()
    objects = {}
    for row in rows:
        if row["status"] == "accepted" and row["variant"] in ("original", "sketch", "weather"):
            objects.setdefault(row["photograph"], set()).add(row["objects"])
    assert len(objects) == 5
    assert all(len(numbers) == 1 for numbers in objects.values())
    card = render_card(recipe, manifest, store)
    assert "**COCO-O-style, synthetic.**" in card
    assert "no figure here can be compared with its leaderboard" in card
