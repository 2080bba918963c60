"""The recipe coco_o_diffusion on checkpoints laid out as the Hub's, tiny and with random weights."""

from __future__ import annotations

import pytest

import variorum as va

pytestmark = pytest.mark.slow
ROUTES = {
    "image_to_image": {"strength": [0.5], "steps": 4},
    "edge_to_image": {"scale": [1.0], "steps": 2},
    "layout_to_image": {"grounded": [1.0], "steps": 2},
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_scene_is_painted_in_a_domain(route, hub_models, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_BACKGROUNDS", str(tmp_path / "none"))
    table = hub_models(route, "safety_checker", "detector", "detector_gate")
    painter = {"name": "domain_diffusion", "route": route, "domains": ["painting"], "detector": "detector_gate"}
    edition = va.run(
        "coco_o_diffusion",
        store=tmp_path / "store",
        profile="hub",
        limit=1,
        progress=False,
        generate=[painter | ROUTES[route]],
    )
    made = edition.base()
    (painted,) = [*made.samples(variant="painting"), *made.samples(variant="painting", status="quarantined")]
    assert painted.image.std() > 5
    assert painted.annotations.objects
    for alias in (route, "detector_gate"):
        assert made.manifest.models[alias] == table.pin(alias)
    assert edition.figures["detection_ap"]
    assert "owlv2-base-patch16-ensemble" in edition.card
