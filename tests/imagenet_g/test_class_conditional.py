"""The generator with the packaged model, judged by a classifier that was never trained on generated pictures."""

from __future__ import annotations

import logging
import random
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.generators.imagenet_g.class_conditional import ClassConditional
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.pipeline import build
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import GENERATED, Failure, Sample
from variorum.schemas.uses import required_models
from variorum.sources.class_names import ClassNames
from variorum.stages.job import Job

# NumPy 2 deprecates a call in diffusers' DPM-Solver++
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSES = [
    "tshirt_top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle_boot",
]
LEVELS = 1
"""How far a pixel may move with the batch: floats differ by about 1e-6 there, which sometimes changes a rounding."""


@pytest.fixture(scope="module")
def ctx(tmp_path_factory):
    return Context(7, ModelTable("embedded"), DiskMemo(tmp_path_factory.mktemp("memo")))


def planned(ctx, n, **fields):
    source = ClassNames(table="fashion_mnist", **fields)
    return list(source.read(0, n, ctx))


def made(samples, ctx, **fields):
    return list(ClassConditional(**fields).generate(samples, ctx))


def by_parent(children):
    return {child.parent: child for child in children}


def test_pictures_look_like_the_class_that_was_asked_for(ctx):
    children = made(planned(ctx, 30), ctx, guidance=(2.0,), steps=6)
    judge = ctx.models.get("judge")
    likeliest = judge([child.image for child in children]).argmax(1)
    asked = [judge.classes.index(child.labels[0]) for child in children]
    assert Counter(asked) == dict.fromkeys(range(10), 3)
    assert np.mean(likeliest == asked) >= 0.7
    # a judge that is fooled by everything would say the same of pictures whose labels were shuffled
    assert np.mean(likeliest == random.Random(0).sample(asked, 30)) < 0.4


def test_a_child_tells_how_it_was_made(ctx):
    (sample,) = planned(ctx, 1)
    (child,) = made([sample], ctx, steps=2)
    assert child.image.shape == (28, 28, 3)
    assert child.image.dtype == np.uint8
    assert (child.parent, child.labels, child.variant) == (sample.id, ("tshirt_top",), "guidance_1.5")
    assert child.extras == {"txt": b"T-shirt or top"}
    assert child.digital_source_type == GENERATED
    (op,) = child.ops
    assert op["requested"] == {
        "route": "class_conditional",
        "class": "tshirt_top",
        "k": 0,
        "source": sample.id,
        "guidance": 1.5,
        "steps": 2,
        "sampler": "dpm++",
        "seed": op["seed"],
    }
    assert op["achieved"] == {"size": [28, 28], "batch": 1, "redraws": 0}
    assert op["seed"] == ctx.seed_for("class_conditional", sample.id, "noise/0/0")
    assert op["models"] == {"class_conditional": ctx.models.pin("class_conditional")}
    assert required_models(ClassConditional()) == ("class_conditional",)


