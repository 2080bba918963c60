"""Features of other classes: whose they are, which photographs are targets, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import torch

from variorum.evaluation.adversarial.adversarial_transfer import AdversarialTransfer
from variorum.generators.adversarial.feature_distillation import FeatureDistillation, distilled
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.gradients import adversary
from variorum.pipeline import Job, build, evaluate
from variorum.reports.card import _render
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, Failure, Sample, source_id
from variorum.schemas.table import Table

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
BOTH = ("first", "second")
SIDE = 28


class Pictures(Source):
    """Parts of three photographs, in an order; each counts as a photograph of its own, unless all are `copies`."""

    order: tuple[int, ...] = tuple(range(36))
    copies: bool = False

    @property
    def samples(self):
        return parts(self.copies)

    def pin(self, ctx):
        return "1"

    def size(self, ctx):
        return len(self.order)

    def classes(self, ctx):
        return tuple(ClassInfo(name, name) for name in PHOTOGRAPHS)

    def read(self, start, stop, ctx):
        yield from (self.samples[place] for place in self.order[start:stop])


def crops(number, seed):
    """Pictures and classes: parts of three photographs, an equal number of each."""
    import skimage.data

    rng, images = np.random.default_rng(seed), []
    for name in PHOTOGRAPHS:
        whole = getattr(skimage.data, name)()
        for _ in range(number):
            top, left = (int(rng.integers(0, side - 4 * SIDE)) for side in whole.shape[:2])
            images.append(np.ascontiguousarray(whole[top : top + 4 * SIDE : 4, left : left + 4 * SIDE : 4]))
    return images, np.repeat(np.arange(len(PHOTOGRAPHS)), number)


@cache
def parts(copies):
    images, labels = crops(12, 1)
    names = ["one" if copies else f"p{n}" for n in range(len(images))]
    return [
        Sample(source_id("test", str(n)), image, (PHOTOGRAPHS[label],), photograph=name, digital_source_type=CAPTURED)
        for n, (name, image, label) in enumerate(zip(names, images, labels, strict=True))
    ]


def trained(seed, size, stride):
    """A small network that tells parts of the three photographs apart."""
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = nn.Sequential(
            nn.Conv2d(3, 12, size, stride=stride), nn.ReLU(inplace=True), nn.Conv2d(12, 16, 3), nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(144, 3),
        )  # fmt: skip
    images, labels = crops(40, 0)
    x = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2) / 255).float()
    steps = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(50):
        steps.zero_grad()
        nn.functional.cross_entropy(made(x), torch.from_numpy(labels)).backward()
        steps.step()
    return made.eval()


class Dead(torch.nn.Module):
    """A network beside a layer that sees a picture only if its last value is white, and one that never sees it."""

    def __init__(self, inner):
        super().__init__()
        self.layer, self.inner, self.table = torch.nn.Conv2d(3, 1, 1), inner, torch.nn.Linear(1, 1)

    def forward(self, x):
        seen = self.layer(x * (x[:, 2:, -1:, -1:] == 1)).mean((1, 2, 3))[:, None]
        return self.inner(x + 0 * (seen + self.table(torch.ones(1)))[..., None, None])


@pytest.fixture(scope="module")
def ctx():
    """The networks `first` and `second`, and `dead`, of which a layer gives nothing."""
    networks = {"first": trained(1, 5, 2), "second": trained(2, 8, 4)}
    networks["dead"] = Dead(networks["first"]).eval()
    given = {
        name: from_function(made, name=name, classes=PHOTOGRAPHS, revision="1", preprocess="none")
        for name, made in networks.items()
    }
    models = ModelTable("embedded").with_models(given)
    return Context(seed=3, models=models, memo=lambda key, compute: compute(), source=Pictures())


def distil(**fields):
    return FeatureDistillation(**{"adversaries": BOTH, "frame": SIDE, **fields})


def made_by(generator, ctx, samples=None):
    return list(generator.generate(ctx.source.samples if samples is None else samples, ctx))


def good(made, prefix="nrf"):
    return [one for one in made if not isinstance(one, Failure) and one.variant.startswith(prefix)]


@pytest.fixture(scope="module")
def made(ctx):
    return made_by(distil(), ctx)


def test_a_layer_takes_the_picture_for_its_target(ctx, made):
    everything = {one.id: one for one in ctx.source.samples}
    pictures = good(made)
    assert len(pictures) > 50
    for one in pictures:
        op, sample = one.ops[-1], everything[one.parent]
        asked, achieved = op["requested"], op["achieved"]
        other = everything[asked["target_id"]]
        assert other.labels == (asked["target"],) != sample.labels
        assert [lent["id"] for lent in one.made_of()] == [other.id]
        change = np.abs(one.image.astype(int) - sample.image)
        assert achieved["linf"] == change.max() <= 18
        network = adversary("x", ctx.models.get(asked["sources"][0]))
        wanted, before, after = (
            network.features(torch.from_numpy(image.transpose(2, 0, 1)[None] / 255).float(), achieved["layer"]).detach()
            for image in (other.image, sample.image, one.image)
        )
        assert achieved["layer"] in ("0", "2")  # the last gives answers
        assert achieved["distance_before"] == pytest.approx(float((before - wanted).square().sum()), rel=1e-4)
        assert achieved["distance_after"] == pytest.approx(float((after - wanted).square().sum()), rel=1e-4)
        assert op["gates"]["ratio"]["value"] < 1
        said = ctx.models.get(asked["sources"][0])([one.image])[0]
        assert achieved["p_target"][asked["sources"][0]] == pytest.approx(
            said[PHOTOGRAPHS.index(asked["target"])], abs=1e-5
        )
    layers = {name: [one.ops[-1]["achieved"]["layer"] for one in good(made, f"nrf_{name}")] for name in BOTH}
    assert layers["first"] == layers["second"]  # the same depth in both
    assert {*layers["first"]} == {"0", "2"}
    assert len({one.ops[-1]["requested"]["target_id"] for one in pictures}) > 6


def everyone(made, ctx, classifiers=("second",), white_box=BOTH):
    """Figures, by default with both networks named as attacked."""
    step = AdversarialTransfer(classifiers=classifiers, white_box=white_box, bootstrap=100)
    rows = list(step.measure([one for one in made if not isinstance(one, Failure)], ctx))
    facts = {one.id: one.photograph for one in made}
    rows = [{**row, "photograph": facts[row["id"]]} for row in rows]
    return step, rows, step.figures(Table(pa.Table.from_pylist(rows), "adversarial_transfer"), ctx)


def test_a_network_sees_its_own_features_more_than_those_of_another(ctx, made):
    ctx = replace(ctx, classes=ctx.source.classes(ctx))
    step, rows, figures = everyone(made, ctx)
    loss = {
        name: {variant: one["target_loss"]["value"] for variant, one in of.items()}
        for name, of in figures["aims"].items()
    }
    own, crossed = (
        sum(loss[one][f"nrf_{other}"] for one, other in zip(BOTH, names, strict=True)) for names in (BOTH, BOTH[::-1])
    )
    assert own < crossed - 0.2
    assert all(loss[name][f"nrf_{name}"] < loss[name]["control"] - 1 for name in BOTH)
    by_hand = [
        -np.log(max(row["p_target"], 1e-30))
        for row in rows
        if (row["classifier"], row["variant"]) == ("second", "nrf_first")
    ]
    assert loss["second"]["nrf_first"] == pytest.approx(np.mean(by_hand), abs=1e-3)
    (diversity,) = figures["diversity"]
    assert sorted(diversity["between"]) == [*BOTH]
    assert diversity["low"] < diversity["value"] < diversity["high"]
    assert diversity["value"] == pytest.approx(
        (loss["first"]["nrf_second"] + loss["second"]["nrf_first"]) / 2, abs=2e-3
    )
    shown = _render("_adversarial_transfer", figures=figures, models={}, order=[], plots={})
    assert "nrf_first (own)" in shown
    assert f"Diversity of {' and '.join(diversity['between'])}: {diversity['value']:.2f} [" in shown
    assert {*step.plots(figures)["fooled"].series} == {f"{name} (white-box in part)" for name in BOTH}


def test_a_network_is_white_box_only_where_it_was_attacked(ctx, made):
    _, _, figures = everyone(made, replace(ctx, classes=ctx.source.classes(ctx)))
    shown = _render("_adversarial_transfer", figures=figures, models={}, order=[], plots={})
    transfer, apart = (shown.split(mark)[1].split("###")[0] for mark in ("**Transfer**", "**White-box**"))
    transfer = transfer.split("**White-box**")[0]
    apart = apart.split("Accuracy under the worst")[0]
    for own, other in (BOTH, BOTH[::-1]):
        assert f"| {own} | nrf_{own} |" in apart
        assert f"| {own} | nrf_{own} |" not in transfer
        assert f"| {own} | nrf_{other} |" in transfer
        assert f"| {own} | nrf_{other} |" not in apart
        assert f"| {own} | control |" in transfer
        assert f"| {own} | control |" in apart


def test_without_one_of_the_networks_there_is_no_diversity(ctx, made):
    ctx = replace(ctx, classes=ctx.source.classes(ctx))
    _, _, figures = everyone(made, ctx, ("dead",), ("first",))
    assert figures["diversity"] == []
    assert {*figures["aims"]} == {"dead", "first"}
    shown = _render("_adversarial_transfer", figures=figures, models={}, order=[], plots={})
    assert "| dead | nrf_second |" in shown.split("Does a model see")[1]


def test_targets_do_not_depend_on_the_order_of_the_source(ctx):
    backwards = Pictures(order=ctx.source.order[::-1])
    mixed = [*ctx.source.samples[15:12:-1], *ctx.source.samples[:3]]
    there = {one.id: one for one in made_by(distil(targets=2), ctx, ctx.source.samples[:16])}
    again = made_by(distil(targets=2), replace(ctx, source=backwards), mixed)
    assert len(good(again)) > 12
    for one in again:
        assert type(one) is type(there[one.id])
        if not isinstance(one, Failure):
            assert np.array_equal(one.image, there[one.id].image)
            assert one.ops == there[one.id].ops


def test_a_picture_is_never_its_own_target(ctx):
    image = ctx.source.samples[0].image
    network = adversary("first", ctx.models.get("first"))
    with pytest.raises(ValueError, match="a picture can't be its own target"):
        distilled(network, image, image.copy(), "0", epsilon=8, steps=1, step=2, momentum=1)
    alone = replace(ctx, source=Pictures(order=(0, 1)))  # of one class
    copied = replace(ctx, source=Pictures(copies=True))
    for where in (alone, copied):
        found = made_by(distil(), where, where.source.samples[:1])
        assert [(one.variant, one.reason) for one in found if isinstance(one, Failure)] == [
            ("nrf_first", "no_target"),
            ("nrf_second", "no_target"),
        ]


def test_a_grey_picture_stays_grey(ctx):
    one, other = (sample.image for sample in ctx.source.samples[:20:19])
    grey = np.repeat(one[..., :1], 3, axis=2)
    network = adversary("first", ctx.models.get("first"))
    made, before, after = distilled(network, grey, other, "2", epsilon=18, steps=5, step=4, momentum=1)
    assert (made == made[..., :1]).all()
    assert after < before


def test_what_has_not_come_near_is_refused_if_asked(ctx):
    weak = {"epsilon": 1, "step": 1.0, "steps": 1}
    kept, dropped = (
        good(made_by(distil(**weak, keep_failures=keep), ctx, ctx.source.samples[:8])) for keep in (True, False)
    )
    assert not any(one.reason for one in kept)
    assert {one.reason for one in dropped if one.ops[-1]["gates"]["ratio"]["value"] > 0.5} == {"ratio"}
    assert kept[0].id != dropped[0].id


def test_only_photographs_that_all_are_right_about(ctx):
    wrong = replace(ctx.source.samples[0], labels=("coffee",))
    found = made_by(distil(), ctx, [wrong])
    assert {(one.variant, one.reason) for one in found if isinstance(one, Failure)} == {
        ("nrf_first", "source_misclassified"),
        ("nrf_second", "source_misclassified"),
    }
    small = made_by(distil(), ctx, [replace(wrong, image=wrong.image[:20, :20])])
    assert [(one.variant, one.reason) for one in small] == [
        (name, "too_small") for name in ("original", "control", "nrf_first", "nrf_second")
    ]


def test_a_layer_without_a_gradient_at_a_picture_fails(ctx):
    found = made_by(distil(adversaries=("dead",), layers=("layer",)), ctx, ctx.source.samples[:3])
    reasons = {(one.variant, one.status, one.reason) for one in found if isinstance(one, Failure)}
    assert reasons == {("nrf_dead", "failed", "no_gradient")}


def test_a_layer_that_never_sees_the_picture_is_left_out(ctx):
    assert adversary("dead", ctx.models.get("dead")).hidden(SIDE, SIDE) == ("layer", "inner.0", "inner.2")
    with pytest.raises(RecipeError, match="'dead' has no hidden layer table; it has 3"):
        distil(adversaries=("dead",), layers=("table",)).check(ctx)


def test_attacks_on_all_together_stand_beside(ctx):
    beside, (sample, *_) = {"kind": "mi_fgsm", "epsilon": 18, "steps": 3}, ctx.source.samples
    found = made_by(distil(attacks=[beside], target=sample.labels[0]), ctx, [sample])
    assert (found.pop().reason, len(good(found))) == ("target_is_label", 2)  # features aim at no class
    assert distil(attacks=[beside]).fingerprint() != distil().fingerprint()
    found = made_by(distil(attacks=[beside]), ctx, [sample])
    assert [one.variant for one in found] == ["original", "control", "nrf_first", "nrf_second", "mi_fgsm_18"]
    assert found[-1].ops[-1]["requested"]["sources"] == [*BOTH]


def test_layers_that_no_network_has_are_refused_before_any_work(ctx):
    with pytest.raises(
        RecipeError, match=r"feature_distillation.layers: 'first' has no hidden layer 6; it has 2: 0, 2"
    ):
        distil(layers=("6",)).check(ctx)
    distil(layers=("2", "9")).check(ctx)


def test_hidden_layers_are_used_and_give_one_tensor():
    class Attending(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.place = torch.nn.Parameter(torch.zeros(1))  # the module itself has weights
            self.last, self.attention = torch.nn.Linear(4, 3), torch.nn.MultiheadAttention(4, 1, batch_first=True)
            self.first, self.unused = torch.nn.Conv2d(3, 4, 28), torch.nn.Conv2d(3, 4, 3)

        def forward(self, x):
            found = self.first(x).flatten(2).transpose(1, 2) + self.place
            return self.last(self.attention(found, found, found)[0][:, 0])

    model = from_function(Attending().eval(), name="x", classes=PHOTOGRAPHS, revision="1", preprocess="none")
    assert adversary("x", model).hidden(SIDE, SIDE) == ("first",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epsilon": 0.5}, "epsilon: "),
        ({"epsilon": 0}, "greater than or equal to 1"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"target": "random"}, "target is for attacks, and there are none"),
        ({"control": "l2"}, "control is for attacks, and there are none"),
        ({"adversaries": ["tiny", "tiny"]}, "two variants would be called nrf_tiny"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_when_it_is_read(fields, message):
    with pytest.raises(RecipeError) as error:
        build_component("generate", {"name": "feature_distillation", **fields}, "generate")
    assert message in str(error.value)


@pytest.mark.slow
def test_lite0_and_lite1_see_their_own_features(tmp_path):
    """12 photographs out of packages: every loss of a network on its own pictures is below those on the other's."""
    source = {"name": "samples", "masks": False}
    recipe = {"dataset": "d", "version": "1.0.0", "source": source, "generate": [{"name": "feature_distillation"}]}
    step = {"name": "adversarial_transfer", "classifiers": ["classifier"], "bootstrap": 100}
    step["white_box"] = ["classifier_gate", "classifier_small"]
    job = Job(Recipe.parse({**recipe, "limit": 12, "evaluate": [step]}), str(tmp_path / "store"))
    figures = evaluate(job, build(job))["adversarial_transfer"]["aims"]
    loss = {name: {variant: one["target_loss"]["value"] for variant, one in of.items()} for name, of in figures.items()}
    own = {"classifier_gate": "nrf_adversary", "classifier_small": "nrf_adversary_small"}
    for name, variant in own.items():
        assert all(loss[name][variant] < one[variant] for other, one in loss.items() if other != name)
        assert all(loss[name][variant] < value for other, value in loss[name].items() if other != variant)
