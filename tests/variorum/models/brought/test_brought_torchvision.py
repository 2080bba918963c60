"""Models of torchvision, with random weights: the same as torchvision's own pipeline gives."""

from __future__ import annotations

import hashlib
import pickle

import pytest

from variorum.models.brought import find, torchvision
from variorum.models.brought.names import look_up
from variorum.schemas.errors import ModelUnavailable, RecipeError

DEFAULT = "IMAGENET1K_V1"


def by_torchvision(state, pictures, classes):
    import torch
    from PIL import Image
    from torchvision.models import SqueezeNet1_1_Weights, get_model

    network = get_model("squeezenet1_1", weights=None, num_classes=classes)
    network.load_state_dict(state)
    transform = SqueezeNet1_1_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        return network.eval()(torch.stack([transform(Image.fromarray(one)) for one in pictures])).softmax(-1).numpy()


def test_a_file_gives_what_torchvision_gives(torchvision_file, torchvision_state, pictures):
    model = find(f"torchvision:squeezenet1_1@{torchvision_file}")
    assert model(pictures) == pytest.approx(by_torchvision(torchvision_state, pictures, 6), abs=1e-6)
    assert (model.classes, model.outputs) == ((), 6)
    assert model.preprocessing == (
        "Shorter side to 256 px (bilinear), centre 224 × 224 px, values (x / 255 - mean) / std, mean 0.485 0.456 "
        f"0.406, std 0.229 0.224 0.225 (transforms of {DEFAULT}, as the file has none of its own)."
    )
    sha256 = hashlib.sha256(torchvision_file.read_bytes()).hexdigest()
    assert model.revision == f"sha256:{sha256};squeezenet1_1.{DEFAULT}"
    pin = look_up(f"torchvision:squeezenet1_1@{torchvision_file}").pin
    assert pin.startswith(f"torchvision:squeezenet1_1@{torchvision_file.name}@sha256:{sha256[:32]}+brought.")
    chosen = find(f"torchvision:squeezenet1_1.{DEFAULT}@{torchvision_file}")
    assert chosen.preprocessing.endswith(f"(transforms of {DEFAULT}).")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_pytorch_is_read_as_tensors_only(tmp_path, torchvision_state, pictures, wrapped):
    import torch

    state = {f"module.{key}": value for key, value in torchvision_state.items()} if wrapped else torchvision_state
    torch.save({"epoch": 3, "state_dict": state} if wrapped else state, tmp_path / "six.pth")
    model = find(f"torchvision:squeezenet1_1@{tmp_path / 'six.pth'}")
    assert model(pictures[:2]) == pytest.approx(by_torchvision(torchvision_state, pictures[:2], 6), abs=1e-6)


def test_default_weights_come_from_pytorchs_cache(tmp_path, monkeypatch, pictures):
    """The cache has random weights in the place of the published ones, under a name with their hash."""
    import torch
    from torchvision.models import SqueezeNet1_1_Weights, get_model

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = get_model("squeezenet1_1", weights=None).state_dict()
    torch.save(state, folder / "new.pth")
    sha256 = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    path = (folder / "new.pth").rename(folder / f"squeezenet-{sha256[:8]}.pth")
    monkeypatch.setattr(SqueezeNet1_1_Weights.DEFAULT.value, "url", f"https://example.invalid/{path.name}")
    for name in ("torchvision:squeezenet1_1", f"torchvision:squeezenet1_1.{DEFAULT}"):
        model = find(name)
        assert model.revision == f"sha256:{sha256}"
        assert (model.outputs, model.classes[:2], model.classes[-1]) == (1000, ("tench", "goldfish"), "toilet tissue")
        assert model(pictures[:2]) == pytest.approx(by_torchvision(state, pictures[:2], 1000), abs=1e-6)
    assert torchvision.SAFE_LOADING not in __import__("os").environ
    with path.open("ab") as file:
        file.write(b"!")
    with pytest.raises(ModelUnavailable, match="is damaged: its hash isn't that in its name; delete it"):
        find("torchvision:squeezenet1_1")


def test_weights_that_cannot_be_downloaded_are_named(tmp_path, monkeypatch, caplog):
    import torch

    def offline(*_args, **_more):
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ModelUnavailable, match=r"can't be downloaded \(Name or service not known\); .* fetch it to /"):
        find("torchvision:resnet18")
    assert "downloading https://download.pytorch.org/models/resnet18-f37072fd.pth" in caplog.text


class Harmful:
    def __reduce__(self):
        return print, ("the pickle ran",)


def test_a_pickle_of_anything_but_tensors_is_refused(tmp_path, capsys):
    import torch

    for save in (torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))):
        save({"classifier.1.weight": Harmful()}, tmp_path / "bad.pth")
        with pytest.raises(ModelUnavailable, match=r"bad.pth isn't a state dict of torchvision's squeezenet1_1: "):
            find(f"torchvision:squeezenet1_1@{tmp_path / 'bad.pth'}")
    assert "ran" not in capsys.readouterr().out


def test_wrong_files_and_names_are_named(torchvision_file, tmp_path):
    import torch

    with pytest.raises(RecipeError, match=r"no classifier 'resnet5'; did you mean torchvision:resnet50"):
        find("torchvision:resnet5")
    with pytest.raises(RecipeError, match=r"resnet50 has no weights 'V3' .*; there are: IMAGENET1K_V1, IMAGENET1K_V2"):
        find("torchvision:resnet50.V3")
    with pytest.raises(ModelUnavailable, match=r"no.pth doesn't exist"):
        find(f"torchvision:resnet18@{tmp_path / 'no.pth'}")
    with pytest.raises(ModelUnavailable, match=r"has no tensor 'fc.weight' of resnet18; it has classifier.1.bias"):
        find(f"torchvision:resnet18@{torchvision_file}")
    with pytest.raises(ModelUnavailable, match=r"may change its input, .* bring it as module:FILE.py:NAME"):
        find(f"torchvision:googlenet@{torchvision_file}")
    other = tmp_path / "six.bin"
    other.write_bytes(torchvision_file.read_bytes())
    with pytest.raises(ModelUnavailable, match=r"six.bin must be one of .safetensors, .pth, .pt"):
        find(f"torchvision:squeezenet1_1@{other}")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelUnavailable, match="it must hold a state dict: tensors by name"):
        find(f"torchvision:squeezenet1_1@{tmp_path / 'list.pth'}")


@pytest.mark.slow
def test_the_number_of_classes_shows_for_every_architecture(tmp_path):
    import torch
    import torchvision as library

    left_out = (*torchvision.AMBIGUOUS, "vit_h_14", "regnet_y_128gf")  # the last two are very large
    for name in library.models.list_models(module=library.models):
        if name not in left_out:
            build = library.models.get_model
            try:
                with torch.device("meta"):
                    state = build(name, weights=None, num_classes=7).state_dict()
            except NotImplementedError:
                state = build(name, weights=None, num_classes=7).state_dict()
            assert torchvision._outputs("mine", name, tmp_path, state) == 7, name
