"""The recipe `curate_folder` in profile hub, on tiny checkpoints of a true layout."""

import pytest

import variorum


@pytest.mark.slow
def test_a_folder_is_curated_with_the_hubs_encoder(hub_models, photos, tmp_path):
    table = hub_models("encoder", "encoder_independent")
    edition = variorum.run("curate_folder", profile="hub", source=photos, store=tmp_path, progress=False)
    assert edition.manifest.ledger.models == {"encoder_independent": table.pin("encoder_independent")}
    scores = edition.base().table(ledger=True)["suspicion.score"].to_pylist()
    assert len(scores) == 12
    assert all(score is not None for score in scores)
