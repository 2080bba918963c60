"""Bare PyTorch networks: they answer as by their library's own pipeline, and stay as they are."""

from __future__ import annotations

import copy
import textwrap

import numpy as np
import pytest
from PIL import Image

from variorum.models import ModelTable
from variorum.models.brought import find, from_function
from variorum.models.brought.module import prepared
from variorum.models.brought.names import look_up
from variorum.models.gives import embeddings, gives
from variorum.models.loaders.efficientnet_lite import network_input, torch_module
from variorum.schemas.errors import ModelFailed, RecipeError

ASSUMED = "Shorter side to 232 px (bilinear), centre 224 × 224 px, "


def by_library(network, transform, pictures):
    import torch

    with torch.inference_mode():
        batch = torch.stack([transform(Image.fromarray(one)) for one in pictures])
        return network.eval()(batch).softmax(-1).numpy()


def seeded(make):
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make()


@pytest.fixture(scope="module")
def squeezenet(torchvision_state):
    from torchvision.models import get_model

    network = get_model("squeezenet1_1", weights=None, num_classes=6)
    network.load_state_dict(torchvision_state)
    return network


def pooled(channels=3, outputs=4, **attributes):
    """A network that takes pictures of any size."""
    from torch import nn

    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, outputs))
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


def test_a_network_of_torchvision_gets_the_transforms_of_its_builders_default_weights(squeezenet, pictures):
    from torch import nn
    from torchvision.models import SqueezeNet1_1_Weights

    model = from_function(squeezenet.train(), name="mine")
    found = model(pictures)
    assert squeezenet.training
    assert all(one.requires_grad for one in squeezenet.parameters())
    expected = by_library(squeezenet, SqueezeNet1_1_Weights.DEFAULT.transforms(), pictures)
    assert found == pytest.approx(expected, abs=1e-6)
    assert (model.kind, model.classes, model.width) == ("PyTorch module", (), 6)
    assert "default weights for squeezenet1_1, IMAGENET1K_V1; the network doesn't tell its own" in model.preprocessing
    wrapped = from_function(nn.DataParallel(squeezenet), name="mine")
    assert wrapped.preprocessing == model.preprocessing
    assert np.array_equal(wrapped(pictures[:2]), model(pictures[:2]))


@pytest.mark.parametrize(
    ("make", "size"),
    [("efficientnet_b1", 255), ("inception_v3", 342), ("swin_v2_t", 260), ("regnet_y_400mf", 232)],
)
def test_the_builder_is_known_by_the_shapes_whatever_the_head(make, size):
    import torch
    from torchvision.models import get_model

    more = {"init_weights": False} if make == "inception_v3" else {}
    network = get_model(make, weights=None, num_classes=7, **more)
    with torch.no_grad():
        told = from_function(network, name="mine").preprocessing
    assert told.startswith(f"Shorter side to {size} px (")
    assert (make in told) == (make != "regnet_y_400mf")  # whose shapes can't be had without its weights


def test_a_network_of_timm_gets_its_own_config(pictures):
    import timm
    from timm.data import create_transform, resolve_model_data_config

    network = seeded(lambda: timm.create_model("test_vit", num_classes=3))
    model = from_function(network, name="mine")
    found = model(pictures)
    transform = create_transform(**resolve_model_data_config(network))
    assert found == pytest.approx(by_library(network, transform, pictures), abs=1e-6)
    assert model.preprocessing.startswith("Shorter side to 168 px (bicubic), centre 160 × 160 px, ")
    assert model.preprocessing.endswith("(timm's transform).")


def test_a_network_of_transformers_gets_the_processor_beside_it(hf_folder, pictures):
    from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

    expected = find(f"hf:{hf_folder}")
    network = AutoModelForImageClassification.from_pretrained(hf_folder)
    lone = AutoModelForImageClassification.from_pretrained(hf_folder)
    lone.config._name_or_path = lone.name_or_path = ""
    processor = AutoImageProcessor.from_pretrained(hf_folder)
    piped = pipeline("image-classification", model=lone, image_processor=processor)
    for given in (network, piped):
        model = from_function(given, name="mine")
        assert model(pictures) == pytest.approx(expected(pictures), abs=1e-6)
        assert (model.classes, model.preprocessing) == (expected.classes, expected.preprocessing)
    assert "assumed" in from_function(lone, name="mine").preprocessing


