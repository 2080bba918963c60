"""COCO-O's domains by diffusion: what the models are asked for, where the objects are, what a detector decides.

The pipelines have random weights and make noise, so these are tests of the interface.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from tiny_pipelines import models_table, save_conditioned

from variorum.annotations import decode_mask, encode_mask
from variorum.generators.coco_o.domain_diffusion import SETTINGS, DomainDiffusion
from variorum.generators.coco_o.prompting.domain_prompts import PROMPTS
from variorum.generators.coco_o.stylization.domains import DOMAINS
from variorum.models import ModelTable
from variorum.models.roles import Detected
from variorum.pixels import decode
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import CAPTURED, GENERATED, PARTLY_GENERATED, Failure, Sample, source_id
from variorum.schemas.uses import deciding_models, required_models
from variorum.stages.requests import makes_requests

ROUTES = list(SETTINGS)
QUICK = {"steps": 2, "size": 64, "domains": ["sketch", "tattoo"], "safety": {"checker": None}}


class Shapes(Source):
    """Names of two classes."""

    def pin(self, ctx):
        return "shapes"

    def size(self, ctx):
        return 0

    def read(self, start, stop, ctx):
        return iter(())

    def classes(self, ctx):
        return ClassInfo("n1", "green_thing"), ClassInfo("n2", "umbrella")


@pytest.fixture(scope="module")
def ctx(tiny, tmp_path_factory):
    """The tiny pipelines under the hub's aliases."""
    place = tmp_path_factory.mktemp("conditioned")
    save_conditioned(place)
    more = "".join(
        f'[{alias}]\nname = "tiny/{alias}"\nloader = "{loader}"\nlocal = {{ path = "{folder}" }}\n'
        f'options = {options}\nuses = {uses}\nlicence = "none"\nsource = "random weights"\n\n'
        for alias, loader, folder, options, uses in [
            ("edge_to_image", "diffusion", tiny / "text_to_image", '{ task = "edge_to_image" }', '["edge_network"]'),
            ("edge_network", "control_network", place / "control", "{}", "[]"),
            ("layout_to_image", "diffusion", place / "layout_to_image", '{ task = "layout_to_image" }', "[]"),
        ]
    )
    table = place / "models.toml"
    table.write_text(models_table(tiny) + more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_MODELS", str(table))
        yield Context(3, ModelTable("embedded"), lambda key, compute: compute(), Shapes())


def picture(height=60, width=100, **fields):
    """A grey photograph with a green object with a mask and a magenta one with a box."""
    pixels = np.full((height, width, 3), 120, np.uint8)
    pixels[10:40, 30:60] = (0, 255, 0)
    pixels[20:50, 70:95] = (255, 0, 255)
    mask = encode_mask(np.pad(np.ones((30, 30), bool), ((10, height - 40), (30, width - 60))))
    objects = Object((30, 10, 30, 30), "n1", 900.0, id="1", mask=mask), Object((70, 20, 25, 30), "n2", id="2")
    known = Annotations(objects, fields.pop("texts", ()))
    identity = source_id("test", f"{height} {width}")
    return Sample(identity, pixels, annotations=known, digital_source_type=CAPTURED, **fields)


def made(samples, ctx, **fields):
    return list(DomainDiffusion(**{**QUICK, **fields}).generate(samples, ctx))


class Watched:
    """A real model that notes what it is asked."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, *given, **settings):
        self.asked.append((given, settings))
        return self.model(*given, **settings)


class Instead:
    """The models, with others for some aliases."""

    def __init__(self, models, **others):
        self.models, self.others = models, others

    def get(self, alias):
        return self.others.get(alias) or self.models.get(alias)

    def pin(self, alias):
        return f"{alias}@test" if alias in self.others else self.models.pin(alias)


def with_models(ctx, **others):
    return Context(ctx.seed, Instead(ctx.models, **others), ctx.memo, ctx.source)


# ── pictures and records ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("route", ROUTES)
def test_an_original_and_a_picture_per_domain(ctx, route):
    children = made([picture(), picture(64, 64)], ctx, route=route)
    assert [child.variant for child in children] == ["original", "sketch", "tattoo"] * 2
    kind = GENERATED if route == "layout_to_image" else PARTLY_GENERATED
    for original, *pictures in (children[:3], children[3:]):
        assert original.digital_source_type == CAPTURED
        assert original.extras["txt"] == b"a green thing and an umbrella"
        for child in pictures:
            (op,) = child.ops
            requested = op["requested"]
            assert child.image.shape == (64, 64, 3)
            assert child.digital_source_type == kind
            assert set(child.extras) == {"txt"}
            assert (requested["route"], requested["domain"], requested["view"]) == (route, child.variant, "scene")
            assert requested["style"] in PROMPTS[child.variant]
            assert requested[SETTINGS[route]] == DomainDiffusion.model_fields[SETTINGS[route]].default[0]
            assert "a green thing and an umbrella" in requested["prompt"]
            assert child.annotations.texts[-1] == Text(requested["prompt"], "prompt")
            assert op["models"] == {route: ctx.models.pin(route)}
            assert op["seed"] == requested["seed"]
            assert op["achieved"]["synthetic"]
            assert {item.check for item in child.annotations.objects} == {"unconfirmed"}
            assert op["achieved"]["unconfirmed"] == len(child.annotations.objects)
            assert not np.array_equal(child.image, original.image)
    assert len({child.id for child in children}) == 6


@pytest.mark.parametrize("route", ROUTES)
def test_pictures_do_not_depend_on_batch_or_order(ctx, route):
    field, values = SETTINGS[route], [0.6, 0.9]
    samples = [picture(60 + 4 * n, 100) for n in range(2)]
    how = {"route": route, field: values, "domains": DOMAINS[:4]}
    first = {(child.parent, child.variant): child for child in made(samples, ctx, batch=1, **how)}
    again = made(samples[::-1], ctx, batch=5, **how)
    assert {(child.parent, child.variant) for child in again} == set(first)
    for child in again:
        alone = first[child.parent, child.variant]
        assert np.abs(child.image.astype(int) - alone.image).max() <= 1
        assert child.annotations == alone.annotations
        assert child.ops[0]["requested"] == alone.ops[0]["requested"]
    used = {child.ops[0]["requested"][field] for child in again if child.variant != "original"}
    assert used == set(values)


def prompts_of(generator, sample, ctx):
    return [request.prompt for request in generator._requests([sample], None, ctx)]


def test_a_plan_has_no_table_of_requests():
    """Prompts name the objects, which sources leave out where they outline their pictures."""
    assert not makes_requests(DomainDiffusion())


def test_captions_say_what_a_picture_shows(ctx):
    told = picture(texts=(Text("A garden party."),))
    for captions, words in ((True, "a garden party"), (False, "a green thing and an umbrella")):
        found = prompts_of(DomainDiffusion(captions=captions), told, ctx)
        assert len(found) == 6
        assert all(words in prompt for prompt in found)
    other = replace(told, extras={"txt": b"An empty street"})
    assert all("an empty street" in prompt for prompt in prompts_of(DomainDiffusion(), other, ctx))
    assert len(set(prompts_of(DomainDiffusion(per_sample=12), told, ctx))) >= 16


# ── where the objects are ────────────────────────────────────────────────────────────────────────────────────────────


def colour(pixels, name):
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    return (green - np.maximum(red, blue) if name == "n1" else np.minimum(red, blue) - green) > 128


def around(seen):
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]


@pytest.mark.parametrize("route", ["image_to_image", "edge_to_image"])
@pytest.mark.parametrize("size", [(60, 100), (120, 96), (64, 64)])
def test_objects_are_where_the_model_was_shown_them(ctx, route, size):
    watched = Watched(ctx.models.get(route))
    sample = picture(*size) if size != (64, 64) else picture(64, 96)
    original, *children = made([sample], with_models(ctx, **{route: watched}), route=route)
    ((images, prompts, negatives, seeds), settings) = watched.asked[0]
    assert np.array_equal(images[0], original.image)
    assert settings[SETTINGS[route]] == DomainDiffusion.model_fields[SETTINGS[route]].default[0]
    assert prompts[0] == children[0].ops[0]["requested"]["prompt"]
    assert negatives == ["", ""]
    assert len(set(seeds)) == 1  # domains of one picture share the noise
    for child in (original, *children):
        assert child.annotations.objects
        for item in child.annotations.objects:
            assert item.box == pytest.approx(around(colour(images[0], item.label)), abs=1.5)
            if item.mask:
                shown = colour(images[0], item.label)
                said = decode_mask(item, 64, 64)
                assert (said & shown).sum() / (said | shown).sum() > 0.85


def test_a_layout_is_the_boxes_of_the_whole_picture(ctx):
    watched = Watched(ctx.models.get("layout_to_image"))
    original, *children = made([picture()], with_models(ctx, layout_to_image=watched), route="layout_to_image")
    (_, _, boxes, phrases, _), settings = watched.asked[0]
    assert boxes[0] == pytest.approx(np.array([[0.3, 1 / 6, 0.6, 2 / 3], [0.7, 1 / 3, 0.95, 5 / 6]]))
    assert phrases[0] == ["green thing", "umbrella"]
    assert settings["grounded"] == 0.3
    assert settings["size"] == 64
    assert original.image.shape == (60, 100, 3)
    assert original.annotations.objects == picture().annotations.objects
    for child in children:
        for item, fractions in zip(child.annotations.objects, boxes[0], strict=True):
            x, y, width, height = item.box
            assert [x, y, x + width, y + height] == pytest.approx(fractions * 64, abs=1e-3)
            assert (item.mask, item.area) == ("", None)


def test_a_layout_has_the_largest_boxes_that_the_model_takes(ctx):
    crowded = [Object((2 * n, 0, 2 + n / 10, 9), "n1", id=str(n)) for n in range(40)]
    others = [Object((0, 0, 90, 50), "n2", crowd=True), Object((0, 0, 90, 50), "")]
    sample = replace(picture(), annotations=Annotations((*others, *crowded)))
    watched = Watched(ctx.models.get("layout_to_image"))
    _, child, _ = made([sample], with_models(ctx, layout_to_image=watched), route="layout_to_image")
    assert len(watched.asked[0][0][2][0]) == watched.most == 30
    assert [item.id for item in child.annotations.objects] == [str(n) for n in range(10, 40)]
    assert child.ops[0]["achieved"]["boxes"] == 30
    assert child.ops[0]["achieved"]["boxes_dropped"] == 12


# ── a detector ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Eyes:
    """Finds what has the colour of a class; sees nothing in pictures in which the green isn't pure."""

    def __init__(self, blind=False, **boxes):
        self.blind, self.boxes, self.asked = blind, boxes, []

    def knows(self, texts):
        return [text in ("green_thing", "umbrella") for text in texts]

    def __call__(self, images, texts):
        self.asked.append(list(texts))
        found = []
        for number, image in enumerate(images):
            boxes = []
            for place, text in enumerate(texts):
                seen = colour(image, "n1" if text == "green_thing" else "n2")
                if number == 0 and seen.any():
                    x, y, w, h = around(seen)
                    boxes.append(([x, y, x + w, y + h], place))
                elif number and not self.blind and text in self.boxes:
                    boxes.append((self.boxes[text], place))
            found.append(Detected(
                np.float32([box for box, _ in boxes]).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32),
                np.int64([place for _, place in boxes]),
            ))  # fmt: skip
        return found


