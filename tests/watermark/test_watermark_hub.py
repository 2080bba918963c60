"""The recipe watermark_generative on Stable Diffusion laid out as the Hub's, tiny and with random weights."""

from __future__ import annotations

import pytest

import variorum as va

pytestmark = pytest.mark.slow
MODEL = "text_to_image_small"


def test_marks_go_into_the_noise_of_stable_diffusion(hub_models, tmp_path):
    table = hub_models(MODEL, "image_to_image", "safety_checker", "classifier", "encoder")
    made = {"model": MODEL, "templates": "photo", "steps": 4, "safety": {"checker": "safety_checker"}}
    made["marks"] = [{"name": name, "model": MODEL} for name in ("tree_ring", "gaussian_shading")]
    attacks = [{"name": "distortion", "kind": "jpeg"}, {"name": "regeneration", "steps": 3}]
    edition = va.run(
        "watermark_generative",
        store=tmp_path / "store",
        profile="hub",
        limit=1,
        progress=False,
        **{"source.table": "imagenet", "source.per_class": 1},
        **{f"generate.watermarked_generation.{name}": value for name, value in made.items()},
        **{"generate.watermark_attack.attacks": attacks, "generate.watermark_attack.strengths": [0.5]},
        **{"evaluate.generated_set.judge": "classifier", "evaluate.generated_set.encoder": "encoder"},
    )
    pictures = {sample.variant: sample.image for sample in edition.samples()}
    for variant in ("original", "tree_ring", "gaussian_shading", "tree_ring_jpeg_0.5", "tree_ring_regeneration_0.5"):
        assert pictures[variant].shape == (128, 128, 3)
        assert pictures[variant].std() > 5
    assert (pictures["original"] != pictures["tree_ring"]).any()
    for alias in (MODEL, "image_to_image", "safety_checker"):
        assert edition.manifest.models[alias] == table.pin(alias)
    assert edition.figures["watermark_detection"]
    assert "Tree-Ring" in edition.card
