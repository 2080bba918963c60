"""The recipe `content_dilution` in profile hub, on tiny checkpoints of a true layout."""

import pytest

import variorum


@pytest.mark.slow
def test_captions_are_diluted_and_judged_by_models_of_the_hub(hub_models, tmp_path):
    hub_models("encoder", "classifier", "classifier_small", "zero_shot")
    judged = {"evaluate.caption_retrieval.judge": "zero_shot"}
    edition = variorum.run("content_dilution", profile="hub", store=tmp_path, progress=False, **judged)
    counts = {variant: one["accepted"] for variant, one in edition.counts.items()}
    assert counts["both"] == counts["text_keywords"] == counts["original"] > 40
    said = edition.figures["caption_retrieval"]["variants"]["both"]
    assert all(0 <= said[what]["value"] <= 100 for what in ("own", "shown", "picture", "text", "both"))
    spaces = edition.figures["intrinsic_properties"]["spaces"]
    assert spaces["embeddings"]["n"] == counts["original"]
    assert not any(pin.startswith("facebook/") for pin in edition.manifest.filters)
