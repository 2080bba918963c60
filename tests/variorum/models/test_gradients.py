"""Networks with gradients: inner layers, what they see, and users' transforms that are taken apart."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.brought.steps import steps_from, steps_of
from variorum.models.gradients import Differentiable, adversary
from variorum.schemas.errors import RecipeError

CAT = np.ascontiguousarray(skimage.data.chelsea()[:200:2, :280:2])


def tensor(image):
    return torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float() / 255


def bare():
    """A module that writes into its activations, without any code of ours."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )


CHAIN = transforms.Compose(
    [
        transforms.Resize(60),
        transforms.CenterCrop(48),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.25] * 3),
    ]
)


@pytest.mark.parametrize(
    "prepare",
    [
        CHAIN,
        v2.Compose([v2.Resize((50, 40)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
        torchvision.models.ResNet18_Weights.DEFAULT.transforms(),
        steps_of("resize=64x48 crop=40x41 grey mean=.5 std=.5"),
        steps_of("crop=32 bgr values=0-255"),
        steps_of("resize=80 interpolation=bicubic layout=nhwc"),
    ],
    ids=["chain", "v2", "weights", "grey", "bgr", "nhwc"],
)
def test_a_transform_taken_apart_does_what_it_did_up_to_rounding(prepare):
    steps = steps_from(prepare)
    assert steps is not None
    by_library = np.asarray(prepare(Image.fromarray(CAT)), np.float32)
    ours = steps.tensors(tensor(CAT))[0].numpy()
    level = steps.largest / 255 / min(steps.std or (1,))
    assert ours.shape == by_library.shape
    assert np.abs(ours - by_library).mean() < level
    assert np.quantile(np.abs(ours - by_library), 0.99) < 2.5 * level


def test_a_transform_that_is_no_such_chain_is_refused():
    flip = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    assert steps_from(flip) is None
    assert steps_from(transforms.Compose([CHAIN.transforms[3], CHAIN.transforms[1], CHAIN.transforms[2]])) is None
    assert steps_from(steps_of("resize=40 interpolation=lanczos")) is None
    model = from_function(
        bare(), name="mine", classes=("a", "b", "c"), preprocess=lambda image: tensor(np.array(image))[0]
    )
    with pytest.raises(RecipeError, match="the preprocessing of model 'mine' can't be differentiated"):
        adversary("mine", model)


def test_a_bare_network_gives_gradients_and_layers():
    model = from_function(bare(), name="mine", classes=("a", "b", "c"), preprocess=CHAIN)
    found = adversary("mine", model)
    assert found.layers == ("0", "4")
    assert found.classes == ("a", "b", "c")
    x = tensor(CAT).requires_grad_()
    said = found(x)
    np.testing.assert_allclose(said.exp().detach().numpy(), model([CAT]), atol=0.01)
    (slope,) = torch.autograd.grad(said[0, 0], x)
    assert (slope != 0).any()
    before = found.features(x, "0")
    assert before.shape == (1, 4, 46, 46)
    assert (before < 0).any()  # as it was before the activation wrote into it
    assert torch.autograd.grad(before.sum(), x)[0].abs().sum() > 0
    seen = found.seen(100, 140)
    assert seen[50, 70]
    assert not seen[50, :20].any()
    assert torch.equal(seen, (slope[0] != 0).any(0) | seen)
    with pytest.raises(RecipeError, match="no layer with weights is named 'conv9'; there are 2: 0, 4"):
        found.features(x, "conv9")


def test_a_network_that_ends_with_softmax_is_not_normalised_twice():
    model = from_function(nn.Sequential(bare(), nn.Softmax(1)), name="mine", classes=("a", "b", "c"), preprocess=CHAIN)
    np.testing.assert_allclose(adversary("mine", model)(tensor(CAT)).exp().detach().numpy(), model([CAT]), atol=0.01)


def test_what_gives_no_gradients_is_refused_with_a_way_out():
    model = from_function(lambda images: np.ones((len(images), 2)), name="f", classes=("a", "b"))
    with pytest.raises(RecipeError, match="the model 'f' gives no gradients; take adversary"):
        adversary("f", model)


def test_a_network_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        Differentiable(bare(), lambda pictures: pictures, list)


@pytest.mark.parametrize(
    ("alias", "classifier"),
    [("judge_adversary", "judge"), ("gate_adversary", "judge_gate"), ("distilled_adversary", "judge_distilled")],
)
def test_the_packaged_adversaries_answer_as_their_classifiers(alias, classifier):
    models = ModelTable("embedded")
    found, judge = models.get(alias), models.get(classifier)
    assert models.role(alias) == "adversary"
    assert found.classes == judge.classes
    small = CAT[:28, :28]
    np.testing.assert_array_equal(found.answers([small]), judge([small]))
    np.testing.assert_allclose(found(tensor(small)).exp().detach().numpy(), judge([small]), atol=0.02)
    assert found.seen(28, 28).all()


def test_lite_sees_the_middle_and_answers_as_the_classifier():
    models = ModelTable("embedded")
    found = models.get("adversary")
    seen = found.seen(256, 256)
    assert seen.sum() == 224 * 224
    assert not seen[:16].any()
    assert np.abs(found.answers([CAT]) - models.get("classifier_gate")([CAT])).max() < 1e-4
    assert found.features(tensor(CAT), found.layers[0]).shape[1] == 32
    assert found.features(tensor(CAT)).shape == (1, 1280)


def test_the_last_map_is_told_from_patches():
    found = adversary("mine", from_function(bare(), name="mine", classes=("a", "b", "c"), preprocess=CHAIN))
    scores, last, layer = found.mapped(tensor(CAT))
    assert (layer, tuple(last.shape)) == ("2", (1, 4, 2, 2))
    np.testing.assert_allclose(scores.log_softmax(-1).detach(), found(tensor(CAT)).detach(), atol=1e-6)
    tokens = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.Flatten(2), nn.Linear(9, 9), nn.Flatten(), nn.Linear(72, 3))
    patches = from_function(tokens.eval(), name="mine", classes=("a", "b", "c"), preprocess=CHAIN)
    assert adversary("mine", patches).mapped(tensor(CAT))[1:] == (None, "")