def test_any_other_network_gets_the_usual_at_the_size_that_it_names(pictures):
    import torch
    from torchvision.transforms._presets import ImageClassification

    network = pooled()
    model = from_function(network, name="mine")
    expected = by_library(network, ImageClassification(crop_size=224, resize_size=232), pictures)
    assert model(pictures) == pytest.approx(expected, abs=1e-5)
    assert model.preprocessing.startswith(ASSUMED)
    assert model.preprocessing.endswith("(assumed: the usual for ImageNet, as the model has none of its own).")
    told = {size: from_function(pooled(input_size=size), name="m").preprocessing for size in (32, (3, 384, 320), "big")}
    assert told[32].startswith("Shorter side to 32 px (bilinear), centre 32 × 32 px")
    assert told[3, 384, 320].startswith("Shorter side to 331 px (bilinear), centre 320 × 384 px")
    assert told["big"].startswith(ASSUMED)

    class Several(torch.nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.network, self.kind, self.classes, self.revision = network, kind, 4, torch.nn.Identity()

        def forward(self, x):
            scores = self.network(x)
            return {"logits": scores} if self.kind == "dict" else (scores, x)

    for kind in ("dict", "tuple"):
        assert np.array_equal(from_function(Several(kind), name="mine")(pictures[:2]), model(pictures[:2]))
    half = from_function(pooled().bfloat16(), name="half")
    assert half(pictures[:1]).shape == (1, 4)


def test_preprocessing_can_be_chosen(squeezenet, pictures):
    from torch.nn import Conv2d
    from torchvision.models import SqueezeNet1_1_Weights
    from torchvision.transforms import Compose, Resize, ToTensor

    own = from_function(squeezenet, name="mine")(pictures[:3])
    transform = SqueezeNet1_1_Weights.DEFAULT.transforms()
    words = "resize=256 crop=224 mean=imagenet std=imagenet"
    for chosen in (transform, words):
        model = from_function(squeezenet, name="mine", preprocess=chosen)
        assert model(pictures[:3]) == pytest.approx(own, abs=1e-5)
        assert model.preprocessing.startswith(
            "Shorter side to 256 px (bilinear), centre 224 × 224 px, values (x / 255 -"
        )
    plain = Compose([Resize((64, 64)), ToTensor()])
    model = from_function(squeezenet, name="mine", preprocess=plain)
    assert model(pictures[:3]) == pytest.approx(by_library(squeezenet, plain, pictures[:3]), abs=1e-6)
    assert model.preprocessing.startswith("By Compose( Resize(size=(64, 64)")
    of_grey = from_function(Conv2d(1, 4, 3), name="mine")
    with pytest.raises(ModelFailed, match=r"expected input.* to have 1 channels.*where grey gives one channel"):
        of_grey(pictures[:1])


FILE = """
    from pathlib import Path

    import torch

    def load():
        torch.manual_seed(SEED)
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))

    def pair():
        return load(), "resize=8x8"
"""


def test_a_networks_weights_and_preprocessing_are_part_of_its_identity(tmp_path, pictures):
    """The file stays the same while the weights that it reads change."""
    pins = []
    for folder, seed in (("one", 1), ("two", 2), ("again", 1)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "seed.txt").write_text(str(seed))
        text = textwrap.dedent(FILE).replace("SEED", "int(Path(__file__).with_name('seed.txt').read_text())")
        (tmp_path / folder / "mine.py").write_text(text)
        pins.append(look_up(f"module:{tmp_path / folder / 'mine.py'}:load").pin)
    assert pins[0] == pins[2] != pins[1]
    name = f"module:{tmp_path / 'one' / 'mine.py'}:load"
    other = prepared(name, "resize=8x8")
    assert other.revision.partition(";")[0] == find(name).revision.partition(";")[0]
    assert other.revision != find(name).revision
    assert not np.array_equal(other(pictures[:2]), find(name)(pictures[:2]))
    pair = find(name.replace(":load", ":pair"))
    assert np.array_equal(pair(pictures[:2]), other(pictures[:2]))


def test_a_bare_network_gives_what_the_alias_for_it_gives(pictures):
    """EfficientNet-Lite1 with its published weights, in PyTorch and as `classifier_small`."""
    import torch

    table = ModelTable("embedded")
    if table.status("classifier_small").state != "ready":
        pytest.skip("the weights of classifier_small aren't fetched")
    alias, entry = table.get("classifier_small"), table.entry("classifier_small")
    network = table.read_weights("classifier_small", lambda path: torch_module(entry.name, path))
    size = entry.options["size"]
    model = from_function(
        network, name="mine", preprocess=lambda image: torch.from_numpy(network_input(np.asarray(image), size))
    )
    assert model(pictures) == pytest.approx(alias(pictures), abs=1e-4)


def test_the_embedding_of_a_network_is_what_its_last_layer_gets(squeezenet, pictures):
    import torch

    network = seeded(lambda: pooled(input_size=64)).eval()
    model = from_function(network, name="mine")
    found = model.features(pictures)
    assert found.shape == (len(pictures), 12)
    logits = torch.from_numpy(found) @ network[2].weight.T + network[2].bias
    assert logits.detach().softmax(-1).numpy() == pytest.approx(model(pictures), abs=1e-6)
    assert not any(part._forward_hooks for part in network.modules())
    by_pixels = from_function(squeezenet, name="conv").features(pictures)
    assert by_pixels.shape == (len(pictures), 512)


def test_answers_and_embeddings_of_a_batch_take_one_pass(pictures):
    network = seeded(pooled).eval()
    seen = []
    network.register_forward_hook(lambda *_: seen.append(1))
    model, pictures = from_function(network, name="mine"), [one.copy() for one in pictures]
    model.ask(pictures[0])
    seen.clear()
    answers, before = model(pictures), model.features(pictures)
    np.testing.assert_array_equal(model(pictures), answers)
    assert len(seen) == 1
    pictures[1][75, 113] ^= 255  # a single pixel
    assert (model.features(pictures)[1] != before[1]).any()
    assert len(seen) == 2


def test_a_network_that_was_trained_or_draws_random_numbers_sees_the_batch_again(pictures):
    import torch

    class Drawing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(3, 5)

        def forward(self, x):
            return self.last(x.mean((2, 3)) + torch.rand(3))

    drawing = from_function(Drawing().eval(), name="drawing")
    drawing.ask(pictures[0])
    assert (drawing(pictures) != drawing(pictures)).any()
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 5)).eval()
    model = from_function(network, name="mine")
    model.ask(pictures[0])
    before = model(pictures)
    with torch.no_grad():
        network[2].weight.mul_(2)
    assert (model(pictures) != before).any()
    np.testing.assert_array_equal(copy.deepcopy(model)(pictures), model(pictures))


