"""open_nsfw: the authors' steps on photographs, one picture at a time, and gradients of the same score."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.models import ModelTable
from variorum.models.loaders.nsfw import NSFW_SCORE, network_input
from variorum.models.onnx import open_session
from variorum.models.table_entries import Entry, read_table
from variorum.models.weights import locate
from variorum.schemas.errors import ModelUnavailable


@pytest.fixture(scope="module")
def nsfw(table):
    return table.get("nsfw")


@pytest.fixture(scope="module")
def gradients(table):
    return table.get("nsfw_gradients")


@pytest.fixture(scope="module")
def photographs(cat):
    from skimage import data

    return [cat, data.coffee()[:, 40:], data.astronaut()]


def by_hand(image):
    """The steps of classify_nsfw.py in github.com/yahoo/open_nsfw, with Pillow alone; channels last."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).resize((256, 256), Image.Resampling.BILINEAR).save(stream, "JPEG")
    seen = np.asarray(Image.open(stream), np.float32)[16:240, 16:240, ::-1]
    return seen - np.float32([104, 117, 123])


def test_scores_are_those_of_the_original_file(table, nsfw, photographs):
    """The network is put together again from the file's weights; here the file itself is run."""
    session = open_session(locate(table.entry("nsfw"), table.cache), 1)
    name = session.get_inputs()[0].name
    found = [session.run(None, {name: by_hand(image)[None]})[0][0, 1] for image in photographs]
    assert np.allclose(nsfw(photographs), found, atol=1e-5)
    assert len({round(float(score), 4) for score in found}) == len(photographs)


def test_the_input_is_that_of_the_authors(photographs):
    for image in photographs:
        assert np.abs(network_input(image).transpose(1, 2, 0) - by_hand(image)).max() <= 1


def test_a_score_depends_on_its_picture_alone(nsfw, photographs):
    together = nsfw(photographs)
    assert together.dtype == np.float32
    assert np.array_equal(nsfw(photographs[::-1])[::-1], together)
    assert np.array_equal(np.concatenate([nsfw([image]) for image in photographs]), together)
    assert nsfw([]).shape == (0,)


@settings(max_examples=5, deadline=None)
@given(height=st.integers(1, 600), width=st.integers(1, 600))
def test_pictures_have_any_size(height, width):
    (score,) = ModelTable("embedded").get("nsfw")([np.full((height, width, 3), 90, np.uint8)])
    assert 0 <= score <= 1


def tensors(images):
    import torch

    return torch.stack([torch.tensor(image.transpose(2, 0, 1)) for image in images]) / 255


def test_gradients_are_of_the_same_score(nsfw, gradients, photographs):
    for image, score in zip(photographs, nsfw(photographs), strict=True):
        logs = gradients(tensors([image]))
        assert logs.shape == (1, 2)
        assert logs.exp().sum().item() == pytest.approx(1, abs=1e-5)
        assert logs[0, 1].exp().item() == pytest.approx(score, abs=1e-4)


def test_a_step_along_the_gradient_raises_the_score(nsfw, gradients, cat):
    import torch

    x = tensors([cat]).requires_grad_()
    (slope,) = torch.autograd.grad(gradients(x)[0, 1], x)
    assert slope.shape == x.shape
    assert torch.isfinite(slope).all()
    up, down = ((x.detach() + way * 4 / 255 * slope.sign()).clamp(0, 1) for way in (1, -1))
    steps = [(y[0] * 255).round().byte().permute(1, 2, 0).numpy() for y in (down, x.detach(), up)]
    low, middle, high = nsfw(steps)
    assert low < middle < high


def test_another_network_is_refused(table):
    entry = Entry(name="other", loader="nsfw_score", licence="none", source="somewhere")
    with pytest.raises(ModelUnavailable, match=r"u2netp\.onnx isn't the network open_nsfw"):
        NSFW_SCORE.load(entry, locate(table.entry("segmenter"), table.cache), {})


@pytest.mark.parametrize("profile", ["embedded", "hub"])
def test_what_is_under_the_agpl_is_fetched_only_by_name(profile):
    strict = {alias: entry for alias, (entry, _) in read_table(profile).items() if "AGPL" in entry.licence}
    assert set(strict) == {"nude_parts"}
    assert all(entry.optional for entry in strict.values())
