"""The labeler `vision_language` on a tiny Qwen2-VL of random weights: the real calls, whose answers are gibberish."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hub_layouts.chat import qwen2_vl

from variorum.curation.safety.harms.asking import ask
from variorum.curation.safety.labelers.vision_language import VisionLanguage
from variorum.kit.harms.categories import unsafebench
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.pipeline import Job, build, curate
from variorum.schemas.component import Context
from variorum.schemas.recipe import Recipe
from variorum.schemas.safety import HEARD
from variorum.schemas.sample import Sample, source_id

ASKED = {"forms": ["bare", "listed", "control"], "shuffles": 1, "most_tokens": 12}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of one's own that has the alias `vlm`."""
    folder = tmp_path_factory.mktemp("vlm")
    qwen2_vl(folder / "vlm", most_pixels=112 * 112, shards=False)
    file = folder / "models.toml"
    file.write_text(
        f'[vlm]\nname = "tiny/vlm"\nloader = "vision_language"\nlocal = {{ path = "{folder / "vlm"}" }}\n'
        'licence = "none"\nsource = "random weights"\n'
    )
    return file


def pictures(number):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40 + 8 * place, 64, 3)).astype(np.uint8) for place in range(number)]
    return [Sample(source_id("drawn", str(place)), image) for place, image in enumerate(images)]


def test_nonsense_is_counted_and_never_scored_on_an_edition(table, photos, own_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    recipe = {
        "dataset": "asked",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": [{"name": "safety", "labelers": [{"name": "vision_language", "label": "qwen", "asked": ASKED}]}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path / "store"))
    manifest = build(job)
    _, ledger = curate(job, manifest)
    found = ledger.figures["safety"]["labelers"]["qwen"]
    assert found["unavailable"] == ""
    assert {*found["prompts"]} == {"bare", "listed_0", "control"}
    for prompt in found["prompts"].values():
        assert {*prompt["heard"]} <= {"abstain", "refusal"}
        assert sum(prompt["heard"].values()) == 12
        assert all(one["answers"] == 0 for one in prompt["alarms"].values())
        assert prompt["tokens"] > 0
    said = " ".join(ledger.figures["safety"]["findings"])
    assert "Unscored" in said
    assert "Labeler qwen, prompt bare, answered nothing that could be used: 12 no usable answer." in said


def test_answers_are_kept_and_alone_the_same(table, own_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    ctx = Context(0, ModelTable("embedded", own_cache), DiskMemo(tmp_path / "memo"))
    samples = pictures(3)
    together = ask([VisionLanguage(asked=ASKED)], samples, unsafebench(), ctx)
    alone = ask([VisionLanguage(asked=ASKED, batch=1)], samples, unsafebench(), ctx)
    assert [one.opinions for one in together] == [one.opinions for one in alone]
    texts = [one.text for answers in together for one in answers.opinions]
    assert len(texts) == 9
    assert all(texts)
    assert all(one.heard in HEARD and not one.scores for answers in together for one in answers.opinions)

    class Broken:
        def __getattr__(self, name):
            return getattr(ctx.models, name) if name != "get" else pytest.fail("the model is asked again")

    again = Context(0, Broken(), DiskMemo(tmp_path / "memo"))
    assert ask([VisionLanguage(asked=ASKED)], samples, unsafebench(), again)[0].opinions == together[0].opinions


def test_more_tokens_than_the_loaders_own_option(table, own_cache, monkeypatch):
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    model = ModelTable("embedded", own_cache).get("vlm")
    image = pictures(1)[0].image
    short, long = (model([image], ["What?"], most_tokens=most)[0] for most in (2, 300))
    assert long.startswith(short.rstrip("\ufffd"))
    assert len(long) > len(short)


def test_without_the_model_it_says_nothing(own_cache, tmp_path, monkeypatch):
    monkeypatch.delenv("VARIORUM_MODELS", raising=False)
    ctx = Context(0, ModelTable("embedded", own_cache), DiskMemo(tmp_path / "memo"))
    (bare, *_) = ask([VisionLanguage()], pictures(1), unsafebench(), ctx)
    assert [(one.heard, dict(one.scores)) for one in bare.opinions] == [("unavailable", {})]


def test_a_recipe_has_it_as_json():
    labeler = VisionLanguage(asked=ASKED)
    assert VisionLanguage(**json.loads(labeler.model_dump_json())) == labeler