def test_a_network_whose_last_linear_layer_gives_no_scores_has_no_embedding(pictures):
    import torch
    from torch import nn

    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = pooled(outputs=5)
            self.weights = nn.Parameter(torch.ones(5, 4))

        def forward(self, x):
            return self.inner(x) @ self.weights

    model = from_function(Apart().eval(), name="apart")
    assert model.features(pictures) is None
    assert gives(model, pictures[0]) == frozenset()
    with pytest.raises(RecipeError, match="model 'apart' gives no embedding; bring a PyTorch network"):
        embeddings("apart", model, pictures)


def test_a_function_gives_an_embedding_by_its_attribute(pictures):
    def scores(images):
        return [[float(one.mean()), 0.0] for one in images]

    assert from_function(scores).features(pictures) is None
    scores.embed = lambda images: [[float(one.mean()), 1.0, 2.0] for one in images]
    found = from_function(scores).features(pictures)
    assert found[:, 0] == pytest.approx([one.mean() for one in pictures])
    scores.embed = lambda images: [1.0]
    with pytest.raises(ModelFailed, match=r"the embed of model 'two' gave .* must give embeddings \[3, d\]"):
        from_function(scores, name="two").features(pictures[:3])
    scores.embed = 7
    with pytest.raises(RecipeError, match="its embed must be a function"):
        from_function(scores)
