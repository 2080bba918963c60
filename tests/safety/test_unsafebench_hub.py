"""The recipe `unsafebench` in profile hub, on tiny checkpoints of a true layout."""

import pytest

import variorum


@pytest.mark.slow
def test_labelers_of_the_hub_are_heard(hub_models, tmp_path):
    table = hub_models("safety_checker", "vlm", "encoder")
    edition = variorum.run("unsafebench", profile="hub", store=tmp_path, limit=4, progress=False)
    rows = edition.table(ledger=True)
    assert rows["safety.stable_diffusion_filter.heard"].to_pylist() == ["ok"] * 4
    scores = rows["safety.stable_diffusion_filter.sexual"].to_pylist()
    assert len({*scores}) == 4
    assert all(0 <= score <= 1 for score in scores)
    texts = rows["safety.vision_language.bare.text"].to_pylist()
    assert "unavailable" not in rows["safety.vision_language.bare.heard"].to_pylist()
    assert len({*texts}) > 1  # of random weights, they say nothing
    assert table.status("vlm").state == "ready"
    assert {"stable_diffusion_filter", "vision_language, all prompts"} <= edition.figures["safety"]["by_labeler"].keys()