SEEN = {"green_thing": [16, 16, 64, 64]}
"""Where the green object is in the square of 96 pixels."""


def test_a_detector_confirms_and_decides(ctx):
    eyes, how = with_models(ctx, eyes=Eyes(**SEEN)), {"detector": "eyes", "size": 96}
    _, child, _ = made([picture()], eyes, **how)
    assert [(item.label, item.check) for item in child.annotations.objects] == [("n1", "confirmed"), ("n2", "missing")]
    assert child.reason == "boxes_confirmed"
    assert child.ops[0]["gates"]["boxes_confirmed"]["value"] == 0.5
    assert child.ops[0]["models"]["eyes"] == "eyes@test"
    _, kept, _ = made([picture()], eyes, least_confirmed=0.5, **how)
    assert kept.reason == ""
    _, lost, _ = made([picture()], with_models(ctx, eyes=Eyes(blind=True)), least_confirmed=0.5, **how)
    assert {item.check for item in lost.annotations.objects} == {"missing"}
    assert lost.reason == "boxes_confirmed"
    generator = DomainDiffusion(detector="eyes")
    assert "eyes" in deciding_models(generator)
    assert "eyes" in required_models(generator)
    assert deciding_models(DomainDiffusion()) == ("safety_checker",)


def test_a_detector_looks_at_layouts_as_well(ctx):
    eyes = Eyes(green_thing=[19.2, 10.7, 38.4, 42.7], umbrella=[44.8, 21.3, 60.8, 53.3])
    _, child, _ = made([picture()], with_models(ctx, eyes=eyes), detector="eyes", route="layout_to_image")
    assert {item.check for item in child.annotations.objects} == {"confirmed"}
    assert child.reason == ""


