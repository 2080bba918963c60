"""Pictures of nothing: what is made, that it is the same whatever is made beside it, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from variorum.generators.fooling.cppn import redrawn
from variorum.generators.fooling.elites import mutated
from variorum.generators.fooling.fooling_image import FoolingImage
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.pipeline import Job, build
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure
from variorum.schemas.uses import deciding_models
from variorum.sources.class_names import ClassNames

SOURCE = ClassNames(table="fashion_mnist", per_class=2)


def context(models=None, source=SOURCE):
    kept = {}

    def memo(key, compute):
        return kept[key] if key in kept else kept.setdefault(key, compute())

    ctx = Context(seed=3, models=models or ModelTable("embedded"), memo=memo, source=source)
    return replace(ctx, classes=source.classes(ctx))


def made_by(generator, places, ctx):
    """What is made of the samples at these places of the source."""
    return [
        one
        for place in places
        for one in generator.generate(ctx.source.read(place, place + 1, ctx), replace(ctx, classes=()))
    ]


def claim_of(sample):
    return sample.ops[-1]["gates"]["claim"]["value"]


@pytest.fixture(scope="module")
def short():
    """Both encodings after five generations, of the first repeat."""
    return made_by(FoolingImage(generations=5, population=30), range(10), context())


def test_a_picture_has_no_label_and_says_what_it_claims(short):
    names = ["direct", "control_direct", "cppn", "control_cppn"]
    assert [one.variant for one in short] == names * 10
    assert {one.labels for one in short} == {()}
    assert [one.metadata["claimed"] for one in short[::4]] == [info.id for info in SOURCE.classes(context())]
    assert {one.image.shape for one in short} == {(28, 28, 3)}
    assert all((one.image == one.image[..., :1]).all() for one in short)
    assert len({one.id for one in short}) == len(short)
    direct = short[0].ops[-1]
    assert direct["achieved"]["generations"] == 5
    assert direct["achieved"]["queries"] == 30 * 6
    assert direct["models"] == {"judge": ModelTable("embedded").pin("judge")}
    assert (direct["requested"]["repeat"], short[1].ops[-1]["requested"]["control"]) == (0, True)
    assert deciding_models(FoolingImage()) == ("judge",)


def test_the_claim_is_that_of_the_stored_picture(short):
    judge = ModelTable("embedded").get("judge")
    for one in short:
        stored = decode(encode_png(one.image))
        assert np.array_equal(stored, one.image)
        claimed = judge.classes.index(one.metadata["claimed"])
        assert claim_of(one) == pytest.approx(float(judge([stored])[0][claimed]), abs=1e-6)


def test_evolution_makes_the_classifier_surer_than_a_random_picture(short):
    for variant in ("direct", "cppn"):
        claims, random = (np.array([claim_of(one) for one in short if one.variant == name])
                          for name in (variant, f"control_{variant}"))  # fmt: skip
        assert (claims >= random).all()
        assert np.median(claims) > 10 * np.median(random)


@pytest.mark.parametrize("frame", [28, 64])
def test_a_recorded_genome_redraws_the_picture_exactly_and_at_any_size(frame):
    made = made_by(FoolingImage(encodings=("cppn",), generations=3, population=20, frame=frame), (0, 8), context())
    for one in made[::2]:
        genome = json.loads(json.dumps(one.ops[-1]["achieved"]["genome"]))
        assert np.array_equal(redrawn(genome, frame), one.image)
        large = redrawn(genome, 3 * frame)
        assert np.array_equal(large[1::3, 1::3], one.image)  # every third pixel's middle is that of a stored one
    coloured = any((one.image != one.image[..., :1]).any() for one in made)
    assert coloured == (frame != 28)


def test_a_repeat_is_the_same_in_any_order_and_company(short):
    generator = FoolingImage(generations=5, population=30)
    alone = made_by(generator, (7,), context())
    assert [(one.id, one.image.tobytes()) for one in alone] == [
        (one.id, one.image.tobytes()) for one in short if one.metadata["claimed"] == alone[0].metadata["claimed"]
    ]
    other = made_by(generator, (17,), context())  # the same class in the next repeat
    assert [np.array_equal(a.image, b.image) for a, b in zip(alone, other, strict=True)] == [False] * 4


def test_ascent_follows_the_gradient_until_it_is_enough():
    generator = FoolingImage(encodings=("ascent",), classifier="judge_adversary", generations=60)
    made, random = made_by(generator, (3,), context())
    assert claim_of(made) >= 0.99 > claim_of(random)
    assert made.ops[-1]["achieved"]["steps"] < 60
    assert (made.image == made.image[..., :1]).all()
    noise = np.random.default_rng(random.ops[-1]["seed"]).integers(112, 144, (28, 28, 1), np.uint8, endpoint=True)
    assert np.array_equal(random.image, np.repeat(noise, 3, axis=-1))  # the recorded seed draws it again


def test_classes_that_the_model_does_not_know_and_flat_gradients_are_rows(tmp_path):
    table = tmp_path / "classes.csv"
    table.write_text("id,name\ntrouser,trouser\nzebra,zebra\n")
    ctx = context(source=ClassNames(table=str(table), per_class=1))
    made = made_by(FoolingImage(generations=1, population=20), (0, 1), ctx)
    assert [(one.variant, one.reason) for one in made if isinstance(one, Failure)] == [
        (name, "no_such_class") for name in ("direct", "control_direct", "cppn", "control_cppn")
    ]
    assert len(made) == 8

    import torch

    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 2)).eval()
    with torch.no_grad():
        for weights in flat.parameters():
            weights.zero_()
    flat = from_function(flat, name="flat", classes=("trouser", "zebra"), revision="1", preprocess="none")
    ctx = context(ModelTable("embedded").with_models({"flat": flat}), ctx.source)
    made = made_by(FoolingImage(encodings=("ascent",), classifier="flat"), (0,), ctx)
    assert [(one.status, one.reason) for one in made] == [("failed", "no_gradient")] * 2


def test_a_mutation_stays_inside_and_changes_what_it_should():
    rng = np.random.default_rng(1)
    values = rng.random((4, 1000))
    which = rng.random(values.shape) < 0.3
    moved = mutated(values, which, 0, 1, rng)
    assert ((moved != values) == which).mean() > 0.99
    assert 0 <= moved.min() < moved.max() <= 1
    assert np.abs(moved - values)[which].mean() == pytest.approx(0.06, abs=0.03)  # η 15: small steps


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encodings": []}, "encodings"),
        ({"encodings": ["cppn", "cppn"]}, "must be encodings that differ"),
        ({"frame": 100}, "frame"),
        ({"generations": 0}, "greater than or equal to 1"),
        ({"population": 10}, "greater than or equal to 20"),
        ({"nodes": 31}, "less than or equal to 30"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_when_it_is_read(fields, message):
    with pytest.raises(RecipeError, match=message):
        build_component("generate", {"name": "fooling_image", **fields}, "generate")


def test_other_sources_and_models_are_refused_before_any_work(photos):
    folder = build_component("source", {"name": "image_folder", "path": str(photos)}, "source")
    with pytest.raises(RecipeError, match=r"the source must be class_names, whose per_class .* not image_folder"):
        FoolingImage().check(replace(context(), source=folder))
    with pytest.raises(RecipeError, match=r"fooling_image.classifier: 'encoder' isn't a classifier"):
        FoolingImage(classifier="encoder").check(context())
    answers = from_function(lambda images: np.ones((len(images), 10)) / 10, name="answers", revision="1",
                            classes=tuple(info.id for info in SOURCE.classes(context())))  # fmt: skip
    models = ModelTable("embedded").with_models({"answers": answers})
    FoolingImage(classifier="answers").check(context(models))
    with pytest.raises(RecipeError, match=r"fooling_image.classifier: the model 'answers' gives no gradients"):
        FoolingImage(encodings=("ascent",), classifier="answers").check(context(models))


def test_an_edition_has_the_same_shards_whatever_part_a_repeat_is_cut_into(tmp_path, monkeypatch):
    shards = []
    for part in (10, 3):
        monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / f"cache{part}"))
        recipe = {
            "dataset": "nothing",
            "version": "1.0.0",
            "limit": 6,
            "source": {"name": "class_names", "table": "fashion_mnist", "per_class": 1, "licence": "CC0-1.0"},
            "generate": [{"name": "fooling_image", "encodings": ["cppn"], "generations": 1, "population": 20}],
            "samples_per_part": part,
        }
        shards.append(build(Job(Recipe.parse(recipe), str(tmp_path / f"store{part}"))).shards)
    assert shards[0] == shards[1]
