"""The checkpoints of profile hub in the layouts that were published, tiny and with random weights."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_stable_diffusion_15_makes_pictures(hub_models):
    model = hub_models("text_to_image_small").get("text_to_image_small")
    pictures = model(["a cat", "a café"], ["", ""], [0, 1], steps=2, guidance=7.5, size=None)
    assert [picture.shape for picture in pictures] == [(128, 128, 3)] * 2
    assert all(picture.std() > 5 for picture in pictures)
