from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from variorum.kit.prompts.prompts import (
    Template,
    Wording,
    Words,
    articled,
    check_prompts,
    check_templates,
    class_words,
    clip_templates,
    leak_warning,
    prompt_for,
    template_set,
)
from variorum.machine.memo import DiskMemo
from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.sources.class_names import ClassNames


@pytest.fixture
def ctx(tmp_path):
    return Context(3, None, DiskMemo(tmp_path), ClassNames(table="imagenet"))


def test_the_eighty_templates_and_their_groups():
    templates = clip_templates()
    assert len({item.text for item in templates}) == len({item.id for item in templates}) == 80
    assert Counter(item.group for item in templates) == {"neutral": 36, "degradation": 10, "domain_shift": 34}
    assert all(item.fields == {"name"} for item in templates)
    shifted = {item.text for item in templates if item.group == "domain_shift"}
    assert {
        "a sketch of a {name}.",
        "the origami {name}.",
        "art of the {name}.",
        "a {name} in a video game.",
    } <= shifted
    assert not {"a photo of my {name}.", "itap of a {name}.", "a bad photo of a {name}."} & shifted


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a origami crane", "an origami crane"),
        ("A embroidered owl and a owl", "An embroidered owl and an owl"),
        ("a photo of a umbrella", "a photo of an umbrella"),
        ("a hourglass", "an hourglass"),
        ("a horse", "a horse"),
        ("a unicycle", "a unicycle"),
        ("a European fire salamander", "a European fire salamander"),
        ("a uniform", "a uniform"),
        ("a upright piano", "an upright piano"),
        ("a ukulele", "a ukulele"),
        ("a one-piece suit", "a one-piece suit"),
        ("a X-ray", "an X-ray"),
        ("a x-ray fish", "an x-ray fish"),
        ("a SLR camera", "an SLR camera"),
        ("a F-16", "an F-16"),
        ("a HDMI cable", "an HDMI cable"),
        ("a MP3 player", "an MP3 player"),
        ("a T-shirt", "a T-shirt"),
        ("a U-boat and a UFO", "a U-boat and a UFO"),
        ("a u-turn", "a u-turn"),
        ("a e-reader", "an e-reader"),
        ("a DVD", "a DVD"),
        ("a NASA rocket", "a NASA rocket"),
        ("a STOP sign", "a STOP sign"),
        ("a Siamese cat", "a Siamese cat"),
        ("a Irish setter", "an Irish setter"),
        ("a ewe and a ewer", "a ewe and a ewer"),
        ("a 8-ball", "an 8-ball"),
        ("a 18-wheeler", "an 18-wheeler"),
        ("a 180 turn", "a 180 turn"),
        ("a vitamin A tablet", "a vitamin A tablet"),
        ("a vitamin A injection", "a vitamin A injection"),
        ("Look. A owl!", "Look. An owl!"),
        ("extra cat", "extra cat"),
        ("a ", "a "),
    ],
)
def test_articles_go_by_sound(text, right):
    assert articled(text) == right


def test_sets_of_templates():
    assert [item.text for item in template_set("photo")] == ["a photo of a {name}"]
    assert len(template_set("clip80")) == len(template_set("clip80_verbatim")) == 80
    assert {item.group for item in template_set("neutral")} == {"neutral"}
    words = {"name": "apple"}
    fixed, verbatim = (
        {item.prompt(words) for item in template_set(choice)} for choice in ("clip80", "clip80_verbatim")
    )
    assert {"an origami apple.", "a photo of an apple."} <= fixed
    assert {"a origami apple.", "a photo of a apple."} <= verbatim
    own = template_set(("{name}, {gloss}", "{caption}"))
    assert [(item.id, item.group) for item in own] == [("own0", "own"), ("own1", "own")]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((), "at least one template"),
        (("",), "no field that depends on the picture"),
        (("a photo",), "no field that depends on the picture"),
        (("a photo of {place}",), "no field that depends on the picture"),
        (("a photo of a {class}",), "has class"),
        (("a photo of a {}",), "a template has one or more of"),
        (("a {name",), "is no template"),
    ],
)
def test_templates_that_cannot_work_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        check_templates(choice)


def test_imagenets_names_do_not_collide_under_any_template(ctx):
    words = class_words("text_to_image", {}, ctx)
    assert len(words) == 1000
    assert words["n01440764"].name == "tench"
    assert "freshwater" in words["n01440764"].gloss
    assert words["n01440764"].hypernym == "cyprinid"
    assert all(item.hypernym and item.hypernym.casefold() != item.name.casefold() for item in words.values())
    for choice in ("photo", "clip80", "name_gloss", "name_hypernym", "places", ("{name}: {gloss}",)):
        check_prompts("text_to_image", template_set(choice), words)


