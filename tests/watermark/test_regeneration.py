"""Regeneration and purification in latent space, by autoencoders, and edits by instruction, on random weights.

What they make is noise, so these tests show that pictures, seeds and settings go the right way, and nothing else.
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data
from hub_layouts.chat import qwen2_vl
from pydantic import ValidationError
from tiny_pipelines import save_conditioned

from variorum.generators.watermark.attacks.instruction_edit import INSTRUCTIONS, InstructionEdit
from variorum.generators.watermark.attacks.purification import Purification
from variorum.generators.watermark.attacks.regeneration import Regeneration
from variorum.generators.watermark.attacks.vae_regeneration import VaeRegeneration
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.schemas.uses import required_models
from variorum.schemas.watermark import Refused

QUICK = {"size": 64, "steps": 4}


@pytest.fixture(scope="module")
def target(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    save_conditioned(folder)
    qwen2_vl(folder / "vlm", most_pixels=112 * 112, shards=False)
    entries = {
        "image_to_image": ("diffusion", tiny / "text_to_image", '{ task = "image_to_image" }'),
        "instruction_edit": ("diffusion", folder / "instruction_edit", '{ task = "instruction_edit" }'),
        "autoencoder": ("autoencoder", tiny / "text_to_image", '{ part = "vae" }'),
        "latent_denoiser": ("latent_denoiser", tiny / "text_to_image", "{}"),
        "vlm": ("vision_language", folder / "vlm", "{ most_tokens = 8 }"),
    }
    file = folder / "models.toml"
    file.write_text(
        "".join(
            f'[{alias}]\nname = "tiny/{alias}"\nloader = "{loader}"\nlocal = {{ path = "{place}" }}\n'
            f'options = {options}\nlicence = "none"\nsource = "random weights"\n\n'
            for alias, (loader, place, options) in entries.items()
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_MODELS", str(file))
        yield SimpleNamespace(mark=None, ctx=Context(seed=0, models=ModelTable("embedded"), memo=None))


def photos(number, height=42, width=60):
    coffee = skimage.data.coffee()
    return [
        cv2.resize(coffee[40 * place : 40 * place + 210, 100:400], (width, height), interpolation=cv2.INTER_AREA)
        for place in range(number)
    ]


def apply(attack, images, numbers, target, strength=0.5):
    """The attacked pictures, and what was drawn for each."""
    found = attack.apply(images, strength, [np.random.default_rng(number) for number in numbers], target)
    return [getattr(one, "image", one) for one in found], [getattr(one, "drawn", {}) for one in found]


ATTACKS = [
    Regeneration(**QUICK, t=600),
    Regeneration(**QUICK, t=300, times=2, captioner="vlm"),
    VaeRegeneration(),
    InstructionEdit(**QUICK),
    Purification(denoiser="latent_denoiser", t=600),
]
NAMES = ["regeneration", "rinsing", "autoencoder", "edit", "latent_purification"]


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_pictures_of_any_size_are_the_same_alone_and_among_others(attack, target):
    images = photos(2)
    together, drawn = apply(attack, images, [0, 1], target)
    alone, said = apply(attack, images[1:], [1], target)
    assert np.array_equal(together[1], alone[0])
    assert drawn[1] == said[0]
    assert alone[0].shape == images[1].shape
    assert alone[0].dtype == np.uint8
    other, _ = apply(attack, images[1:], [9], target)
    assert not np.array_equal(other[0], together[1])


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_strength_matters(attack, target):
    weak, _ = apply(attack, photos(1), [0], target, 0.2)
    strong, _ = apply(attack, photos(1), [0], target, 1.0)
    assert attack.amount(0.2) != attack.amount(1.0)
    assert not np.array_equal(weak[0], strong[0])


def test_captions_and_prompts_steer_and_are_recorded(target):
    (plain,), (nothing,) = apply(Regeneration(**QUICK, t=800), photos(1), [0], target)
    (steered,), (said,) = apply(Regeneration(**QUICK, t=800, prompt="a dog"), photos(1), [0], target)
    _, (captioned,) = apply(Regeneration(**QUICK, t=800, prompt="a dog", captioner="vlm"), photos(1), [0], target)
    assert nothing == {}
    assert said == {"prompt": "a dog"}
    assert captioned["prompt"].startswith("a dog, ")
    assert not np.array_equal(plain, steered)


@pytest.mark.parametrize("t", [1, 10, 290, 580, 1000])
def test_a_picture_takes_its_share_of_the_steps_and_one_at_least(t, target, monkeypatch):
    model, asked = target.ctx.models.get("image_to_image"), []
    call = type(model).__call__

    def noted(self, *arguments, **settings):
        asked.append(int(settings["steps"] * settings["strength"]))
        return call(self, *arguments, **{**settings, "steps": 2, "strength": 0.5})

    monkeypatch.setattr(type(model), "__call__", noted)
    apply(Regeneration(size=64, steps=50, t=t), photos(1), [0], target, 1.0)
    assert asked == [max(1, t * 50 // 1000)]


def test_amounts():
    assert Regeneration().amount(0.2) == {"t": 40, "times": 1}
    assert Regeneration(t=50, times=4).amount(1) == {"t": 50, "times": 4}
    assert VaeRegeneration(times=4).amount(0.5) == {"noise": 0.25, "times": 2}
    assert VaeRegeneration(noise=0, times=5).amount(0.6) == {"noise": 0.0, "times": 3}
    assert [InstructionEdit().amount(strength)["image_guidance"] for strength in (0.5, 1.0)] == [1.6, 1.2]


def test_instructions_are_drawn_for_each_picture(target):
    _, drawn = apply(InstructionEdit(size=64, steps=1), photos(1, 32, 32) * 5, range(5), target)
    said = [one["instruction"] for one in drawn]
    assert set(said) <= set(INSTRUCTIONS)
    assert len(set(said)) > 1
    _, drawn = apply(InstructionEdit(size=64, steps=1, instructions=["make it blue"]), photos(1), [0], target)
    assert drawn == [{"instruction": "make it blue"}]
    with pytest.raises(ValidationError):
        InstructionEdit(instructions=[])


@pytest.mark.parametrize("name", ["regeneration", "vae_regeneration", "instruction_edit"])
def test_without_the_hub_they_say_what_is_missing(name, monkeypatch):
    monkeypatch.delenv("VARIORUM_MODELS", raising=False)
    attack, models = build_component("attacks", {"name": name}, "here"), ModelTable("embedded")
    (alias,) = required_models(attack)
    assert models.why_unavailable(alias) == f"no model alias {alias!r} in profile embedded (profile hub has it)"
    assert ModelTable("hub").entry(alias).hub_repo.revision


@pytest.mark.parametrize(
    "attack",
    [
        Regeneration(**QUICK),
        InstructionEdit(**QUICK),
        Purification(denoiser="latent_denoiser", t=100),
        VaeRegeneration(),
    ],
    ids=lambda attack: attack.component_name(),
)
def test_a_picture_that_comes_out_black_is_a_row_with_the_reason(attack, target, monkeypatch):
    """As of an autoencoder that overflows in half precision."""
    from diffusers import AutoencoderKL

    real = AutoencoderKL.decode

    def overflowing(self, latents, return_dict=True):
        return real(self, latents * float("nan"), return_dict=return_dict)

    monkeypatch.setattr(AutoencoderKL, "decode", overflowing)
    (found,) = attack.apply(photos(1), 1.0, [np.random.default_rng(0)], target)
    assert found == Refused("blank", "the model made a picture of one colour")
