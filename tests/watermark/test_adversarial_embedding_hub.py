"""Pictures move in SigLIP 2's embedding, with random weights."""

from __future__ import annotations

import pytest
from hub_rows import rows_of


@pytest.mark.slow
def test_siglip_is_attacked_by_its_gradient(hub_models, tmp_path):
    hub_models("zero_shot_siglip2")
    rows = rows_of(
        tmp_path,
        "watermark",
        2,
        "generate.watermark.marks=[{name: stdm}]",
        "generate.watermark_attack.attacks=[{name: adversarial_embedding, model: zero_shot_siglip2, steps: 3}]",
        "generate.watermark_attack.strengths=[1.0]",
        "generate.watermark_attack.keep=pictures",
    )
    assert any("embedding_moved" in str(row["ops"]) for row in rows)
