"""A trial of profile hub, on tiny checkpoints in the published layouts: each line of it, on a CPU."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from variorum.api.trial import Asked, trial
from variorum.models import doctor
from variorum.models.known_answers import TABLE
from variorum.reports.trial.document import FILE, PAGE, read_trial
from variorum.stages.job import models

pytestmark = pytest.mark.slow

RECIPE = """
dataset: tiny_text
version: 1.0.0
seed: 7
source: {name: class_names, table: fashion_mnist, per_class: 4, licence: MIT}
generate:
  - {name: text_to_image, model: text_to_image_small, steps: 2, batch: 4, safety: {checker: safety_checker}}
"""


@pytest.fixture
def picture(photos):
    """A picture of the public picture's size, which it isn't."""
    path = photos.parent / "not_the_cats.png"
    Image.open(photos / "chelsea" / "0.jpg").resize((640, 480)).save(path)
    return path


def lines_of(found):
    return {(line.check, line.subject): line for line in found.lines}


def logits(folder, picture):
    """As somebody gets them who knows only transformers."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    inputs = AutoImageProcessor.from_pretrained(folder)(Image.open(picture).convert("RGB"), return_tensors="pt")
    return AutoModelForImageClassification.from_pretrained(folder)(**inputs).logits[0, :3].tolist()


def answers(path, weights, first):
    """The table of known answers, with one for these weights."""
    text = TABLE.read_text().partition("# `weights`")[0]
    answer = (
        f'\n[[answer]]\nweights = "{weights}"\nof = "logits"\nfirst = {first}\nwithin = 1e-3\nsource = "this test"\n'
    )
    path.write_text(text + answer)
    return path


def in_half(alias, folder):
    """The table of models with an alias in bfloat16."""
    text = Path(os.environ["VARIORUM_MODELS"]).read_text()
    path = folder / "half.toml"
    path.write_text(text.replace(f"[{alias}]\n", f'[{alias}]\ndtype = "bfloat16"\n'))
    return str(path)


def test_models(hub_models, hub_home, photos, picture, tmp_path, monkeypatch):
    import hub_layouts

    named = ("classifier", "zero_shot", "autoencoder", "edge_network", "encoder", "encoder_independent")
    hub_models(*named)
    monkeypatch.setenv("VARIORUM_MODELS", in_half("autoencoder", tmp_path))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))  # for notes of answers
    table = models("hub")
    weights = table.pin("classifier").partition("+")[0]
    right = logits(hub_layouts.snapshot("classifier", hub_home), picture)
    known = answers(tmp_path / "known.toml", weights, right)
    asked = Asked("hub", tmp_path / "out", named, source=str(photos), picture=picture, known=known)
    found = lines_of(trial(asked))
    state = {key: line.state for key, line in found.items()}
    assert {subject for check, subject in state if check == "machine" and state[check, subject] != "pass"} == {"GPU"}
    pair = "encoder, encoder_independent"  # one model
    assert all(state["load", subject] == "pass" for subject in (*named[:4], pair))

    assert state["answer", "classifier"] == "pass"
    looked_at = ["classifier", "edge_network", "autoencoder", "zero_shot", "encoder"]
    assert [one.alias for one in doctor(table, looked_at) if one.answered] == ["classifier"]
    proposed = found["answer", "autoencoder"].figures["proposed"]
    assert proposed["weights"] == table.pin("autoencoder").partition("+")[0]
    assert len(proposed["first"]) == 9

    alike = {subject: found["batches", subject] for subject in ("classifier", "zero_shot", pair)}
    assert {line.state for line in alike.values()} == {"pass"}, [line.said for line in alike.values()]
    assert "no call" in found["batches", "edge_network"].said or "other models" in found["batches", "edge_network"].said
    halved = found["batches", "autoencoder"]
    assert (halved.state == "pass") == all(one["share_above"] <= 0.02 for one in halved.figures.values())
    assert found["cpu", "autoencoder"].figures["cpu"]["levels_most"] > 0, "float32 and bfloat16 differ"
    assert found["half", "autoencoder"].figures["float32"]["levels_mean"] > 0
    assert found["half", "classifier"].said == "it computes in float32"
    assert state["sweep", "classifier"] == "skipped"
    assert "no GPU" in found["sweep", "classifier"].said

    wrong = answers(tmp_path / "wrong.toml", weights, [one + 1 for one in right])
    again = trial(Asked("hub", tmp_path / "other", ("classifier",), source=str(photos), picture=picture, known=wrong))
    assert lines_of(again)["answer", "classifier"].figures["apart"] == pytest.approx(1, abs=1e-3)
    assert lines_of(again)["answer", "classifier"].state == "fail"


def test_a_recipe_in_processes_killed_and_looked_at(hub_models, photos, tmp_path, monkeypatch):
    hub_models("text_to_image_small", "safety_checker")
    recipe = tmp_path / "tiny_text.yaml"
    recipe.write_text(RECIPE)
    asked = Asked("hub", tmp_path / "out", ("safety_checker",), (str(recipe),), source=str(photos))
    first = trial(asked)
    found = {check: line for (check, subject), line in lines_of(first).items() if subject == str(recipe)}
    assert found["bare"].figures["ratio"] == found["bare"].figures["whole"] / found["bare"].figures["calls"]
    assert found["bare"].figures["number"] >= 8, "four batches, made and checked"
    assert found["bare"].state == "skipped"
    assert found["processes"].state == "pass", found["processes"].said
    assert found["gpus"].state == "skipped"
    assert "two GPUs" in found["gpus"].said
    assert found["kill"].state == "pass", found["kill"].said
    assert found["kill"].figures["whole"] == found["processes"].figures["one"]
    assert found["photographs"].state == "pass"
    with Image.open(tmp_path / "out" / found["photographs"].figures["sheet"]) as sheet:
        assert min(sheet.size) > 100
    page = (tmp_path / "out" / PAGE).read_text()
    assert page.count("data:image/webp") == 1
    assert "<script" not in page
    assert not (tmp_path / "out" / "parts").exists()

    second = trial(asked)
    kept = {key: line for key, line in lines_of(first).items() if line.state == "pass" and key[0] != "machine"}
    assert len(kept) >= 4
    assert {key: lines_of(second)[key] for key in kept} == kept, "passed lines aren't made again"
    assert read_trial(tmp_path / "out") == second == read_trial(tmp_path / "out")
    assert json.loads((tmp_path / "out" / FILE).read_text())["format"] == 1


def test_the_command_skips_what_cannot_be_had_and_says_why(hub_models, photos, tmp_path):
    from typer.testing import CliRunner

    from variorum.flows.cli import app

    hub_models("safety_checker")
    words = ["doctor", "q16", "safety_checker", "--profile", "hub", "--try", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--source", str(photos)], env={"NO_COLOR": "1"})
    assert done.exit_code == 0, done.output
    found = lines_of(read_trial(tmp_path / "out"))
    assert found["load", "q16"].state == "skipped"
    assert "doesn't exist" in found["load", "q16"].said
    assert found["load", "safety_checker"].state == "pass"
    assert found["answer", "safety_checker"].state == "skipped"
    assert "--picture" in found["answer", "safety_checker"].said
    assert all(line.said in done.output for line in found.values())
