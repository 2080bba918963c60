"""Every entry of profile hub in its published layout: it loads, and with a tensor less it is refused by name."""

from __future__ import annotations

import shutil

import pytest
from hub_layouts import builders, entries, snapshot
from safetensors.torch import load_file, save_file

from variorum.models.loaders import find_loader
from variorum.schemas.canonical import canonical_json
from variorum.schemas.errors import ModelUnavailable

READS = {"clip_embedding": "vision_model", "encoder_siglip2": "vision_model", "segmenter_sam2": "mask_decoder"}
"""What a loader reads, where that isn't all of the checkpoint."""


@pytest.fixture(scope="module")
def loaded(hub_home, tmp_path_factory):
    """Loads an alias from a folder, with the models that it uses from theirs; they are loaded once."""
    kept = {}

    def load(alias, folder=None):
        entry = entries()[alias].model_copy(update={"dtype": "float32"})
        for used in entry.uses:
            if used not in kept:
                kept[used] = load(used) if used in entries() else object()
        place = folder or snapshot(alias, hub_home)
        return find_loader(entry.loader).load(entry, place, {used: kept[used] for used in entry.uses})

    return load


def apart():
    """One alias of each builder, loader and options: several share a checkpoint."""
    kinds = {
        (builders()[alias], entry.loader, canonical_json(entry.options)): alias
        for alias, entry in sorted(entries().items(), reverse=True)
        if alias in builders() and entry.hub_repo
    }
    return sorted(kinds.values())


@pytest.mark.slow
@pytest.mark.parametrize("alias", apart())
def test_an_entry_loads_and_is_refused_without_one_tensor(alias, loaded, hub_home, tmp_path):
    assert loaded(alias)
    place = snapshot(alias, hub_home)
    folder = tmp_path / "checkpoint"
    for name in entries()[alias].hub_repo.files:  # other aliases have more of the same snapshot
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place / name, folder / name)
    part = next((part for start, part in READS.items() if alias.startswith(start)), "")
    for file in sorted(folder.rglob("*.safetensors")):
        state = load_file(file)
        layers = [
            name
            for name, tensor in sorted(state.items())
            if tensor.ndim > 1 and tensor.is_floating_point() and part in name
        ]
        gone = layers[len(layers) // 2]
        whole = file.read_bytes()
        save_file({name: tensor for name, tensor in state.items() if name != gone}, file, {"format": "pt"})
        with pytest.raises(ModelUnavailable, match=r"has no tensor|is missing") as refused:
            loaded(alias, folder)
        assert len(str(refused.value).splitlines()) == 1
        file.write_bytes(whole)