# ── what isn't made ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("change", "reason", "originals"), [
    (lambda one: replace(one, image=b"\x89PNG"), "no_picture", 0),
    (lambda one: replace(one, image=one.image[..., 0]), "not_rgb", 0),
    (lambda one: replace(one, image=one.image.astype(np.uint16)), "not_rgb", 0),
    (lambda one: replace(one, image=one.image[:20, :20], annotations=Annotations()), "too_small", 0),
    (lambda one: replace(one, annotations=Annotations()), "no_subject", 1),
    (lambda one: replace(one, annotations=Annotations((Object((5, 5, 9, 9), "n1", mask="!?"),))), "bad_mask", 0),
])  # fmt: skip
def test_what_cannot_be_made_is_a_row_with_the_reason(ctx, change, reason, originals):
    found = made([change(picture()), picture(64, 64)], ctx)
    assert [item.variant for item in found] == ["original", "sketch", "tattoo"] * 2
    failures = [item for item in found[:3] if isinstance(item, Failure)]
    assert {item.reason for item in failures} == {reason}
    assert len(failures) == 3 - originals
    assert all(isinstance(item, Sample) for item in found[3:])


@pytest.mark.parametrize("objects", [
    (), (Object((5, 5, 9, 9), ""),), (Object((5, 5, 9, 9), "n1", crowd=True),),
    (Object((500, 5, 9, 9), "n1"),), (Object((5, 5, 0, 9), "n1"),), (Object((5, float("nan"), 5, 9), "n1"),),
], ids=["none", "no class", "crowd", "outside", "empty", "nan"])  # fmt: skip
def test_a_layout_needs_boxes(ctx, objects):
    sample = replace(picture(), annotations=Annotations(objects), labels=("n1",))
    original, *failures = made([sample], ctx, route="layout_to_image")
    assert original.variant == "original"
    assert {item.reason for item in failures} == {"no_boxes"}


