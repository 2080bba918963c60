"""Every loader on a checkpoint that lacks one tensor, or has one of another shape: one line that names it.

The libraries themselves would fill the gap with random numbers.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_layouts.chat import qwen2_vl
from hub_layouts.detectors import grounding_dino, owlv2
from hub_layouts.stable_diffusion import dit
from random_models import save_random_resnet
from safetensors.torch import load_file, save_file
from tiny_pipelines import save_conditioned

import variorum
from variorum.models import pretrained
from variorum.models.brought import find
from variorum.models.loaders import find_loader
from variorum.models.pretrained import load_pipeline, load_pretrained
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

PACKAGED = Path(variorum.__file__).parent / "models" / "packaged"
CASES = [
    ("image_classification", "resnet", "", {}),
    ("image_embedding", "dinov2", "", {}),
    ("clip_embedding", "clip", "", {}),
    ("zero_shot", "clip", "", {}),
    ("safety_checker", "text_to_image", "safety_checker", {}),
    ("detection", "owl", "", {}),
    ("detection", "grounded", "", {}),
    ("vision_language", "vlm", "", {}),
    *(("diffusion", "text_to_image", part, {"task": "text_to_image"}) for part in ("unet", "vae", "text_encoder")),
    ("diffusion", "text_to_image", "unet", {"task": "image_to_image"}),
    ("diffusion", "xl", "text_encoder_2", {"task": "text_to_image"}),
    ("diffusion", "inpaint", "unet", {"task": "inpaint"}),
    ("diffusion", "image_variation", "image_encoder", {"task": "image_variation"}),
    ("diffusion", "instruction_edit", "unet", {"task": "instruction_edit"}),
    ("diffusion", "layout_to_image", "unet", {"task": "layout_to_image"}),
    ("diffusion", "text_to_image", "vae", {"task": "edge_to_image"}),
    ("control_network", "control", "", {}),
    ("class_diffusion", "dit", "transformer", {}),
    ("class_diffusion", "dit", "vae", {}),
    *(("latent_denoiser", "text_to_image", part, {}) for part in ("unet", "vae", "text_encoder")),
    ("pixel_denoiser", "photo_denoiser", "", {"variant": "fp16"}),
    ("folded_denoiser", "fashion_mnist_unet", "", {}),
    ("folded_unet", "fashion_mnist_unet", "", {"classes": [str(number) for number in range(10)]}),
    ("tiny_autoencoder", "taesd", "", {}),
    ("autoencoder", "text_to_image", "", {"part": "vae"}),
    ("noise_regression", "low_light_enhancer", "", {}),
    ("grey_cnn", "fashion_mnist_cnn", "", {"classes": [str(number) for number in range(10)], "size": 28}),
]


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    """A tiny checkpoint for every loader, by its folder's name."""
    import diffusers
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    made = tmp_path_factory.mktemp("complete")
    shutil.copytree(tiny, made, dirs_exist_ok=True)
    save_conditioned(made)
    dit(made / "dit")
    owlv2(made / "owl", side=64)
    grounding_dino(made / "grounded", shortest=96, longest=128, window=2, queries=20)
    qwen2_vl(made / "vlm", most_pixels=112 * 112, shards=False)
    save_random_resnet(made / "resnet", 1000)
    diffusers.AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).save_pretrained(
        made / "taesd"
    )
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(made / "dinov2")
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(
        made / "dinov2"
    )
    for name in ("photo_denoiser", "fashion_mnist_unet", "low_light_enhancer", "fashion_mnist_cnn"):
        shutil.copytree(PACKAGED / name, made / name)
    return made


