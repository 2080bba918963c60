"""Classifiers of scikit-learn, and networks that take arrays, as models."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image

from variorum.models.brought import from_function
from variorum.schemas.errors import ModelFailed, RecipeError


def rows(pictures, side, mode="RGB"):
    images = [Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR).convert(mode) for one in pictures]
    return np.stack([np.asarray(one) for one in images])


def fitted(data, labels, *steps):
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*steps, GaussianNB(var_smoothing=0.1)).fit(data, labels)


@pytest.mark.parametrize(("mode", "told"), [("RGB", "Stretched to 8 × 8"), ("L", "Grey, stretched to 8 × 8")])
def test_features_say_the_size_of_the_pictures(pictures, mode, told):
    data = rows(pictures, 8, mode).reshape(len(pictures), -1)
    labels = ["cat", "cup", "cat", "cat", "cup", "cat", "cup"]
    classifier = fitted(data, labels)
    model = from_function(classifier, name="mine")
    assert np.array_equal(model(pictures), classifier.predict_proba(data).astype(np.float32))
    assert model.classes == ("cat", "cup")
    assert model.preprocessing.startswith(f"{told} px (bilinear), values 0 to 255 (assumed from its {data.shape[1]} f")
    assert model.preprocessing.endswith("given as rows of numbers, row by row of the picture.")
    method = from_function(classifier.predict_proba, name="mine")
    assert np.array_equal(method(pictures), model(pictures))


def test_a_pipeline_that_begins_with_a_function_gets_whole_pictures(pictures):
    from sklearn.preprocessing import FunctionTransformer

    whole, numbers = rows(pictures, 16), np.arange(len(pictures)) % 2
    classifier = fitted(whole, numbers, FunctionTransformer(lambda data: data.mean(axis=(1, 2))))
    assert classifier.n_features_in_ == 16  # the height, which is also 4 · 4 grey numbers
    model = from_function(classifier, name="mine")
    assert np.array_equal(model(pictures), classifier.predict_proba(whole).astype(np.float32))
    assert model.classes == ()  # the labels are only numbered
    assert model.preprocessing.endswith("given whole, [N, H, W, 3].")


def test_values_and_size_can_be_chosen_for_a_classifier(pictures):
    data = rows(pictures, 8).reshape(len(pictures), -1) / np.float32(255)
    classifier = fitted(data, np.arange(len(pictures)) % 2)
    model = from_function(classifier, name="mine", preprocess="resize=8x8")
    assert model(pictures) == pytest.approx(classifier.predict_proba(data), abs=1e-6)


def test_labels_alone_are_no_scores():
    from sklearn.svm import LinearSVC

    with pytest.raises(RecipeError, match="of type LinearSVC, and its predict gives labels alone"):
        from_function(LinearSVC())


class Network:
    """Takes an array `[N, H, W, 3]` and gives its means by channel, as an object with `__array__`."""

    __module__ = "flax.stand_in"

    def __init__(self):
        self.shapes = []

    def __call__(self, batch):
        assert isinstance(batch, np.ndarray)
        assert batch.dtype == np.float32
        self.shapes.append(batch.shape)
        return Lazy(batch.mean(axis=(1, 2)))


class Lazy:
    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Model(Network):
    __module__ = "keras.stand_in"
    input_shape = (None, 24, 32, 3)

    def get_weights(self):
        return [np.eye(3)]

    def predict_on_batch(self, batch):
        return np.asarray(self(batch))


@pytest.mark.parametrize("bound", [False, True])
def test_a_network_of_jax_gets_one_array(pictures, bound):
    network = Network()
    model = from_function(partial(network) if bound else network, name="mine")
    found = model(pictures)
    assert network.shapes == [(len(pictures), 224, 224, 3)]
    assert found.shape == (len(pictures), 3)
    assert model.preprocessing.endswith("(assumed: the usual for ImageNet, as the model has none of its own).")


def test_a_network_of_keras_gets_the_size_that_it_has_and_values_up_to_255(pictures):
    network = Model()
    logits = rows_of(pictures, (32, 24)).mean(axis=(1, 2))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    model = from_function(network, name="mine")
    assert model(pictures) == pytest.approx(raised / raised.sum(axis=1, keepdims=True), abs=1e-4)
    assert network.shapes == [(len(pictures), 24, 32, 3)]
    assert model.preprocessing.startswith("Stretched to 32 × 24 px (bilinear), values 0 to 255 (assumed: the usual for")


def rows_of(pictures, size):
    images = [Image.fromarray(one).resize(size, Image.Resampling.BILINEAR) for one in pictures]
    return np.stack([np.asarray(one, np.float32) for one in images])


def test_a_function_with_preprocess_gets_one_array(pictures):
    shapes = []

    def mine(batch):
        shapes.append((batch.shape, float(batch.max())))
        return batch.mean(axis=(1, 2))

    model = from_function(mine, preprocess="resize=8x8")
    assert model(pictures).shape == (len(pictures), 3)
    assert shapes[0][0] == (len(pictures), 8, 8, 3)
    assert shapes[0][1] <= 1
    with pytest.raises(RecipeError, match=r"different sizes, such as .* resize=32x32, or resize=232 crop=224"):
        from_function(mine, preprocess="none")(pictures)
    with pytest.raises(ModelFailed, match="say with preprocess= how the pictures become the one array"):
        from_function(mine)(pictures)
    with pytest.raises(RecipeError, match="preprocess is of type int; give words such as 'resize=232"):
        from_function(mine, preprocess=7)
