"""The recipe `ai_detection` in profile hub, on tiny checkpoints of a true layout."""

import numpy as np
import pytest

import variorum


@pytest.mark.slow
def test_a_latent_denoiser_makes_the_denoised_arms(hub_models, tmp_path):
    table = hub_models("denoiser", "latent_preview", "encoder", "encoder_independent")
    # of more photographs, format_trap finds the grid of the random decoder
    edition = variorum.run("ai_detection", profile="hub", store=tmp_path, limit=2, progress=False)
    assert edition.manifest.models["denoiser"] == table.pin("denoiser")
    assert {counts["accepted"] for counts in edition.counts.values()} == {2}
    pictures = {sample.variant: sample.image.astype(int) for sample in edition}
    assert np.ptp(pictures["denoised_120"]) > 50
    assert np.abs(pictures["denoised_120"] - pictures["original"]).mean() > 1
    found = edition.figures["ai_image_detection"]
    assert {arm: one["truth"] for arm, one in found["arms"].items() if one["fitted"]} == {
        "denoised_120": "reconstructed"
    }
    assert "rigid" in found["detectors"]
    missing = {name: why for name, why in found["missing"].items() if name.startswith("probe on")}
    assert len(missing) == 2
    assert all(why.startswith("fewer than 8 originals") for why in missing.values())  # their encoders are there
