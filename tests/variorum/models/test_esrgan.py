"""The enlarger: layers are run as the file lists them, other files are refused, and real weights enlarge."""

import json

import cv2
import numpy as np
import pytest
import skimage.data

from variorum.models import ModelTable
from variorum.models.loaders.esrgan import ESRGAN, GRAPH, NUMBERS
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

ENTRY = Entry(name="tiny", loader="esrgan", licence="none", source="random weights")


def layer(kind, name, *inputs, **config):
    return {
        "class_name": kind,
        "name": name,
        "config": config,
        "inbound_nodes": [[[one, 0, 0, {}] for one in inputs]] if inputs else [],
    }


def tiny(folder, last="Conv2D"):
    """Each pixel three times as wide and high, by way of three halves of it that are added up in two ways."""
    conv = {"padding": "same", "activation": "linear", "strides": [1, 1]}
    layers = [
        layer("InputLayer", "LR"),
        layer("Conv2D", "half", "LR", **conv),
        layer("Activation", "relu", "half", activation="relu"),
        layer("Concatenate", "both", "relu", "half"),
        layer("Conv2D", "sum", "both", **{**conv, "padding": "valid"}),
        layer("Add", "twice", "sum", "relu"),
        layer("UpSampling2D", "up", "twice", size=[3, 3], interpolation="nearest"),
        layer(last, "end", "up", **conv),
    ]
    half = np.zeros((3, 3, 3, 3), np.float32)
    half[1, 1] = np.eye(3) / 2
    weights = {
        "end/kernel": np.where(np.arange(9).reshape(3, 3, 1, 1) == 4, 2 / 3 * np.eye(3), 0),
        "end/bias": np.array([0, 0, 5]),
        "half/kernel": half,
        "half/bias": np.zeros(3),
        "sum/kernel": np.concatenate([np.eye(3), np.eye(3)])[None, None],
        "sum/bias": np.zeros(3),
    }
    listed = [{"name": name, "shape": list(one.shape), "dtype": "float32"} for name, one in weights.items()]
    said = {
        "modelTopology": {"model_config": {"config": {"layers": layers}}},
        "weightsManifest": [{"weights": listed}],
    }
    (folder / GRAPH).write_text(json.dumps(said))
    np.concatenate([one.ravel() for one in weights.values()]).astype("<f4").tofile(folder / NUMBERS)


def test_layers_are_run_as_they_are_listed(tmp_path):
    tiny(tmp_path)
    network = ESRGAN.load(ENTRY, tmp_path, {})
    images = [np.random.default_rng(side).integers(0, 256, (side, 5, 3), np.uint8) for side in (4, 7)]
    assert network.factor == 3
    for image, made in zip(images, network(images), strict=True):
        assert made.dtype == np.uint8
        wanted = np.minimum(image.repeat(3, 0).repeat(3, 1).astype(int) + np.array([0, 0, 5]), 255)
        assert np.abs(made - wanted).max() <= 1
    assert network([]) == []


def test_other_files_are_refused_in_one_line(tmp_path):
    tiny(tmp_path, last="Dense")
    with pytest.raises(ModelUnavailable, match="its layer 'end' is an unknown Dense"):
        ESRGAN.load(ENTRY, tmp_path, {})
    tiny(tmp_path)
    with (tmp_path / NUMBERS).open("ab") as file:
        file.write(bytes(8))
    with pytest.raises(ModelUnavailable, match=r"has 191 numbers, model\.json names 189"):
        ESRGAN.load(ENTRY, tmp_path, {})
    (tmp_path / GRAPH).write_text("[]")
    with pytest.raises(ModelUnavailable, match="no network of Keras layers"):
        ESRGAN.load(ENTRY, tmp_path, {})


def test_the_real_weights_enlarge():
    table = ModelTable("embedded")
    try:
        table.fetch("enlarger")
    except ModelUnavailable as error:
        pytest.skip(str(error))
    image = np.ascontiguousarray(skimage.data.coffee()[100:228, 200:328])
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    (made,) = table.get("enlarger")([small])
    blocks = small.repeat(2, 0).repeat(2, 1)
    error, of_blocks = (np.abs(one.astype(float) - image).mean() for one in (made, blocks))
    assert error < 0.95 * of_blocks
    assert np.corrcoef(made.ravel(), image.ravel())[0, 1] > 0.98