def test_the_same_run_gives_the_same_pictures_to_the_bit(ctx):
    samples = planned(ctx, 4)
    first, second = (made(samples, ctx, steps=3) for _ in range(2))
    assert [child.id for child in first] == [child.id for child in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_pictures_do_not_depend_on_batch_or_order(ctx, sampler):
    samples = planned(ctx, 8)
    shuffled = random.Random(1).sample(samples, len(samples))
    settings = {"steps": 4, "sampler": sampler, "guidance": (2.0,)}
    alone = by_parent(made(samples, ctx, batch=1, **settings))
    for other in (made(samples, ctx, batch=4, **settings), made(shuffled, ctx, batch=8, **settings)):
        for child in other:
            moved = np.abs(child.image.astype(int) - alone[child.parent].image)
            assert moved.max() <= LEVELS
            assert child.ops[0]["seed"] == alone[child.parent].ops[0]["seed"]


def test_another_seed_or_another_k_gives_another_picture(ctx):
    samples = planned(ctx, 11, per_class=2)
    other = Context(8, ctx.models, ctx.memo)
    (first, second) = made([samples[0], samples[10]], ctx, steps=2)
    (third,) = made([samples[0]], other, steps=2)
    assert first.labels == second.labels == third.labels
    for a, b in ((first, second), (first, third)):
        assert np.abs(a.image.astype(int) - b.image).mean() > 2


def test_guidance_weights_share_the_noise_and_come_as_variants(ctx):
    samples = planned(ctx, 2)
    children = made(samples, ctx, steps=3, guidance=(1.0, 3.0))
    assert [(child.parent, child.variant) for child in children] == [
        (sample.id, variant) for sample in samples for variant in ("guidance_1", "guidance_3")
    ]
    assert len({child.id for child in children}) == 4
    assert children[0].ops[0]["seed"] == children[1].ops[0]["seed"]
    (alone,) = made(samples[:1], ctx, steps=3, guidance=(3.0,))
    assert np.abs(alone.image.astype(int) - children[1].image).max() <= LEVELS


class Small:
    """The real model on a device with memory for `room` pictures."""

    def __init__(self, model, room):
        self.model, self.room, self.asked = model, room, []
        self.classes, self.size = model.classes, model.size

    def __call__(self, labels, seeds, **settings):
        from torch import OutOfMemoryError

        self.asked.append(len(labels))
        if len(labels) > self.room:
            raise OutOfMemoryError("out of memory")
        return self.model(labels, seeds, **settings)


class Only:
    def __init__(self, model, models):
        self.model, self.models = model, models

    def get(self, alias):
        return self.model

    def pin(self, alias):
        return self.models.pin(alias)


def test_out_of_memory_halves_the_batch_and_says_so(ctx, caplog):
    samples = planned(ctx, 10)
    small = Small(ctx.models.get("class_conditional"), 3)
    with caplog.at_level(logging.WARNING, "variorum.kit.windows"):
        children = made(samples, Context(7, Only(small, ctx.models), ctx.memo), steps=2, batch=8)
    assert sorted(small.asked, reverse=True) == [8, 8, 4, 2, 2, 2, 2, 2]
    assert [child.parent for child in children] == [sample.id for sample in samples]
    assert {child.ops[0]["achieved"]["batch"] for child in children} == {2}
    assert [record.getMessage() for record in caplog.records] == [
        "class_conditional: out of memory, going on with one batch at a time",
        "class_conditional: out of memory with 8 pictures, going on with 4; set `batch` to that next time",
        "class_conditional: out of memory with 4 pictures, going on with 2; set `batch` to that next time",
    ]
    enough = by_parent(made(samples, ctx, steps=2, batch=8))
    assert all(np.abs(c.image.astype(int) - enough[c.parent].image).max() <= LEVELS for c in children)


def test_memory_too_small_for_one_picture_is_an_error(ctx):
    from torch import OutOfMemoryError

    small = Only(Small(ctx.models.get("class_conditional"), 0), ctx.models)
    with pytest.raises(OutOfMemoryError):
        made(planned(ctx, 4), Context(7, small, ctx.memo), steps=1, batch=4)


def test_a_picture_lends_its_label_and_one_without_is_ineligible(ctx):
    grey = np.full((32, 32, 3), 128, np.uint8)
    labelled = Sample("a" * 32, grey, ("bag",), extras={"mask.png": grey[..., 0]})
    bare = Sample("b" * 32, grey)
    child, failure = made([labelled, bare], ctx, steps=1)
    assert child.labels == ("bag",)
    assert child.extras == {}
    assert isinstance(failure, Failure)
    assert (failure.status, failure.reason, failure.parent) == ("ineligible", "unlabelled", bare.id)
    assert [item.reason for item in made([bare], ctx, guidance=(1.0, 2.0))] == ["unlabelled"] * 2


def test_a_class_that_the_model_does_not_know_is_named_with_those_it_does(ctx):
    sample = Sample("c" * 32, b"", ("n01440764",))
    with pytest.raises(RecipeError, match=r"knows no class 'n01440764'; it makes: tshirt_top, trouser, .*ankle_boot"):
        made([sample], ctx)


@pytest.mark.parametrize(
    "fields", [{"guidance": ()}, {"guidance": (2.0, 2.0)}, {"guidance": (0.5,)}, {"steps": 0}, {"sampler": "pndm"}]
)
def test_settings_without_meaning_are_refused(fields):
    with pytest.raises(ValidationError):
        ClassConditional(**fields)


def test_an_edition_of_nothing_but_generated_pictures(tmp_path):
    recipe = Recipe.parse(
        {
            "dataset": "clothes",
            "version": "1.0.0",
            "samples_per_shard": 6,
            "limit": 12,
            "source": {"name": "class_names", "table": "fashion_mnist", "per_class": 4, "licence": "MIT"},
            "generate": [{"name": "class_conditional", "steps": 2}],
        }
    )
    manifests = []
    for folder in ("one", "two"):
        store = Store(str(tmp_path / folder))
        manifests.append(build(Job(recipe, store)))
    assert manifests[0].shards == manifests[1].shards
    assert manifests[0].counts == {"guidance_1.5": {"accepted": 12}}
    assert manifests[0].members == ["cls", "json", "png", "txt"]
    assert [identity for identity, _ in manifests[0].classes] == CLASSES
    rows = read_table(store, manifests[1].rows).to_pylist()
    assert Counter(row["label"] for row in rows) == {0: 2, 1: 2, **dict.fromkeys(range(2, 10), 1)}
    _, members = next(iter(read_shard(store.path(manifests[1].shards["test"][0]))))
    assert members["txt"] == b"T-shirt or top"


def test_pictures_pass_in_their_place_if_they_are_kept(ctx):
    photo = Sample("f" * 32, np.full((30, 20, 3), 9, np.uint8), ("bag",), origin="a.png")
    one, two = planned(ctx, 2)
    found = made([photo, one, photo, two], ctx, steps=2, keep_pictures=True)
    assert found[0] is photo
    assert found[2] is photo
    assert [item.parent for item in found] == ["", one.id, "", two.id]
    assert all(not item.extras for item in found)  # all samples of an edition have the same members
    alone = made([one], ctx, steps=2)
    assert np.array_equal(found[1].image, alone[0].image)
    rows = list(ClassConditional(keep_pictures=True).requests([Sample("f" * 32, b"", ("bag",)), one], ctx))
    assert [row["source"] for row in rows] == [one.id]
    assert len(made([photo, one], ctx, steps=2)) == 2  # by default a picture gives only its label


def test_not_keeping_pictures_is_no_part_of_the_identity():
    assert "keep_pictures" not in ClassConditional().identity()
    assert ClassConditional(keep_pictures=True).fingerprint() != ClassConditional().fingerprint()
