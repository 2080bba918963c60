"""The recipes imagenet_e and imagenet_e_guided on checkpoints laid out as the Hub's, tiny and with random weights."""

from __future__ import annotations

import numpy as np
import pytest

import variorum as va
from variorum.models.table_entries import read_table

pytestmark = pytest.mark.slow
JUDGES = ("classifier", "classifier_small", "encoder")


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Two real photographs, one with an object that can be cut out, by the ids of their classes."""
    import skimage.data
    from PIL import Image

    monkeypatch.setenv("VARIORUM_BACKGROUNDS", str(tmp_path / "none"))
    for name, wnid in (("coffee", "n07920052"), ("chelsea", "n02123045")):
        folder = tmp_path / "photographs" / wnid
        folder.mkdir(parents=True)
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return str(tmp_path / "photographs")


@pytest.fixture
def tiny_hub(hub_models):
    """Tiny models; real masks, as those of a random SAM all fail their checks."""
    return hub_models("inpainter", "denoiser", *JUDGES, segmenter=read_table("embedded")["segmenter"][0])


def achieved(edition, variant):
    """What the generator says of the pictures of a variant, of those that failed a check too."""
    samples = [*edition.samples(variant=variant), *edition.samples(variant=variant, status="quarantined")]
    return [(sample.ops[0]["achieved"], sample.image) for sample in samples]


def test_plates_are_filled_by_diffusion(tiny_hub, photographs, tmp_path):
    """Noise is no background, so the plate fails its checks, and says so; edits that need no plate are kept."""
    edition = va.run("imagenet_e", store=tmp_path / "store", profile="hub", source=photographs, progress=False)
    made = edition.base()
    for alias in ("inpainter", "segmenter", "classifier_gate"):
        assert made.manifest.models[alias] == tiny_hub.pin(alias)
    filled = [(what, image) for what, image in achieved(made, "plate") if what["plate"] == "diffusion"]
    assert filled
    assert all(image.std() > 5 for _, image in filled)
    assert made.counts["plate"]["quarantined"] == len(filled)
    assert made.counts["plate"]["failed"] == 0
    assert made.counts["control"]["accepted"] >= 1
    assert all(tiny_hub.entry(alias).name in edition.card for alias in ("inpainter", "classifier"))


def test_backgrounds_are_guided_in_latent_space(tiny_hub, photographs, tmp_path):
    frame = {"generate.attribute_edit.frame": 128}
    edition = va.run(
        "imagenet_e_guided", store=tmp_path / "store", profile="hub", source=photographs, progress=False, **frame
    )
    assert edition.manifest.models["denoiser"] == tiny_hub.pin("denoiser")
    guided = {variant: achieved(edition, variant) for variant in ("guided_control", "guided_up", "guided_down")}
    assert all(guided.values())
    pictures = [image for made in guided.values() for _, image in made]
    assert all(image.shape == (128, 128, 3) and image.std() > 5 for image in pictures)
    up, down = (np.stack([image for _, image in guided[name]]) for name in ("guided_up", "guided_down"))
    assert (up != down).any()
    assert "ImageNet-E backgrounds by guided diffusion" in edition.card
