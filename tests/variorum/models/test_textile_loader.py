"""TexTile's network with random weights: the published ones are in no package."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from variorum.models import ModelTable
from variorum.models.loaders.textile import Textile, load_textile, network
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

TINY = {"stages": ((8, 1), (16, 1), (16, 1), (24, 1)), "heads": 2, "per_head": (4, 8)}


def entry(path):
    return Entry(name="t", loader="textile", local={"path": str(path)}, licence="MIT", source="random weights")


@pytest.fixture(scope="module")
def scorer():
    torch.manual_seed(0)
    model = network(**TINY).eval()
    for name, values in model.named_parameters():
        if name.endswith(("gamma", "layer_scale")):  # nearly 0 before training
            torch.nn.init.constant_(values, 0.5)
    return Textile(model)


def test_scores_are_in_0_to_1_and_a_picture_s_own(scorer):
    gravel = np.repeat(skimage.data.gravel()[..., None], 3, axis=2)
    images = [np.ascontiguousarray(gravel[:64, :64]), np.ascontiguousarray(gravel[100:228, :128]), gravel[:64, :80]]
    found = scorer(images)
    assert found.dtype == np.float32
    assert ((found[:2] > 0) & (found[:2] < 1)).all()
    assert found[0] != found[1]
    assert np.isnan(found[2])  # not square
    assert scorer(images[1:2])[0] == found[1]
    assert scorer([]).shape == (0,)


def test_it_sees_the_picture_repeated(scorer):
    """The score of a picture is that of the picture repeated, if it is as large as the network's input either way."""
    gravel = np.repeat(skimage.data.gravel()[:128, :128, None], 3, axis=2)
    seen = []
    scorer._model.features[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    scorer([gravel])
    assert seen[0].shape == (1, 3, 512, 512)
    np.testing.assert_allclose(
        seen[0][..., :256].numpy()[..., 20:-20], seen[0][..., 256:].numpy()[..., 20:-20], atol=1e-4
    )


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(network(**TINY).state_dict(), path)
    with pytest.raises(ModelUnavailable, match="isn't TexTile's network"):
        load_textile(entry(path), path, None, {})
    torch.save(torch.nn.Linear(1, 1), path)  # a pickle with code
    with pytest.raises(ModelUnavailable, match="isn't TexTile's network"):
        load_textile(entry(path), path, None, {})


def test_the_doctor_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status = ModelTable("hub").status("tileability_scorer")
    assert status.state == "unavailable"
    assert "textile_v3.pth doesn't exist; download https://carlosrodriguezpardo.es/" in status.way_out


@pytest.mark.slow
def test_a_file_with_all_weights_of_the_whole_network_loads(tmp_path):
    path = tmp_path / "zeros.pth"
    with torch.device("meta"):
        shapes = network().state_dict()
    torch.save({name: torch.zeros(one.shape, dtype=torch.float16) for name, one in shapes.items()}, path)
    scorer = load_textile(entry(path), path, None, {})
    assert sum(one.numel() for one in scorer._model.parameters()) > 100_000_000
    assert not any(one.requires_grad for one in scorer._model.parameters())


def test_weights_that_are_not_there_are_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailable, match=r"model 'tileability_scorer' .* doesn't exist; download https://"):
        ModelTable("hub").pin("tileability_scorer")
