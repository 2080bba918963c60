"""Labelers of packages: words read in pictures, parts of bodies, and the score of open_nsfw."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.curation.safety.harms.asking import ask
from variorum.curation.safety.labelers.nudenet import EXPOSED, Nudenet
from variorum.curation.safety.labelers.open_nsfw import OpenNsfw
from variorum.curation.safety.labelers.words import LONGEST, Words
from variorum.kit.harms.categories import unsafebench
from variorum.models import ModelTable
from variorum.models.roles import Line, Parts
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.safety import Shown
from variorum.schemas.sample import Sample

BOX = np.zeros((4, 2), np.float32)


class Given:
    """A table of models that are given."""

    def __init__(self, **models):
        self._models = models

    def get(self, alias):
        return self._models[alias]

    def pin(self, alias):
        return alias

    def why_unavailable(self, alias):
        return "" if alias in self._models else "not here"


def context(models):
    return Context(0, models, lambda _, compute: compute())


def opinions(labeler, *texts):
    """What it says of pictures with these texts in them."""
    lines = [[Line(line, 0.9, BOX) for line in text.splitlines()] for text in texts]
    shown = Shown([np.zeros((1, 1, 3), np.uint8)] * len(texts), None, "", unsafebench())
    return labeler.opinions(shown, context(Given(text_reader=lambda _: lines)))


def test_words_that_are_listed_score_and_the_text_is_kept():
    one, two, weapon = opinions(Words(), "Best casino", "CLICK HERE\nfree money", "pistol")
    assert one.scores == pytest.approx({"spam": 0.5})
    assert two.scores == pytest.approx({"spam": 1 - 0.4 * 0.4})
    assert two.text == "CLICK HERE\nfree money"
    assert weapon.scores == pytest.approx({"violence": 0.3})
    assert {opinion.heard for opinion in (one, two, weapon)} == {"ok"}


def test_no_listed_word_is_evidence_only_where_text_is_what_matters():
    nothing, little, enough = opinions(Words(), "", "24 34", "museum closed today")
    assert nothing == (little._replace(text=""))
    assert nothing.scores == {}
    assert nothing.heard == little.heard == "abstain"
    assert enough.scores == {"spam": 0.0}
    assert enough.heard == "ok"
    assert opinions(Words(textual=()), "museum closed today")[0].heard == "abstain"


def test_a_text_is_cut_and_has_no_control_characters():
    (opinion,) = opinions(Words(), "\x1b[31mred\x00 \u202etext\n" + "long " * 200)
    assert opinion.text.startswith("[31mred text\n")
    assert len(opinion.text) == LONGEST


def test_a_list_of_your_own_takes_the_place_of_the_shipped_one(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("category,words,weight,language\nhate,blorps go home,0.9,en\n")
    labeler = Words(words=file)
    assert labeler.scored() == ("hate",)
    assert opinions(labeler, "BLORPS GO HOME", "casino")[0].scores == pytest.approx({"hate": 0.9})
    assert "hate" not in Words().scored()


def test_the_content_of_a_list_is_its_identity_and_its_path_is_not(tmp_path):
    first, second, other = (tmp_path / f"{name}.csv" for name in ("first", "second", "other"))
    for file, word in ((first, "blorp"), (second, "blorp"), (other, "zarf")):
        file.write_text(f"category,words,weight,language\nhate,{word},0.9,en\n")
    prints = {Words(words=file).fingerprint() for file in (first, second)}
    assert len(prints) == 1
    assert str(tmp_path) not in str(Words(words=first).identity())
    assert len({*prints, Words(words=other).fingerprint(), Words().fingerprint()}) == 3
    with pytest.raises(RecipeError, match=r"labeler words: words: .*gone\.csv can't be read"):
        Words(words=tmp_path / "gone.csv").fingerprint()


def test_words_are_read_in_pictures():
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (420, 120), "white")
    ImageDraw.Draw(picture).text((20, 30), "WIN at our CASINO", font=ImageFont.load_default(36), fill="darkblue")
    pictures = [np.asarray(picture), np.full((64, 64, 3), 90, np.uint8)]
    samples = [Sample(f"{number:032x}", image) for number, image in enumerate(pictures)]
    categories = tuple(one for one in unsafebench() if one.id in ("spam", "hate"))
    (answers,) = ask([Words()], samples, categories, context(ModelTable("embedded")))
    read, empty = answers.opinions
    assert read.scores == pytest.approx({"spam": 0.5})
    assert "CASINO" in read.text
    assert empty.scores == {}
    assert empty.heard == "abstain"


def test_an_exposed_part_scores_and_a_covered_one_is_evidence_only():
    scores = np.array([0.8, 0.7], np.float32)
    found = [
        Parts(np.zeros((2, 4), np.float32), scores, ("FACE_FEMALE", EXPOSED[0])),
        Parts(np.zeros((1, 4), np.float32), scores[:1], ("BELLY_EXPOSED",)),
        Parts(np.zeros((0, 4), np.float32), scores[:0], ()),
    ]
    shown = Shown([np.zeros((1, 1, 3), np.uint8)] * 3, None, "", unsafebench())
    exposed, covered, nothing = Nudenet().opinions(shown, context(Given(nude_parts=lambda _: found)))
    assert exposed.scores == pytest.approx({"sexual": 0.7})
    assert exposed.text == f"face_female 0.80, {EXPOSED[0].lower()} 0.70"
    assert covered.scores == nothing.scores == {"sexual": 0.0}
    assert covered.text == "belly_exposed 0.80"


def test_a_score_of_a_category_that_nobody_asked_about_is_left_out():
    spam = tuple(one for one in unsafebench() if one.id == "spam")
    samples = [Sample("0" * 32, np.full((8, 8, 3), 90, np.uint8))]
    (answers,) = ask([OpenNsfw()], samples, spam, context(Given(nsfw=lambda images: np.float32([0.4] * len(images)))))
    assert answers.opinions[0].scores == {}
    (asked,) = ask([OpenNsfw()], samples, unsafebench(), context(Given(nsfw=lambda images: np.float32([0.4]))))
    assert asked.opinions[0].scores == pytest.approx({"sexual": 0.4})