@pytest.fixture
def changed(folders, tmp_path):
    """Copies a folder, and takes the middle tensor of a part away or gives it another shape; tells its name."""

    def change(name, part="", shape=None):
        folder = tmp_path / name
        shutil.copytree(folders / name, folder)
        (file,) = (folder / part).glob("*.safetensors")
        state = load_file(file)
        weights = sorted(one for one in state if one.endswith("weight"))
        layers = [one for one in weights if one.endswith("1.mlp.fc1.weight")]  # vision's last; no file renames these
        tensor = layers[-1] if layers else weights[len(weights) // 2]
        if shape:
            state[tensor] = torch.zeros(shape)
        else:
            del state[tensor]
        save_file(state, file, {"format": "pt"})
        return folder, tensor

    return change


def entry(folder, loader, **options):
    return Entry(
        name="tiny", loader=loader, local={"path": str(folder)}, options=options, licence="none", source="random"
    )


def loaded(folder, loader, options, folders):
    used = {}
    if options.get("task") == "edge_to_image":
        used = {"control": load_pretrained(__import__("diffusers").ControlNetModel, folders / "control", None)}
    return find_loader(loader).load(entry(folder, loader, **options), folder, used)


@pytest.mark.parametrize(("loader", "name", "part", "options"), CASES)
def test_a_loader_refuses_what_lacks_one_tensor(loader, name, part, options, changed, folders, caplog, capfd):
    folder, tensor = changed(name, options.get("part", part))
    with pytest.raises(ModelUnavailable) as refused:
        loaded(folder, loader, options, folders)
    said = str(refused.value)
    assert tensor.rpartition(".")[0] in said, said
    assert len(said.splitlines()) == 1
    assert (capfd.readouterr(), caplog.records) == (("", ""), [])


@pytest.mark.parametrize("case", [CASES[8], CASES[16], CASES[17], CASES[22]])
def test_diffusers_alone_would_fill_in_what_accelerate_finds(case, changed, folders, monkeypatch, caplog, capfd):
    find = pretrained.find_spec
    monkeypatch.setattr(pretrained, "find_spec", lambda one: None if one == "accelerate" else find(one))
    test_a_loader_refuses_what_lacks_one_tensor(*case, changed, folders, caplog, capfd)


ALONE = """
import sys
from importlib import util
from pathlib import Path

sys.modules["accelerate"] = None  # importing it is an error
found = util.find_spec
util.find_spec = lambda name, *more: None if name == "accelerate" else found(name, *more)

from variorum.models.loaders import find_loader
from variorum.models.table_entries import Entry
from diffusers.utils import is_accelerate_available

assert not is_accelerate_available()
folder = Path(sys.argv[1])
asked = Entry(name="tiny", loader="diffusion", local={"path": str(folder)}, options={"task": "text_to_image"},
              licence="none", source="random")
model = find_loader("diffusion").load(asked, folder, {})
(picture,) = model(["a cat"], [""], [3], steps=2, guidance=4.0, size=None)
sys.stdout.buffer.write(picture.tobytes())
"""


@pytest.mark.slow
def test_a_picture_is_the_same_without_accelerate(folders):
    """In a process that can't import it."""
    folder = folders / "text_to_image"
    alone = subprocess.run([sys.executable, "-c", ALONE, str(folder)], check=True, capture_output=True)
    model = loaded(folder, "diffusion", {"task": "text_to_image"}, folders)
    (picture,) = model(["a cat"], [""], [3], steps=2, guidance=4.0, size=None)
    assert alone.stdout == picture.tobytes()


def test_a_gpu_without_bfloat16_is_said_before_loading(folders, monkeypatch):
    asked = entry(folders / "clip", "zero_shot").model_copy(update={"dtype": "bfloat16"})
    assert find_loader("zero_shot").problem(asked) == ""  # a CPU has it
    monkeypatch.setattr(pretrained, "best_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an old card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    said = find_loader("zero_shot").problem(asked)
    assert re.fullmatch(r"it computes in bfloat16, which an old card can't; .* set dtype = \"float32\"", said)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert find_loader("zero_shot").problem(asked) == ""


@pytest.mark.parametrize(
    ("loader", "name", "part", "options"),
    [CASES[3], CASES[6], CASES[7], ("diffusion", "xl", "tokenizer_2", CASES[8][3])],
)
def test_a_tokenizer_without_its_words_is_refused(loader, name, part, options, folders, tmp_path):
    """transformers makes one of two tokens, to which all texts are alike."""
    folder = tmp_path / name
    shutil.copytree(folders / name, folder)
    for file in ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"):
        (folder / part / file).unlink(missing_ok=True)
    with pytest.raises(ModelUnavailable, match=r"has no vocabulary of a |can't be loaded as a") as refused:
        loaded(folder, loader, options, folders)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("part", ["tokenizer", "scheduler", "unet"])
def test_a_part_without_a_folder_is_named(part, folders, tmp_path):
    """diffusers would look for it in the folder above."""
    shutil.copytree(folders / "text_to_image", tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / part)
    with pytest.raises(ModelUnavailable, match=rf"has no folder {part}, which its model_index\.json names"):
        loaded(tmp_path, "diffusion", {"task": "text_to_image"}, folders)


@pytest.mark.parametrize(("loader", "name", "part", "options"), [CASES[3], CASES[9], CASES[18], CASES[24]])
def test_a_loader_refuses_a_tensor_of_another_shape(loader, name, part, options, changed, folders, capfd):
    folder, tensor = changed(name, options.get("part", part), shape=(3, 5))
    with pytest.raises(ModelUnavailable, match=rf"has a tensor {re.escape(tensor)} of shape \[3, 5\], not \[") as said:
        loaded(folder, loader, options, folders)
    assert len(str(said.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


def test_a_brought_classifier_of_transformers_is_complete_or_refused(changed):
    folder, tensor = changed("resnet")
    with pytest.raises(ModelUnavailable, match=rf"has no tensor {re.escape(tensor)} of a ResNetForImageClassification"):
        find(f"hf:{folder}")


def test_sam_refuses_a_checkpoint_that_lacks_a_tensor(tmp_path):
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        shapes = sam_model_registry["vit_b"]().state_dict()
    state = {name: torch.zeros(()).expand(value.shape) for name, value in shapes.items()}  # views: a small file
    del state["image_encoder.blocks.3.attn.qkv.weight"]
    torch.save(state, tmp_path / "sam.pth")
    asked = entry(tmp_path / "sam.pth", "sam", architecture="vit_b")
    with pytest.raises(ModelUnavailable, match=r"Missing key\(s\).*image_encoder\.blocks\.3\.attn\.qkv\.weight"):
        find_loader("sam").load(asked, tmp_path / "sam.pth", {"salience": None})


def in_shards(folder, size="6KB"):
    from transformers import CLIPModel

    CLIPModel.from_pretrained(folder).save_pretrained(folder, max_shard_size=size)
    (folder / "model.safetensors").unlink()
    return sorted(folder.glob("model-*.safetensors"))


def test_an_absent_shard_is_named(folders, tmp_path):
    shutil.copytree(folders / "clip", tmp_path, dirs_exist_ok=True)
    shards = in_shards(tmp_path)
    assert find_loader("zero_shot").load(entry(tmp_path, "zero_shot"), tmp_path, {})
    shards[1].unlink()
    with pytest.raises(ModelUnavailable, match=f"has no {shards[1].name}, which its model.safetensors.index.json"):
        find_loader("zero_shot").load(entry(tmp_path, "zero_shot"), tmp_path, {})


def test_an_index_that_promises_more_than_its_shards_have(folders, tmp_path):
    """diffusers would believe it, and leave the tensor as memory had it."""
    import diffusers

    diffusers.UNet2DConditionModel.from_pretrained(folders / "text_to_image" / "unet").save_pretrained(
        tmp_path, max_shard_size="20KB"
    )
    shard = sorted(tmp_path.glob("*-00002-of-*.safetensors"))[0]
    state = load_file(shard)
    tensor = sorted(state)[0]
    save_file({name: value for name, value in state.items() if name != tensor}, shard, {"format": "pt"})
    with pytest.raises(ModelUnavailable, match=rf"{shard.name} has no tensor {re.escape(tensor)}, which .* names"):
        load_pretrained(diffusers.UNet2DConditionModel, tmp_path, None)


@pytest.fixture
def pipeline(folders, tmp_path):
    """A copy of a pipeline, with changes to its index."""

    def make(**changes):
        folder = tmp_path / "pipeline"
        shutil.copytree(folders / "image_variation", folder)
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | changes))
        return folder

    return make


def test_a_removed_class_of_a_processor_is_found_under_its_new_name(pipeline):
    from diffusers import StableDiffusionImageVariationPipeline

    folder = pipeline(feature_extractor=["transformers", "CLIPFeatureExtractor"])
    made = load_pipeline(StableDiffusionImageVariationPipeline, folder, entry(folder, "diffusion"))
    assert type(made.feature_extractor).__name__.startswith("CLIPImageProcessor")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unet": ["diffusers", "OldUNet"]}, r"names the class OldUNet for unet, which diffusers [\d.]+ doesn't have"),
        ({"unet": ["my_code", "UNet"]}, "the part 'unet' is of 'my_code', and no such code is run"),
        ({"unet": ["os", "system"]}, "the part 'unet' is of 'os', and no such code is run"),
        ({"unet": ["diffusers"]}, "the part 'unet' is of '', and no such code is run"),
    ],
)
def test_a_class_that_no_library_has_is_one_line(pipeline, changes, said):
    from diffusers import StableDiffusionImageVariationPipeline

    folder = pipeline(**changes)
    with pytest.raises(ModelUnavailable, match=said) as refused:
        load_pipeline(StableDiffusionImageVariationPipeline, folder, entry(folder, "diffusion"))
    assert len(str(refused.value).splitlines()) == 1
