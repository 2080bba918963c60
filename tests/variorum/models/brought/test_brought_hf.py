"""Models of transformers, with random weights: the same as its own pipeline gives."""

from __future__ import annotations

import json
import shutil

import pytest

from variorum.models.brought import find
from variorum.models.brought.hf import class_names
from variorum.models.brought.names import look_up
from variorum.schemas.errors import ModelUnavailable, RecipeError


def by_transformers(folder, pictures):
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    processor = AutoImageProcessor.from_pretrained(folder)
    network = AutoModelForImageClassification.from_pretrained(folder)
    with torch.inference_mode():
        return (
            network(**processor(images=[one.copy() for one in pictures], return_tensors="pt"))
            .logits.softmax(-1)
            .numpy()
        )


def test_a_folder_gives_what_transformers_gives(hf_folder, pictures):
    model = find(f"hf:{hf_folder}")
    assert model(pictures) == pytest.approx(by_transformers(hf_folder, pictures), abs=1e-6)
    assert model.classes == ("cat", "cup", "other")
    assert model.preprocessing == (
        "Shorter side to 72 px (bicubic), centre 64 × 64 px, values (x / 255 - mean) / std, mean 0.4815 0.4578 0.4082, "
        "std 0.2686 0.2613 0.2758 (BitImageProcessor)."
    )
    assert model.revision.startswith("sha256:")


def test_a_repository_in_the_hubs_cache_is_read_without_a_network(hf_folder, hub, pictures):
    folder = hub(hf_folder)
    model = find("hf:owner/tiny")
    assert model.revision == f"git:{'1' * 40}"
    assert model(pictures[:2]) == pytest.approx(by_transformers(hf_folder, pictures[:2]), abs=1e-6)
    assert look_up("hf:owner/tiny@main").location == f"owner/tiny at {'1' * 40}"
    with pytest.raises(ModelUnavailable, match=r"owner/tiny at v2 isn't in the Hub's cache and can't be downloaded"):
        find("hf:owner/tiny@v2")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=f"owner/tiny in {folder}: it has no weights; it needs model.saf"):
        find("hf:owner/tiny")


def test_a_repository_is_downloaded_once_and_said_so(hf_folder, hub, monkeypatch, caplog):
    import huggingface_hub

    asked = []

    def download(repo, *, revision, allow_patterns):
        asked.append((repo, revision, allow_patterns[0]))
        return str(hub(hf_folder))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find("hf:owner/tiny").revision == find("hf:owner/tiny").revision == f"git:{'1' * 40}"
    assert asked == [("owner/tiny", None, "config.json")]
    assert "downloading owner/tiny from the Hugging Face Hub" in caplog.text


def test_a_damaged_blob_is_found(hf_folder, hub):
    folder = hub(hf_folder)
    blobs = folder.parent.parent / "blobs"
    blobs.mkdir()
    (folder / "model.safetensors").rename(blobs / ("2" * 64))
    (folder / "model.safetensors").symlink_to(blobs / ("2" * 64))
    with pytest.raises(ModelUnavailable, match=r"model.safetensors is damaged; delete .* to fetch it"):
        find("hf:owner/tiny")


def test_weights_in_several_files_are_read(hf_folder, tmp_path, pictures):
    from transformers import AutoModelForImageClassification

    folder = tmp_path / "parts"
    AutoModelForImageClassification.from_pretrained(hf_folder).save_pretrained(folder, max_shard_size="8KB")
    shutil.copy(hf_folder / "preprocessor_config.json", folder)
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 1
    assert find(f"hf:{folder}")(pictures[:2]) == pytest.approx(find(f"hf:{hf_folder}")(pictures[:2]), abs=1e-6)
    parts[0].unlink()
    with pytest.raises(ModelUnavailable, match=f"it lacks parts of its weights, such as '{parts[0].name}'"):
        find(f"hf:{folder}")


def test_class_names():
    assert class_names({1: "b", 0: "a"}) == ("a", "b")
    assert class_names({0: "LABEL_0", 1: "LABEL_1"}) == ()
    assert class_names({0: "LABEL_0", 1: "b"}) == ("LABEL_0", "b")


def test_wrong_folders_are_named(hf_folder, tmp_path):
    with pytest.raises(ModelUnavailable, match=r"it has no config\.json, which save_pretrained"):
        find(f"hf:{tmp_path}")
    pickled = tmp_path / "pickled"
    shutil.copytree(hf_folder, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(
        ModelUnavailable, match=r"its pytorch_model.bin is a pickle, and loading one runs whatever code"
    ):
        find(f"hf:{pickled}")
    coded = tmp_path / "coded"
    shutil.copytree(hf_folder, coded)
    config = json.loads((coded / "config.json").read_text())
    (coded / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "own.Config"}}))
    with pytest.raises(ModelUnavailable, match="it needs code of its repository, which isn't run; bring it as module:"):
        find(f"hf:{coded}")
    (coded / "config.json").write_text(json.dumps(config | {"model_type": "clip"}))
    with pytest.raises(
        ModelUnavailable, match=r"has no tensor classifier\.bias \(and 200 more\) of a CLIPForImageClassification"
    ):
        find(f"hf:{coded}")
    (coded / "config.json").write_text("[1]")
    with pytest.raises(ModelUnavailable, match=r"config.json must hold an object, \{…\}, not a list"):
        find(f"hf:{coded}")
    with pytest.raises(RecipeError, match="'a b' is no repository; the Hub's are named owner/name"):
        find("hf:a b")
