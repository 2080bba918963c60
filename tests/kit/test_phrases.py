"""Class names in questions, and definitions by WordNet id: of all thousand classes of ImageNet."""

from __future__ import annotations

import pytest

from variorum.kit.labels.phrases import OURS, phrase
from variorum.models.imagenet_classes import table
from variorum.people.server.classes import definitions

NOT_COUNTED = """
    binoculars brass broccoli carbonara cauliflower chain_mail chocolate_sauce consomme corn dough eggnog espresso
    face_powder guacamole hair_spray hay honeycomb ice_cream lotion mashed_potato parallel_bars perfume rapeseed
    red_wine sunglasses sunscreen swimming_trunks thatch toilet_tissue velvet wool"""
BY_SOUND = {"hourglass": "an", "European fire salamander": "a", "European gallinule": "a", "unicycle": "a"}


def test_the_article_is_right_in_questions_about_all_thousand_classes():
    none = []
    for one in table():
        words = phrase(one.name, one.wnid)
        if words == one.name:
            none.append(one.name.replace(" ", "_"))
            continue
        article, _, rest = words.partition(" ")
        assert rest == one.name
        assert article == BY_SOUND.get(one.name, "an" if one.name[0] in "aeiouAEIOU" else "a"), words
    assert sorted(none) == NOT_COUNTED.split()


def test_each_of_the_thousand_classes_has_its_own_name_and_one_definition():
    names = [one.name.casefold() for one in table()]
    assert len(set(names)) == 1000
    found = definitions({one.wnid: one.name for one in table()})
    assert len(found) == 1000
    assert len(set(found.values())) == 1000
    for one in table():  # where WordNet's gloss is of another sense of the word, ours takes its place
        assert (found[one.wnid] == one.gloss) == (one.wnid not in OURS)
    assert "songbird" in found["n01560419"]
    assert set(OURS) < set(found)


def test_a_class_that_is_no_wordnet_id_has_no_definition_whatever_its_name():
    assert definitions({"bulbul": "bulbul", "crane": "crane", "cup": "cup"}) == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shower_curtain", "a shower curtain"),
        ("tench, Tinca tinca", "a tench (Tinca tinca)"),
        ("Ankle boot", "an Ankle boot"),
        ("cats", "cats"),
        ("skis", "skis"),
        ("camera lens", "a camera lens"),
        ("hot dog", "a hot dog"),
        ("happy", "“happy”"),
        ("no defect", "“no defect”"),
        ("3", "“3”"),
    ],
)
def test_names_of_other_classes(name, words):
    assert phrase(name) == words