@pytest.mark.parametrize(("fields", "message"), [
    ({"route": "edge_to_image", "strength": [0.5]}, "strength is a field of the route image_to_image"),
    ({"grounded": [0.5]}, "grounded is a field of the route layout_to_image"),
    ({"strength": [1.5]}, "strength is a share"),
    ({"strength": []}, "at least 1 item"),
    ({"strength": [0.01], "steps": 5}, "leaves none of 5 steps"),
    ({"domains": ["sketch", "sketch"]}, "differ"),
    ({"domains": ["graffiti"]}, "'sketch', 'cartoon'"),
    ({"negative": "text", "guidance": 1}, "no effect at a guidance of 1"),
    ({"route": "text"}, "image_to_image"),
])  # fmt: skip
def test_fields_without_effect_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        DomainDiffusion(**fields)


@pytest.mark.parametrize(("route", "field"), SETTINGS.items())
def test_another_setting_is_another_key(route, field):
    generators = [DomainDiffusion(route=route, **{field: values}) for values in ([0.5], [0.7], [0.5, 0.7])]
    assert len({one.fingerprint() for one in generators}) == 3


def test_the_model_is_that_of_the_route_unless_it_is_named():
    assert [DomainDiffusion(route=route).model for route in ROUTES] == ROUTES
    assert required_models(DomainDiffusion(route="edge_to_image", model="mine")) == ("mine", "safety_checker")


def test_a_size_that_the_model_cannot_make_is_one_line(ctx):
    model = Watched(ctx.models.get("image_to_image"))
    model.multiple = 48
    with pytest.raises(RecipeError, match="domain_diffusion: size 64 is no multiple of 48"):
        made([picture()], with_models(ctx, image_to_image=model))


def test_photographs_of_a_source_are_repainted(ctx, photos):
    from variorum.sources.image_folder import ImageFolder

    source = ImageFolder(path=photos)
    other = Context(3, ctx.models, ctx.memo, source)
    samples = [replace(one, image=decode(one.image)) for one in source.read(0, 2, other)]
    children = made(samples, other)
    assert [child.variant for child in children] == ["original", "sketch", "tattoo"] * 2
    assert all(child.labels for child in children)
    assert not any(child.annotations.objects for child in children)