@pytest.mark.parametrize(
    ("first", "second", "name"), [("n03773504", "n04008634", "missile"), ("n04355933", "n04356056", "Sunglasses")]
)
def test_the_colliding_names_of_clips_list_are_refused(ctx, first, second, name):
    words = class_words("text_to_image", {first: name, second: name.lower()}, ctx)
    message = rf"(?i)'{first}' and '{second}' would have the same prompt, 'a photo of a {name}'"
    with pytest.raises(RecipeError, match=message):
        check_prompts("text_to_image", template_set("photo"), words)
    check_prompts("text_to_image", template_set(("{name}, {gloss}",)), words)  # the gloss tells them apart
    with pytest.raises(RecipeError, match="would have the same prompt"):  # one of several templates is enough
        check_prompts("text_to_image", template_set(("{name}, {gloss}", "{name}")), words)


def test_a_class_without_a_name_or_gloss_is_named(ctx, tmp_path):
    with pytest.raises(RecipeError, match=r"x: class 'n01440764' has no name"):
        class_words("x", {"n01440764": " "}, ctx)
    with pytest.raises(RecipeError, match=r"x: names: the source has no class 'n0'"):
        class_words("x", {"n0": "frog"}, ctx)
    with pytest.raises(RecipeError, match=r"x: class 'frog' has no gloss, which 'a \{gloss\}' asks for"):
        check_prompts("x", template_set(("a {gloss}",)), {"frog": Words("frog")})


def test_places_are_drawn_by_seed_and_kept_by_number(ctx):
    wording = Wording(template_set("places"), {"n01440764": Words("tench", "", "cyprinid")})
    item = sample(1, labels=("n01440764",))
    prompts = [prompt_for("t", item, number, wording, ctx)[1] for number in range(200)]
    assert prompts == [prompt_for("t", item, number, wording, ctx)[1] for number in range(200)]
    assert all(re.fullmatch(r"tench inside an? [a-z ]+", prompt) for prompt in prompts)
    assert len(set(prompts)) > 50
    both = Wording(template_set(("{name}, {hypernym} inside {place}",)), wording.words)
    assert prompt_for("t", item, 0, both, ctx)[1] == prompts[0].replace("tench", "tench, cyprinid")


def test_templates_that_leak_test_sets_are_told(ctx):
    assert leak_warning("x", template_set("neutral")) == leak_warning("x", template_set("photo")) == ""
    assert "34 of 80 templates" in leak_warning("x", template_set("clip80"))


def sample(number, **fields):
    return Sample(f"{number:032x}", b"", **fields)


def test_each_picture_gets_a_template_by_its_seed(ctx):
    templates, words = template_set("neutral"), {"dog": Words("dog")}

    def drawn(samples, seed=3):
        other = Context(seed, None, ctx.memo, ctx.source)
        return {item.id: prompt_for("t", item, 0, Wording(templates, words), other)[0].id for item in samples}

    samples = [sample(number, labels=("dog",)) for number in range(200)]
    first = drawn(samples)
    assert drawn(random.Random(0).sample(samples, 200)) == first
    assert len(set(first.values())) > 30
    assert drawn(samples, seed=4) != first


def test_samples_without_what_a_template_wants(ctx):
    words = {"dog": Words("dog", "a pet")}

    def found(item, text):
        _, prompt, problem = prompt_for("t", item, 0, Wording((Template("own0", "own", text),), words), ctx)
        return problem or prompt

    dog = sample(1, labels=("dog",), extras={"txt": b" A dog \n on grass "})
    assert found(dog, "{name}, {gloss}") == "dog, a pet"
    assert found(dog, "{name}: {caption}") == "dog: A dog on grass"
    said = Annotations(texts=(Text("Is it wet?", "question"), Text("A wet dog")))
    assert found(sample(1, labels=("dog",), annotations=said), "{caption}") == "A wet dog"
    assert found(sample(2), "a {name}")[0] == "unlabelled"
    assert found(sample(3, extras={"txt": b"  "}), "{caption}")[0] == "empty_prompt"
    assert found(sample(4, labels=("dog",)), "{caption}")[0] == "empty_prompt"
    with pytest.raises(RecipeError, match="doesn't name class 'cat'"):
        found(sample(5, labels=("cat",)), "a {name}")
