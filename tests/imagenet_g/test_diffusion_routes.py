"""Three routes on pipelines with random weights; they make noise, so these are tests of the interface."""

from __future__ import annotations

import gc
import logging
import random
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
from diffusers import AutoencoderKL
from pydantic import ValidationError
from tiny_pipelines import models_table, save_checker

from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.generators.imagenet_g.image_to_image import ImageToImage
from variorum.generators.imagenet_g.image_variation import ImageVariation
from variorum.generators.imagenet_g.text_to_image import TextToImage
from variorum.kit.diffusion import route as route_module
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable, batch_search
from variorum.models.batch_search import Tried
from variorum.pipeline import build
from variorum.pixels import decode
from variorum.schemas.annotations import Annotations, LabelState, Object, Text
from variorum.schemas.component import Context
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import GENERATED, PARTLY_GENERATED, Failure, Sample
from variorum.schemas.uses import deciding_models, required_models
from variorum.sources.class_names import ClassNames
from variorum.sources.image_folder import ImageFolder
from variorum.stages.job import Job, open_context
from variorum.stages.plan import plan

LEVELS = 1
"""How far a pixel may move with the batch: floats differ by about 1e-6 there, which sometimes changes a rounding."""
QUICK = {"steps": 2, "size": 64}
NO_CHECK = {"safety": {"checker": None}}


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A table with the tiny pipelines, a checker that flags everything and one that flags about half."""
    place = tmp_path_factory.mktemp("checkers")
    save_checker(place / "strict", -1.5)
    save_checker(place / "half", 1.0)
    table = place / "models.toml"
    table.write_text(models_table(tiny, strict=place / "strict", half=place / "half"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_MODELS", str(table))
        yield place


@pytest.fixture(scope="module")
def ctx(folder, tmp_path_factory):
    source = ClassNames(table="fashion_mnist", per_class=20)
    return Context(7, ModelTable("embedded"), DiskMemo(tmp_path_factory.mktemp("memo")), source)


@pytest.fixture(scope="module")
def photographs(photos, ctx):
    """Six decoded pictures of three classes, and a context with their source."""
    source = ImageFolder(path=photos)
    other = Context(7, ctx.models, ctx.memo, source)
    samples = list(source.read(0, source.size(other), other))
    return [
        Sample(s.id, decode(s.image), s.labels, origin=s.origin, extras={"mask.png": b"-"}) for s in samples[::2]
    ], other


def planned(ctx, n):
    return list(ctx.source.read(0, n, ctx))


def run(route, samples, ctx, **fields):
    return list(route(**{**QUICK, **fields}).generate(samples, ctx))


ROUTES = [TextToImage, ImageToImage, ImageVariation]


@pytest.fixture(params=ROUTES, ids=lambda route: route.component_name())
def route(request, photographs):
    """A route, six samples for it and their context."""
    samples, ctx = photographs
    return request.param, samples, ctx


# ── what all routes have in common ───────────────────────────────────────────────────────────────────────────────────


def test_pictures_do_not_depend_on_batch_or_order(route):
    kind, samples, ctx = route
    samples = samples[:4]
    alone = {child.parent: child for child in run(kind, samples, ctx, batch=1)}
    again = run(kind, samples[:1], ctx, batch=1)
    assert all(np.array_equal(child.image, alone[child.parent].image) for child in again)
    shuffled = random.Random(1).sample(samples, len(samples))
    for children in (run(kind, samples, ctx, batch=3), run(kind, shuffled, ctx, batch=3)):
        assert {child.parent for child in children} == set(alone)
        for child in children:
            first = alone[child.parent]
            assert np.abs(child.image.astype(int) - first.image).max() <= LEVELS
            assert child.ops[0]["requested"] == first.ops[0]["requested"]
            assert child.ops[0]["seed"] == first.ops[0]["seed"]


def test_the_record_says_what_was_planned(route):
    kind, samples, ctx = route
    (child, *_) = run(kind, samples[:1], ctx)
    (op,) = child.ops
    requested = op["requested"]
    wanted = {"route", "class", "k", "source", "guidance", "steps", "size", "seed"}
    if kind is not ImageVariation:
        wanted |= {"template", "group", "prompt", "negative"}
    assert wanted <= set(requested)
    assert requested["route"] == op["name"] == kind.component_name()
    assert (requested["class"], requested["source"], requested["k"]) == (samples[0].labels[0], samples[0].id, 0)
    assert op["seed"] == requested["seed"]
    assert op["achieved"]["size"] == [64, 64]
    assert op["achieved"]["redraws"] == 0
    assert set(op["models"]) == {kind.component_name(), "safety_checker"}
    assert op["gates"]["filtered_nsfw"]["passed"]
    assert op["gates"]["blank"]["passed"]
    assert child.reason == ""
    assert "mask.png" not in child.extras
    assert child.digital_source_type == (PARTLY_GENERATED if kind is ImageToImage else GENERATED)
    assert required_models(kind()) == (kind.component_name(), "safety_checker")
    assert deciding_models(kind()) == ("safety_checker",)


def test_the_prompt_is_a_text_and_no_object_is_left(route):
    kind, samples, ctx = route
    known = Annotations((Object((0, 0, 9, 9)),), (Text("a photograph"),), (LabelState("a"),))
    (child,) = run(kind, [replace(samples[0], annotations=known)], ctx, **NO_CHECK)
    prompt = child.ops[0]["requested"].get("prompt")
    told = (Text(prompt, "prompt"),) if prompt else ()
    assert bool(told) == (kind is not ImageVariation)
    assert child.annotations == Annotations((), (Text("a photograph"), *told), (LabelState("a"),))


def test_more_pictures_a_sample_keep_the_first_ones(route):
    kind, samples, ctx = route
    one = run(kind, samples[:2], ctx, per_sample=1)
    three = run(kind, samples[:2], ctx, per_sample=3)
    assert [child.ops[0]["requested"]["k"] for child in three] == [0, 1, 2, 0, 1, 2]
    assert len({child.id for child in three}) == len({child.ops[0]["seed"] for child in three}) == 6
    assert [child.ops[0]["seed"] for child in one] == [child.ops[0]["seed"] for child in three[::3]]
    assert np.abs(one[0].image.astype(int) - three[0].image).max() <= LEVELS
    assert np.abs(three[0].image.astype(int) - three[1].image).mean() > 2


def test_settings_share_the_noise_and_come_as_variants(route):
    kind, samples, ctx = route
    field, values = ("strength", (0.5, 1.0)) if kind is ImageToImage else ("guidance", (1.0, 5.0))
    children = run(kind, samples[:3], ctx, **{field: values}, batch=2)
    names = [f"{field}_{value:g}" for value in values]
    assert [(child.parent, child.variant) for child in children] == [
        (s.id, name) for s in samples[:3] for name in names
    ]
    assert [child.ops[0]["achieved"]["batch"] for child in children] == [2, 2, 2, 2, 1, 1]
    assert children[0].ops[0]["seed"] == children[1].ops[0]["seed"]
    assert not np.array_equal(children[0].image, children[1].image)
    (alone,) = run(kind, samples[1:2], ctx, **{field: values[1:]})
    assert np.abs(alone.image.astype(int) - children[3].image).max() <= LEVELS


class Small:
    """The real model on a device with memory for `room` pictures."""

    def __init__(self, model, room):
        self.model, self.room, self.asked = model, room, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, first, *rest, **settings):
        from torch import OutOfMemoryError

        self.asked.append(len(first))
        if len(first) > self.room:
            raise OutOfMemoryError("out of memory")
        return self.model(first, *rest, **settings)


class Instead:
    """The models, with another one for one alias."""

    def __init__(self, models, alias, model):
        self.models, self.alias, self.model = models, alias, model

    def get(self, alias):
        return self.model if alias == self.alias else self.models.get(alias)

    def pin(self, alias):
        return self.models.pin(alias)


def test_out_of_memory_halves_the_batch_and_says_so(route, caplog):
    kind, samples, ctx = route
    name = kind.component_name()
    small = Small(ctx.models.get(name), 1)
    with caplog.at_level(logging.WARNING, "variorum.kit.windows"):
        children = run(kind, samples, Context(7, Instead(ctx.models, name, small), ctx.memo, ctx.source), batch=5)
    assert sorted(small.asked, reverse=True) == [5, 5, 2, 1, 1, 1, 1, 1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}: out of memory, going on with one batch at a time",
        f"{name}: out of memory with 5 pictures, going on with 2; set `batch` to that next time",
        f"{name}: out of memory with 2 pictures, going on with 1; set `batch` to that next time",
    ]
    assert [child.parent for child in children] == [sample.id for sample in samples]
    assert {child.ops[0]["achieved"]["batch"] for child in children} == {1}
    enough = run(kind, samples, ctx, batch=1)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(children, enough, strict=True))


def test_on_a_gpu_the_best_batch_is_looked_for_unless_it_is_set(ctx, monkeypatch, tmp_path):
    def sweep(make, **_):
        return [Tried(n, float(n), None) for n in (1, 2) if make(n)]

    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    monkeypatch.setattr(batch_search, "sweep", sweep)
    for module in (batch_search, route_module):
        monkeypatch.setattr(module, "gpu_name", lambda: "a GPU")
    model = Small(ctx.models.get("text_to_image"), 9)
    there = Context(7, Instead(ctx.models, "text_to_image", model), ctx.memo, ctx.source)
    searched = run(TextToImage, planned(ctx, 3), there, **NO_CHECK)
    again = run(TextToImage, planned(ctx, 3), there, **NO_CHECK)
    assert (model.asked[:2], sorted(model.asked[2:])) == ([1, 2], [1, 1, 2, 2])
    assert [one.ops[0]["achieved"]["batch"] for one in searched + again] == [2, 2, 1] * 2
    run(TextToImage, planned(ctx, 3), there, batch=3, **NO_CHECK)
    assert model.asked[6:] == [3]


class OneAtATime(Small):
    """The real model on a device without memory for two calls."""

    def __init__(self, model):
        super().__init__(model, 1)
        self.at_work = threading.Lock()

    def __call__(self, *inputs, **settings):
        from torch import OutOfMemoryError

        if not self.at_work.acquire(blocking=False):
            raise OutOfMemoryError("out of memory")
        try:
            return super().__call__(*inputs, **settings)
        finally:
            self.at_work.release()


def test_a_device_with_room_for_one_picture_does(route):
    kind, samples, ctx = route
    single = OneAtATime(ctx.models.get(kind.component_name()))
    models = Instead(ctx.models, kind.component_name(), single)
    for batch in (1, 2):
        children = run(kind, samples, Context(7, models, ctx.memo, ctx.source), batch=batch)
        assert [child.parent for child in children] == [sample.id for sample in samples]


def test_what_a_call_had_made_is_let_go_before_the_next(route):
    from torch import OutOfMemoryError

    class Hoarding(Small):
        made, alive = weakref.WeakSet(), []

        def __call__(self, first, *rest, **settings):
            class Latents:
                """Stands for tensors on the device, which are freed with the last reference to them."""

            gc.collect()
            self.alive.append(len(self.made))
            latents = Latents()
            self.made.add(latents)
            if len(first) > 1:
                raise OutOfMemoryError("out of memory")
            return self.model(first, *rest, **settings)

    kind, samples, ctx = route
    hoarding = Hoarding(ctx.models.get(kind.component_name()), 1)
    models = Instead(ctx.models, kind.component_name(), hoarding)
    gc.freeze()  # so that a collection looks at what is made from now on alone
    try:
        assert len(run(kind, samples[:4], Context(7, models, ctx.memo, ctx.source), batch=4)) == 4
    finally:
        gc.unfreeze()
    assert hoarding.alive == [0] * 7  # 4, 4 alone, 2, and one by one


def test_a_scorer_that_runs_out_of_memory_gets_fewer_pictures(route):
    kind, samples, ctx = route
    models = Instead(ctx.models, "zero_shot", Small(ctx.models.get("zero_shot"), 2))
    children = run(kind, samples, Context(7, models, ctx.memo, ctx.source), batch=4, scorer="zero_shot")
    assert [child.parent for child in children] == [sample.id for sample in samples]
    assert {child.ops[0]["achieved"]["batch"] for child in children} <= {1, 2}
    assert all("label_p" in child.ops[0]["gates"] for child in children)


def test_prompts_are_counted_beside_prompts_that_are_encoded(ctx):
    model = ctx.models.get("text_to_image")
    tokenizer, done = model.pipeline.tokenizer, threading.Event()

    def encode():
        while not done.is_set():
            tokenizer("a", padding="max_length", max_length=tokenizer.model_max_length, truncation=True)

    thread = threading.Thread(target=encode)
    thread.start()
    try:
        assert all(model.cut(["word " * 200, "word"]) == [True, False] for _ in range(1000))
    finally:
        done.set()
        thread.join()


def test_a_batch_is_denoised_while_the_one_before_is_decoded(ctx, monkeypatch):
    pipeline = ctx.models.get("text_to_image").pipeline
    decode, forward = pipeline.vae.decode, pipeline.unet.forward
    denoising, late = set(), []

    def seen(*inputs, **settings):
        denoising.add(threading.get_ident())
        return forward(*inputs, **settings)

    def patient(*inputs, **settings):
        deadline = time.monotonic() + 30
        while len(denoising) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        late.append(len(denoising) < 2)
        return decode(*inputs, **settings)

    monkeypatch.setattr(pipeline.unet, "forward", seen)
    monkeypatch.setattr(pipeline.vae, "decode", patient)
    assert len(run(TextToImage, planned(ctx, 4), ctx, batch=2, **NO_CHECK)) == 4
    assert late == [False, False]


def test_memory_too_small_for_one_picture_is_an_error(route):
    from torch import OutOfMemoryError

    kind, samples, ctx = route
    models = Instead(ctx.models, kind.component_name(), Small(ctx.models.get(kind.component_name()), 0))
    with pytest.raises(OutOfMemoryError):
        run(kind, samples, Context(7, models, ctx.memo, ctx.source), batch=4)


def test_a_picture_that_comes_out_black_is_never_accepted(route, monkeypatch):
    """As of a decoder that overflows in half precision, in one cell of one picture."""
    kind, samples, ctx = route
    real = AutoencoderKL.decode

    def overflowing(self, latents, **options):
        (pictures,) = real(self, latents, **options)
        pictures[0, 0, 0, 0] = np.inf
        return (pictures,)

    monkeypatch.setattr(AutoencoderKL, "decode", overflowing)
    black, sound = run(kind, samples[:2], ctx, **NO_CHECK)
    assert (black.reason, sound.reason) == ("blank", "")
    assert not black.image.any()


def test_no_checker_no_gate(route):
    kind, samples, ctx = route
    (child,) = run(kind, samples[:1], ctx, **NO_CHECK)
    assert set(child.ops[0]["gates"]) == {"blank"}
    assert deciding_models(kind(**NO_CHECK)) == ()


def test_a_scorer_is_heard_and_decides_nothing(route):
    kind, samples, ctx = route
    children = run(kind, samples, ctx, scorer="zero_shot")
    for child in children:
        gates = child.ops[0]["gates"]
        assert 0 < gates["label_p"]["value"] < 1
        assert gates["label_rank"]["value"] in (1, 2, 3)
        assert ("prompt_cosine" in gates) == (kind is not ImageVariation)
        assert child.reason == ""
    assert "zero_shot" in children[0].ops[0]["models"]
    assert "zero_shot" not in deciding_models(kind(scorer="zero_shot"))


# ── what the safety checker flags ────────────────────────────────────────────────────────────────────────────────────


def test_what_is_flagged_to_the_end_is_counted_and_not_kept(route):
    kind, samples, ctx = route
    failures = run(kind, samples, ctx, safety={"checker": "strict", "redraws": 2})
    assert all(isinstance(item, Failure) for item in failures)
    assert {(item.status, item.reason) for item in failures} == {("ineligible", "filtered_nsfw")}
    assert "with each of 3 seeds" in failures[0].detail
    assert failures[0].gates["filtered_nsfw"]["value"] > 0
    assert [item.parent for item in failures] == [sample.id for sample in samples]
    assert [item.labels for item in failures] == [sample.labels for sample in samples]


def test_what_is_flagged_may_be_kept_in_quarantine_as_it_is(route):
    kind, samples, ctx = route
    plain = run(kind, samples[:2], ctx, **NO_CHECK)
    kept = run(kind, samples[:2], ctx, safety={"checker": "strict", "redraws": 0, "keep": True})
    assert [child.reason for child in kept] == ["filtered_nsfw"] * 2
    assert all(np.array_equal(a.image, b.image) for a, b in zip(kept, plain, strict=True))
    assert all(child.image.std() > 2 for child in kept)  # nothing was painted black


def test_a_flagged_picture_is_drawn_again_with_its_next_seed(ctx, folder):
    samples = planned(ctx, 8)
    plain = run(TextToImage, samples, ctx, **NO_CHECK)
    margins = ctx.models.get("half")([child.image for child in plain])
    middle = 1 + float(np.median(margins))
    save_checker(folder / "middle", middle)
    table = folder / "models.toml"
    if "[middle]" not in table.read_text():
        entry = table.read_text().split("[half]")[1].replace("half", "middle")
        table.write_text(f"{table.read_text()}\n[middle]{entry}")
    models = ModelTable("embedded")
    other = Context(7, models, ctx.memo, ctx.source)
    flagged = models.get("middle")([child.image for child in plain]) > 0
    assert 0 < flagged.sum() < 8
    drawn = run(TextToImage, samples, other, safety={"checker": "middle", "redraws": 4}, batch=5)
    for child, first, bad in zip(drawn, plain, flagged, strict=True):
        if isinstance(child, Failure):
            assert bad
            continue
        (op,) = child.ops
        assert child.id != first.id  # the safety settings are a part of what was asked for
        assert (op["achieved"]["redraws"] > 0) == bad
        assert (op["seed"] != op["requested"]["seed"]) == bad
        assert op["gates"]["filtered_nsfw"]["passed"]
        if not bad:
            assert np.abs(child.image.astype(int) - first.image).max() <= LEVELS
    redrawn = [child for child in drawn if isinstance(child, Sample) and child.ops[0]["achieved"]["redraws"]]
    assert redrawn
    alone = run(TextToImage, samples, other, safety={"checker": "middle", "redraws": 4}, batch=1)
    assert [item.parent for item in alone] == [item.parent for item in drawn]
    assert [item.ops[0]["seed"] for item in alone if isinstance(item, Sample)] == [
        item.ops[0]["seed"] for item in drawn if isinstance(item, Sample)
    ]


# ── prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_class_prompts_are_the_captions_of_what_was_made(ctx):
    samples = planned(ctx, 5)
    children = run(TextToImage, samples, ctx, templates="neutral", **NO_CHECK)
    for child, sample in zip(children, samples, strict=True):
        requested = child.ops[0]["requested"]
        assert sample.extras["txt"].decode() in requested["prompt"]
        assert child.extras == {"txt": requested["prompt"].encode()}
        assert requested["group"] == "neutral"
    assert len({child.ops[0]["requested"]["template"] for child in children}) > 2


def test_a_plan_needs_no_model_and_is_what_gets_drawn(ctx):
    conf = TextToImage(**QUICK, templates="clip80", guidance=(2.0, 5.0))
    samples = planned(ctx, 3)
    bare = Context(ctx.seed, None, ctx.memo, ctx.source)
    table = list(conf.requests(samples, bare))
    children = list(conf.generate(samples, ctx))
    assert [child.id for child in children] == [row["id"] for row in table]
    for child, row in zip(children, table, strict=True):
        assert row == row | child.ops[0]["requested"]
    assert list(conf.requests(planned(ctx, 9), bare))[:6] == table


def test_what_cannot_be_made_is_in_the_plan_under_the_id_of_its_failure(ctx):
    conf = TextToImage(**QUICK, templates="caption", guidance=(2.0, 5.0))
    silent = Sample("b" * 32, b"", extras={"txt": b" "})
    table = list(conf.requests([silent], ctx))
    assert [row["reason"] for row in table] == ["empty_prompt"] * 2
    assert [failure.id for failure in conf.generate([silent], ctx)] == [row["id"] for row in table]


def test_captions_need_no_label(ctx):
    captioned = Sample("a" * 32, b"", extras={"txt": b"a boat on a lake"})
    silent = Sample("b" * 32, b"", extras={"txt": b" "})
    child, failure = run(TextToImage, [captioned, silent], ctx, templates="caption")
    assert child.ops[0]["requested"]["prompt"] == "a boat on a lake"
    assert child.labels == ()
    assert (failure.status, failure.reason) == ("ineligible", "empty_prompt")
    (unlabelled,) = run(TextToImage, [captioned], ctx)
    assert unlabelled.reason == "unlabelled"


def test_a_prompt_that_is_cut_is_on_record(ctx):
    samples = [Sample("a" * 32, b"", extras={"txt": text}) for text in (b"short", b"long " * 40)]
    short, long = run(TextToImage, samples, ctx, templates="caption")
    assert (short.ops[0]["achieved"]["prompt_cut"], long.ops[0]["achieved"]["prompt_cut"]) == (False, True)


def test_a_negative_prompt_has_an_effect(ctx):
    samples = planned(ctx, 1)
    plain, other = (run(TextToImage, samples, ctx, negative=text)[0] for text in ("", "shoes"))
    assert not np.array_equal(plain.image, other.image)
    assert plain.id != other.id


@pytest.mark.parametrize("kind", [ImageToImage, ImageVariation])
def test_there_must_be_a_picture_to_start_from(kind, ctx):
    failures = run(kind, planned(ctx, 2), ctx, per_sample=2)
    assert [failure.reason for failure in failures] == ["no_picture"] * 4
    assert len({failure.id for failure in failures}) == 4


# ── what is refused before any work ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (TextToImage, {"guidance": ()}),
        (TextToImage, {"guidance": (2.0, 2.0)}),
        (TextToImage, {"guidance": (0.5, 2.0)}),  # diffusers would draw it as 1
        (ImageToImage, {"guidance": 0.5}),
        (ImageVariation, {"guidance": (0.0,)}),
        (TextToImage, {"templates": ("",)}),
        (TextToImage, {"templates": "clip81"}),
        (TextToImage, {"negative": "blur", "guidance": (1.0, 7.5)}),
        (TextToImage, {"size": 100}),
        (TextToImage, {"steps": 0}),
        (TextToImage, {"safety": {"redraws": -1}}),
        (ImageToImage, {"strength": (0.0,)}),
        (ImageToImage, {"strength": (0.1,), "steps": 5}),
        (ImageToImage, {"strength": (0.5, 0.5)}),
        (ImageVariation, {"guidance": (3.0, 3.0)}),
    ],
)
def test_settings_without_meaning_are_refused(kind, fields):
    with pytest.raises(ValidationError):
        kind(**fields)


def recipe(**fields):
    return Recipe.parse(
        {
            "dataset": "made",
            "version": "1.0.0",
            "samples_per_shard": 5,
            "limit": 10,
            "source": {"name": "class_names", "table": "fashion_mnist", "per_class": 2, "licence": "none"},
            "generate": [{"name": "text_to_image", **QUICK, **fields}],
        }
    )


@pytest.mark.parametrize("name", ["text_to_image", "image_to_image"])
def test_a_collision_fails_the_plan(name, ctx):
    names = {"shirt": "top", "tshirt_top": "Top"}
    changed = recipe()
    generator = {"text_to_image": TextToImage, "image_to_image": ImageToImage}[name](names=names)
    changed = changed.model_copy(update={"generate": (generator,)})
    with pytest.raises(RecipeError, match=rf"{name}: classes 'tshirt_top' and 'shirt' would have the same prompt"):
        plan(changed, open_context(changed, "embedded"))
    with pytest.raises(RecipeError, match="would have the same prompt"):
        list(generator.generate([], ctx))


def test_the_plan_warns_of_templates_that_leak(ctx, caplog):
    with caplog.at_level(logging.WARNING, "variorum.kit.diffusion.route"):
        TextToImage(templates="neutral").check(ctx)
        assert not caplog.records
        TextToImage(templates="clip80").check(ctx)
    assert "ImageNet-R" in caplog.text


def test_an_unpinned_model_fails_the_plan_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_LOCK", str(tmp_path / "none.toml"))
    table = tmp_path / "mine.toml"
    table.write_text(
        '[image_variation]\nname = "mine"\nloader = "diffusion"\noptions = { task = "image_variation" }\n'
        'hub_repo = { repo = "me/model" }\nlicence = "none"\nsource = "me"\n'
    )
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    changed = recipe().model_copy(update={"generate": (ImageVariation(),)})
    ctx = Context(0, ModelTable("hub"), DiskMemo(tmp_path), changed.source)
    with pytest.raises(ModelUnavailable, match=r"'image_variation' .* is unpinned: pin it with `variorum doctor"):
        plan(changed, ctx)


# ── a whole edition ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edition_of_nothing_but_generated_pictures(tmp_path, folder):
    edition = recipe(guidance=[2.0, 5.0], templates="clip80")
    manifests = []
    for place in ("one", "two"):
        store = Store(str(tmp_path / place))
        ctx = Context(edition.seed, ModelTable("embedded"), DiskMemo(tmp_path / "memo"), edition.source)
        manifests.append(build(Job(edition, store, ctx=ctx)))
    assert manifests[0].shards == manifests[1].shards
    assert manifests[0].counts == {"guidance_2": {"accepted": 10}, "guidance_5": {"accepted": 10}}
    assert manifests[0].members == ["annotations.json", "cls", "json", "png", "txt"]
    assert set(manifests[0].models) == {"text_to_image", "safety_checker"}
    assert len(manifests[0].filters) == 1
    rows = read_table(store, manifests[1].rows).to_pylist()
    assert all(row["gate.filtered_nsfw"] <= 0 for row in rows)
    _, members = next(iter(read_shard(store.path(manifests[1].shards["test"][0]))))
    assert decode(members["png"]).shape == (64, 64, 3)
