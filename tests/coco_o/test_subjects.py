"""What a picture shows, in English; and the prompts of the six domains."""

from __future__ import annotations

from string import Formatter

import pytest

from variorum.generators.coco_o.prompting.domain_prompts import PROMPTS
from variorum.generators.coco_o.stylization.domains import DOMAINS
from variorum.kit.prompts.prompts import articled
from variorum.kit.prompts.subjects import clause, counted, enumeration, listed, plural, subject
from variorum.models.coco import CATEGORIES
from variorum.schemas.annotations import Annotations, Object, Text

PLURALS = """people, bicycles, cars, motorcycles, airplanes, buses, trains, trucks, boats, traffic lights, fire
hydrants, stop signs, parking meters, benches, birds, cats, dogs, horses, sheep, cows, elephants, bears, zebras,
giraffes, backpacks, umbrellas, handbags, ties, suitcases, frisbees, pairs of skis, snowboards, sports balls, kites,
baseball bats, baseball gloves, skateboards, surfboards, tennis rackets, bottles, wine glasses, cups, forks, knives,
spoons, bowls, bananas, apples, sandwiches, oranges, some broccoli, carrots, hot dogs, pizzas, donuts, cakes,
chairs, couches, potted plants, beds, dining tables, toilets, tvs, laptops, mice, remotes, keyboards, cell phones,
microwaves, ovens, toasters, sinks, refrigerators, books, clocks, vases, pairs of scissors, teddy bears, hair
driers, toothbrushes"""


def test_the_plurals_of_cocos_names_are_english():
    expected = " ".join(PLURALS.split()).split(", ")
    assert [counted(category.name, 2).removeprefix("two ") for category in CATEGORIES] == expected


@pytest.mark.parametrize(("name", "number", "words"), [
    ("dog", 1, "a dog"), ("elephant", 1, "an elephant"), ("orange", 1, "an orange"), ("dog", 10, "ten dogs"),
    ("bird", 11, "many birds"), ("skis", 1, "a pair of skis"), ("scissors", 3, "three pairs of scissors"),
    ("broccoli", 1, "some broccoli"), ("unicycle", 1, "a unicycle"), ("fire hydrant", 2, "two fire hydrants"),
])  # fmt: skip
def test_things_are_counted(name, number, words):
    assert counted(name, number) == words
    assert plural("baby") == "babies"
    assert plural("toy") == "toys"


def test_the_kinds_that_cover_most_come_first():
    objects = [
        Object((0, 0, 5, 5), "dog"),
        Object((0, 0, 6, 5), "dog"),
        Object((0, 0, 50, 50), "n01"),
        Object((0, 0, 3, 3), "cell_phone"),
        Object((0, 0, 90, 90), ""),
        Object((0, 0, 9, 9), "person", crowd=True),
        Object((0, 0, 1, 1), "fork"),
    ]
    assert enumeration(objects, {"n01": "umbrella"}) == "an umbrella, many people, two dogs and a cell phone"
    assert enumeration(objects[:2], {}) == "two dogs"
    assert enumeration([], {}) == enumeration(objects[4:5], {}) == ""
    assert [listed(["a", "b", "c"][:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(("caption", "words"), [
    ("A man riding a horse.", "a man riding a horse"),
    ("  Two dogs \n on a   beach. They run. ", "two dogs on a beach"),
    ("London at night", "London at night"),
    ("The U.S. flag on a pole.", "the U.S. flag on a pole"),
    ("", ""),
    (" . ", ""),
])  # fmt: skip
def test_a_caption_becomes_part_of_a_sentence(caption, words):
    assert clause(caption) == words


def test_captions_come_before_objects_and_objects_before_the_class():
    known = Annotations((Object((0, 0, 9, 9), "dog"),), (Text("not asked"),))
    assert subject(known, "A park.", "n1", {"n1": "ostrich"}) == "a park"
    assert subject(known, "", "n1", {"n1": "ostrich"}) == "a dog"
    assert subject(Annotations(), "", "n1", {"n1": "ostrich"}) == "an ostrich"
    assert subject(Annotations(), "", "", {}) == ""


def test_each_domain_has_prompts_about_the_subject():
    assert tuple(PROMPTS) == DOMAINS
    for styles in PROMPTS.values():
        assert len(styles) >= 2
        for text in styles.values():
            assert [name for _, name, _, _ in Formatter().parse(text) if name is not None] == ["subject"]
            assert len(articled(text.format(subject="two dogs, a person and a bench")).split()) < 25
