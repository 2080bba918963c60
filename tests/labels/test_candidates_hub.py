"""Proposals of labels by a zero-shot model and a captioner of profile hub, with random weights."""

from __future__ import annotations

import pytest
from hub_rows import rows_of


@pytest.mark.slow
def test_multi_label_review_with_siglip_and_dinov3(hub_models, tmp_path):
    hub_models("zero_shot_siglip2", "encoder_dinov3")
    candidates, features = "curate.candidates.zero_shot=zero_shot_siglip2", "curate.features.encoder=encoder_dinov3"
    assert len(rows_of(tmp_path, "multi_label_review", 6, candidates, features)) == 6
