"""Maps of networks whose evidence is known, what they are worth, and what can't be measured."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data
import torch
from torch import nn

from variorum.arrays import arrow_column
from variorum.evaluation.attribution import curves
from variorum.evaluation.attribution.attribution import Attribution
from variorum.evaluation.attribution.maps import FLOORS, by_gradients, integrated, rise, scored, window_of
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.pipeline import Job, build, evaluate
from variorum.reports.card import _render
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.sources.fashion_mnist import DEBIAN

SIDE, PLACE = 32, (slice(4, 14), slice(16, 26))
QUICK = {"maps": ("gradient",), "steps": 10, "substrate": "black"}


class Square(nn.Module):
    """Its logit for `bright` is the sum of a square of the picture, beyond what half of that light gives."""

    def __init__(self, broken=False):
        super().__init__()
        self.weight, self.broken = nn.Parameter(torch.tensor(20.0)), broken

    def forward(self, x):
        light = x[(..., *PLACE)].mean((1, 2, 3))
        logit = self.weight * (light - 0.3) + (torch.sqrt(0 * light) if self.broken else 0)
        return torch.stack([torch.zeros_like(logit), logit], 1)


def bright(images):
    light = np.stack([image[PLACE].mean() / 255 for image in images])
    share = 1 / (1 + np.exp(-20 * (light - 0.3)))
    return np.stack([1 - share, share], 1)


@pytest.fixture(scope="module")
def ctx():
    options = {"classes": ("dark", "bright"), "revision": "1"}
    brought = {
        "square": from_function(Square().eval(), name="square", preprocess="none", **options),
        "broken": from_function(Square(broken=True).eval(), name="broken", preprocess="none", **options),
        "function": from_function(bright, name="function", **options),
    }
    classes = (ClassInfo("dark", "dark"), ClassInfo("bright", "bright"))
    models = ModelTable("embedded").with_models(brought)
    return Context(seed=5, models=models, memo=lambda key, compute: compute(), classes=classes)


def samples(n=3, **more):
    found = []
    for number in range(n):
        image = np.random.default_rng(number).integers(120, 200, (SIDE, SIDE, 3)).astype(np.uint8)
        found.append(Sample(f"{number:032x}", image, labels=("bright",), variant="original", **more))
    return found


def masked():
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[PLACE] = 255
    return samples(extras={"mask.png": mask})


def measured(ctx, name, given, **fields):
    evaluation = Attribution(classifiers=(name,), **{**QUICK, **fields})
    rows = list(evaluation.measure(given, ctx))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays = {name: np.stack(found) if name == "overlap" else found for name, found in columns.items()}
    return evaluation, Table(pa.table({name: arrow_column(found) for name, found in arrays.items()}), "attribution")


def figures(ctx, name, given, **fields):
    evaluation, table = measured(ctx, name, given, **fields)
    (answers,) = evaluation.rows(table, ctx)
    return evaluation.figures(table, ctx)["classifiers"][name], answers


def test_the_gradient_of_a_square_inserts_it_first_and_points_at_it(ctx):
    given = [*masked(), *(replace(one, id=f"{9 + n:032x}") for n, one in enumerate(masked()))]
    one, answers = figures(ctx, "square", given)
    gradient, random = one["maps"]["gradient"], one["maps"]["random"]
    assert gradient["insertion"]["value"] > random["insertion"]["value"] + 20
    assert gradient["deletion"]["value"] < random["deletion"]["value"] - 20
    assert gradient["points"]["value"] == gradient["localised"]["value"] == 100
    assert one["objects"] == 6
    # half the square's light turns the answer: 100 of 1024 pixels, so nearly all of the area lies above
    assert gradient["insertion_gain"]["value"] > 30
    assert answers.columns == ("gradient",)
    value = float(answers.whole_by(np.ones(len(answers.photographs)))[0])
    assert 100 * value == pytest.approx(gradient["insertion_gain"]["value"], abs=0.01)
    assert answers.floor == pytest.approx(max(one["maps"]["centre"]["insertion_gain"]["value"], 0) / 100, abs=1e-4)


def test_what_answers_only_has_rise_and_the_floors(ctx):
    one, answers = figures(ctx, "function", masked(), maps=("gradient", "grad_cam", "rise"))
    assert list(one["maps"]) == ["rise", *FLOORS]
    assert one["why_not"] == {"gradient": "gives no gradients", "grad_cam": "gives no gradients"}
    assert answers.why_not == "gives no gradients"
    assert one["maps"]["rise"]["insertion"]["value"] > one["maps"]["random"]["insertion"]["value"] + 10


def test_a_network_without_maps_has_no_grad_cam_and_all_else(ctx):
    maps = ("gradient", "input_x_gradient", "integrated_gradients", "grad_cam")
    one, _ = figures(ctx, "square", samples(), maps=maps)
    assert list(one["maps"]) == [*maps[:3], *FLOORS]
    assert one["why_not"] == {"grad_cam": "has no layer near its end that gives a map"}
    assert one["why_no_objects"] == "no picture has a mask.png, or an object, that the classifier sees"
    assert one["maps"]["gradient"]["points"] is None


def test_a_map_that_is_not_a_number_is_counted_and_left_out(ctx):
    one, answers = figures(ctx, "broken", samples())
    assert one["why_not"] == {"gradient": "isn't a number everywhere"}
    assert list(one["maps"]) == list(FLOORS)
    assert answers.why_not == "isn't a number everywhere"


def test_a_picture_whose_label_is_unknown_is_left_out(ctx):
    given = [replace(samples(1)[0], labels=()), *samples(3)[1:]]
    one, _ = figures(ctx, "square", given, target="label")
    assert one["n"] == 2
    assert one["left_out"] == {"the classifier knows no label of it": 1}


def test_an_object_of_the_pictures_class_counts(ctx):
    objects = (Object((16, 4, 10, 10), "bright"), Object((0, 20, 8, 8), "dark"))
    _, table = measured(ctx, "square", samples(annotations=Annotations(objects)))
    mine = table["map"] == "gradient"
    assert table["points"][mine].tolist() == [1, 1, 1]
    assert np.asarray(table["overlap"])[mine].max(axis=1).min() == 1


def test_a_pictures_figures_do_not_depend_on_its_neighbours(ctx):
    _, together = measured(ctx, "square", samples())
    _, alone = measured(ctx, "square", samples()[1:2])
    for name in ("insertion", "deletion"):
        assert together[name][3:6].tolist() == alone[name].tolist()


def test_ties_are_shuffled_by_the_seed():
    seen = np.pad(np.ones((6, 6), bool), 1)
    first, again = (curves.order_of(np.zeros((8, 8)), seen, np.random.default_rng(3)) for _ in range(2))
    assert first.tolist() == again.tolist() != sorted(first.tolist()) == np.flatnonzero(seen).tolist()
    assert curves.area(0.0, [0.25, 0.5, 0.75], 1.0) == 0.5


def test_rise_finds_what_the_answers_depend_on():
    image = np.full((SIDE, SIDE, 3), 200, np.uint8)
    window = window_of(np.ones((SIDE, SIDE), bool))
    found = rise(
        lambda pictures: bright(list(pictures))[:, 1], image, np.zeros_like(image), window, np.random.default_rng(1)
    )
    inside = np.zeros((SIDE, SIDE), bool)
    inside[PLACE] = True
    assert found[inside].mean() > 2 * found[~inside].mean()


def test_integrated_gradients_add_up():
    network = ModelTable("embedded").get("judge_adversary")
    small = cv2.resize(skimage.data.chelsea(), (28, 28), interpolation=cv2.INTER_AREA)
    picture = torch.from_numpy(small.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    start = torch.zeros_like(picture)
    target = int(network.answers([small]).argmax())
    whole = integrated(network, picture, start, target, steps=64).sum()
    with torch.no_grad():
        apart = scored(network, picture, target)[0] - scored(network, start, target)[0]
    assert abs(float(apart)) > 1
    assert float(whole) == pytest.approx(float(apart), rel=0.05)


def test_grad_cam_of_lite_is_its_class_activation_map():
    """Behind the last map Lite has a mean and a linear layer, so the weights of the class are the slopes."""
    models = ModelTable("embedded")
    network = models.get(models.steering("classifier_gate"))
    image = np.ascontiguousarray(skimage.data.chelsea()[:256, :256])
    window = window_of(network.seen(256, 256).numpy())
    maps, why_not, layer = by_gradients(network, image, image, 282, ["grad_cam"], window)
    with torch.no_grad():
        _, last, same = network.mapped(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()) / 255)
        weights = dict(network._network.named_parameters())["network._fc.weight"][282]
        cam = (weights[:, None, None] * last[0]).sum(0).relu()
    large = nn.functional.interpolate(cam[None, None], (224, 224), mode="bilinear")[0, 0].numpy()
    assert layer == same == "network._swish"
    assert not why_not
    assert np.corrcoef(maps["grad_cam"][window].ravel(), large.ravel())[0, 1] > 0.999999
    assert not maps["grad_cam"][:16].any()


def test_one_picture_of_each_photograph_is_drawn(ctx):
    ids = [f"{number:032x}" for number in range(6)]
    columns = {"id": ids, "source": ids, "photograph": [*"aabbcc"], "variant": ["edit", "original"] * 3}
    chosen = Attribution(most=2).chosen(Table(pa.table(columns)), ctx)
    assert sorted(chosen.tolist()) == [0, 0, 0, 0, 1, 1]
    assert not chosen[::2].any()


@pytest.mark.skipif(not DEBIAN.exists(), reason="install Debian's package dataset-fashion-mnist")
def test_a_card_has_the_maps(tmp_path):
    fields = {"classifiers": ["judge"], "maps": ["gradient", "grad_cam"], "steps": 5}
    recipe = {
        **{"dataset": "clothes", "version": "1.0.0", "seed": 1, "limit": 4, "generate": []},
        "source": {"name": "fashion_mnist", "part": "test"},
        "evaluate": [{"name": "attribution", **fields}],
    }
    job = Job(Recipe.parse(recipe), str(tmp_path))
    manifest = build(job)
    figures = evaluate(job, manifest)["attribution"]
    card = _render("_attribution", figures=figures)
    assert "| gradient | 4 |" in card
    assert "Grad-CAM reads" in card
