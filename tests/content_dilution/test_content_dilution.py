"""Diluted captions: their words, the pictures that stay as they are, and odd captions and pictures."""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from variorum.edition.editions import tables_of
from variorum.edition.samples import photograph_of
from variorum.edition.tables import read_table
from variorum.generators.content_dilution.asking import answered
from variorum.generators.content_dilution.content_dilution import SOURCES, ContentDilution
from variorum.generators.content_dilution.kin import kin
from variorum.generators.content_dilution.measures import bleu, keyword_recall, share_new
from variorum.generators.content_dilution.sentences import address, frames, joined, thing, usable_frames, written
from variorum.generators.content_dilution.words import contains, keywords, latin, new_labels, words
from variorum.kit.prompts.subjects import listed
from variorum.models.coco import CATEGORIES
from variorum.models.imagenet_classes import table as imagenet
from variorum.pipeline import Job, Threads, build
from variorum.pixels import decode
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import CAPTURED, Failure, Sample, source_id
from variorum.schemas.uses import deciding_models, required_models
from variorum.sources.exports.counted_objects import sentence
from variorum.sources.sample_scenes import SampleScenes
from variorum.stages.lending import let_through

LABELS = tuple(item.name for item in CATEGORIES)
CAPTION = "A red cup of espresso on a saucer with a spoon, on a wooden table."


class Seeing:
    """A classifier that is sure of two classes, and an encoder whose directions are the pictures' mean colours."""

    def pin(self, alias: str) -> str:
        return f"{alias}@pin"

    def get(self, alias: str) -> Any:
        return self.classify if alias == "classifier_gate" else self.embed

    def classify(self, images: list[np.ndarray]) -> np.ndarray:
        found = np.full((len(images), 1000), 1e-4, np.float32)
        for place, name in enumerate(("espresso", "ear (of maize)", "tabby cat", "coffee mug")):
            found[:, next(n for n, one in enumerate(imagenet()) if one.name == name)] = (0.4, 0.2, 0.1, 0.04)[place]
        return found

    def embed(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack([image.mean(axis=(0, 1)) - 128 for image in images]).astype(np.float32)


def context(source: Any = None, models: Any = None) -> Context:
    return Context(8, models or Seeing(), lambda key, compute: compute(), source and let_through(source, ()))


def sample(caption: str = CAPTION, image: np.ndarray | None = None) -> Sample:
    pixels = skimage.data.coffee() if image is None else image
    texts = (Text("what is it?", "question"), Text(caption), Text("another")) if caption else ()
    box = Object((10, 10, 40, 40), "cup")
    return Sample(
        source_id("test", caption),
        pixels,
        ("cup",),
        annotations=Annotations((box,), texts),
        digital_source_type=CAPTURED,
    )


def made(given: Sample, ctx: Context | None = None, **fields: Any) -> dict[str, Sample | Failure]:
    fields = {"sources": ("text_keywords", "image_keywords", "both", "random_url"), **fields}
    return {item.variant: item for item in ContentDilution(**fields).generate([given], ctx or context())}


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_keywords_are_runs_between_stop_words():
    assert keywords(CAPTION, 4) == ["red cup", "espresso", "saucer", "spoon"]
    assert keywords("A dog sits. The dog chases a ball, and the dog sleeps.", 2)[0].startswith("dog")
    assert keywords("See https://t.co/dogs and @cats: 300 houses in Kathmandu", 4) == ["houses", "kathmandu"]
    assert keywords("NASA's rover", 4) == ["NASA's rover"]
    assert keywords("It is what it is.", 4) == []
    assert keywords("e\u0301cole", 4) == ["école"]
    assert keywords("a big old red wooden cup", 1) == ["red wooden cup"]
    assert keywords("lamp, cup, tree, door, sofa, old bird, wet bird", 1) == ["lamp"]  # early counts more than often
    assert keywords("lamp, old bird, wet bird", 1) == ["old bird"]
    assert keywords("", 4) == []


@given(text=st.text(max_size=200), most=st.integers(1, 6))
@settings(max_examples=25)
def test_keywords_are_words_of_the_text(text, most):
    found = keywords(text, most)
    assert len(found) <= most
    for one in found:
        assert set(words(one)) <= set(words(text))
        assert contains(words(one), words(one))


def test_alphabets():
    assert latin(CAPTION)
    assert latin("Żółw è über 12 !")
    assert latin("12 !")
    assert latin("a cat named Кот")
    assert not latin("Два кота на диване")
    assert not latin("赤いカップ cat")


def test_names_of_classes_that_are_new():
    assert new_labels("two cats and a teddy bear", "a bear", LABELS) == ["cat", "teddy bear"]
    assert new_labels("the buses", "a bus", LABELS) == []
    assert new_labels("he cares and carps", "", LABELS) == []
    assert new_labels("Two Glasses of wine", "", LABELS) == []
    for text, label in {
        "two people": "person",
        "three mice": "mouse",
        "many knives": "knife",
        "the cat's ears": "cat",
        "a cat-shaped thing": "cat",
        "t-shirts": "t shirt",
        "one ski": "skis",
        "four mosquitoes": "mosquito",
    }.items():
        assert new_labels(text, "", (*LABELS, "t shirt", "mosquito")) == [label]
        assert new_labels(text, label, LABELS) == []
    assert new_labels("a tench", "", ("tench, Tinca tinca",)) == ["tench, Tinca tinca"]


def test_frames_are_plain_sentences_without_names_of_classes():
    assert len(frames()) == len(set(frames())) == 40
    for frame in frames():
        assert frame.count("{list}") == 1
        assert frame.endswith(".")
        assert len(frame.split()) <= 12
        assert not new_labels(frame.replace("{list}", "."), "", LABELS)
    assert usable_frames(LABELS) == frames()
    assert all("poster" not in frame for frame in usable_frames(("poster",)))


@given(
    keys=st.lists(
        st.sampled_from(["red cup", "espresso", "old wooden table", "spoon", "cat"]), min_size=1, unique=True
    ),
    sentences=st.integers(1, 3),
    most=st.integers(12, 30),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_sentences_keep_to_their_length_and_name_what_they_say(keys, sentences, most, seed):
    text, used = written(keys, sentences, most, frames(), np.random.default_rng(seed))
    assert len(text.split()) <= most
    assert used == keys[: len(used)]
    assert used
    assert keyword_recall(text, used) == 1
    assert keyword_recall(text, keys) >= len(used) / len(keys)
    assert text.count(".") <= min(sentences, len(keys))


def test_measures_of_known_texts():
    assert (share_new("a cat", "a dog"), share_new("a dog", "a dog"), share_new("https://x.org/a", "a")) == (0.5, 0, 1)
    assert bleu("the cat sat on the mat", "the cat sat on the mat") == pytest.approx(1)
    assert bleu("nothing alike here", "the cat") == 0
    # 3 of 4 words, and (2 + 1) of (3 + 1), (1 + 1) of (2 + 1), (0 + 1) of (1 + 1) runs, no penalty
    assert bleu("the cat sat down", "the cat sat") == pytest.approx((3 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert bleu("cat", "the cat sat") == pytest.approx(np.exp(1 - 3))
    assert keyword_recall("a red cup", ["red cup", "spoon"]) == 0.5
    assert keyword_recall("anything", []) is None


def test_texts_are_joined_as_sentences():
    assert joined("A cat", "It sleeps.", append=True) == "A cat. It sleeps."
    assert joined("A cat!", "It sleeps.", append=True) == "A cat! It sleeps."
    assert joined("A cat", "https://www.example.org/x", append=True) == "A cat https://www.example.org/x"
    assert joined("A cat", "It sleeps.", append=False) == "It sleeps. A cat"
    assert joined("A cat\n", "It sleeps.", append=True) == "A cat\nIt sleeps."
    assert joined("一只猫。", "It sleeps.", append=True) == "一只猫。 It sleeps."
    assert answered('"one two three"', 2) == "one two"
    given = ["red cup", "old table", "silver spoon", "brown chair"]
    fitting = written(given, 1, 8, ("A {list}.",), np.random.default_rng(0))
    assert fitting == ("A red cup, old table and silver spoon.", given[:3])
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert address(np.random.default_rng(0)).startswith("https://www.example.org/")


# ── what is made ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_source_of_text_on_one_picture():
    given = sample()
    found = made(given)
    assert list(found) == ["original", "text_keywords", "image_keywords", "both", "random_url"]
    assert found["original"].id == given.id
    assert found["original"].annotations == given.annotations
    assert len({item.id for item in found.values()}) == 5
    for item in list(found.values())[1:]:
        np.testing.assert_array_equal(item.image, given.image)
        assert item.extras["original.txt"].decode() == CAPTION
        assert item.annotations.caption().startswith(CAPTION)
        assert [text.role for text in item.annotations.texts] == ["question", "caption", "caption"]
        assert item.annotations.objects == given.annotations.objects
        assert item.digital_source_type == CAPTURED
        assert item.reason == ""
        assert item.ops[-1]["gates"]["verbatim"]["passed"]
        assert item.ops[-1]["achieved"]["contradiction"] == "unscored"
    keys = {name: item.ops[-1]["achieved"]["keywords"] for name, item in list(found.items())[1:]}
    assert keys == {
        "text_keywords": ["espresso", "saucer", "spoon", "wooden table"],  # a cup is what it shows
        "image_keywords": ["espresso", "ear", "tabby cat"],
        "both": ["espresso", "saucer", "ear", "tabby cat"],
        "random_url": [],
    }
    assert found["random_url"].ops[-1]["achieved"]["words_added"] == 1
    assert found["both"].ops[-1]["achieved"]["keyword_recall"] == 1
    again = made(given)
    assert [item.annotations for item in again.values()] == [item.annotations for item in found.values()]
    first = made(given, position="prepend", sources=("text_keywords",))["text_keywords"]
    assert first.annotations.caption().endswith(f" {CAPTION}")


def test_keywords_that_do_not_fit_lower_the_recall():
    caption = "Old wooden table, large silver spoon, small porcelain saucer, freshly ground espresso, huge brown chair."
    item = made(sample(caption), sources=("text_keywords",), max_words=12, keywords=5)["text_keywords"]
    op = item.ops[-1]
    assert op["achieved"]["words_added"] <= 12
    assert op["achieved"]["keyword_recall"] < 0.5
    assert item.reason == "keyword_recall"


def test_names_of_other_classes_are_not_added():
    source = SampleScenes(stamps="none", captions=True)
    found = made(sample(), context(source))
    assert found["image_keywords"].ops[-1]["achieved"]["keywords"] == ["espresso", "ear"]  # cat is a class of COCO
    for item in found.values():
        assert not item.reason


def test_what_gives_the_class_away_is_not_added():
    tabby = kin((("n02123045", "tabby"),))
    assert {"tabby", "tabby cat", "cat", "feline", "tiger cat"} <= set(tabby)  # itself, what it is, and a sister
    assert not {"dog", "lion", "object"} & set(tabby)
    assert {"jay", "toucan"} < set(kin((("bird", "bird"),)))
    assert kin((("x", "gizmo, gadget_thing"),)) == ("gadget thing", "gizmo")
    seen = Other(4, ("n02123045", "n02123159", "n01530575", "ear"))  # tabby, tiger cat, brambling, ear
    cat = replace(sample("A cat on a sofa."), labels=("n02123045",))
    found = made(cat, context(models=seen))
    assert sorted(found["image_keywords"].ops[-1]["achieved"]["keywords"]) == ["brambling", "ear"]
    assert found["text_keywords"].ops[-1]["achieved"]["keywords"] == ["sofa"]
    only = made(replace(cat, annotations=Annotations(texts=(Text("A cat."),))), context(models=seen))
    assert (only["text_keywords"].status, only["text_keywords"].reason) == ("ineligible", "no_keywords")
    unlabelled = made(replace(sample("A small feline on a sofa."), labels=()), context(models=seen))
    keys = {name: unlabelled[name].ops[-1]["achieved"]["keywords"] for name in ("text_keywords", "image_keywords")}
    assert keys == {"text_keywords": ["small feline", "sofa"], "image_keywords": ["ear", "brambling"]}
    told = made(cat, context(models=Writing("A sofa and a tabby.")), sources=("text_keywords",), writer="vlm")
    assert told["text_keywords"].reason == "class_hints"
    assert told["text_keywords"].ops[-1]["achieved"]["class_hints"] == ["tabby"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cakes", "two cakes"),
        ("green eyes", "green eyes"),
        ("face", "the face"),
        ("orange space suit", "an orange space suit"),
        ("ear", "an ear"),
        ("sunglasses", "a pair of sunglasses"),
        ("toilet tissue", "toilet tissue"),
    ],
)
def test_keywords_stand_in_a_sentence_as_in_the_caption_or_with_an_article(name, said):
    assert thing("The face of a man with green eyes in an orange space suit, and Two cakes.", name) == said


def test_the_nearest_caption_is_of_another_photograph_and_names_no_other_class():
    source = SampleScenes(stamps="none", captions=True)
    ctx = context(source)
    mine, *others = source.read(0, 5, ctx)
    given = replace(mine, image=decode(mine.image), photograph=photograph_of(mine), split="test")
    item = made(given, ctx, sources=("nearest_caption",))["nearest_caption"]
    added = item.annotations.caption().removeprefix(given.annotations.caption()).strip()
    assert added in {other.annotations.caption() for other in others}
    assert not new_labels(added, given.annotations.caption(), LABELS)
    told = item.ops[-1]["achieved"]
    assert -1 <= told["similarity"] <= 1
    assert told["keyword_recall"] is None
    far = made(given, ctx, sources=("nearest_caption",), least_similarity=0.99)["nearest_caption"]
    assert (far.status, far.reason) == ("ineligible", "no_neighbour")
    alone = made(replace(given, split="train"), ctx, sources=("nearest_caption",))["nearest_caption"]
    assert (alone.status, alone.reason) == ("ineligible", "no_neighbour")


class Telling(Source):
    """A source of pictures with these captions, the nearest one first."""

    captions: tuple[str, ...]

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        return (ClassInfo("cup", "cup"),)

    def pin(self, ctx: Context) -> str:
        return ""

    def size(self, ctx: Context) -> int:
        return len(self.captions)

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        pixels = np.full((32, 32, 3), (250, 9, 9 * start), np.uint8)
        text = Annotations(texts=(Text(self.captions[start]),))
        yield Sample(source_id("told", str(start)), pixels, annotations=text, photograph=str(start))


def test_nearest_captions_with_other_letters_are_passed_over():
    ctx = context(Telling(captions=("Чашка на столе", "two cups and a lamp", "a lamp")))
    given = replace(sample("red thing", np.full((32, 32, 3), (250, 9, 0), np.uint8)), split="test")
    item = made(given, ctx, sources=("nearest_caption",))["nearest_caption"]
    assert item.annotations.caption() == "red thing. a lamp"
    assert item.ops[-1]["achieved"]["passed_over"] == 2
    same = context(Telling(captions=("red thing", "a lamp", "a bed")))
    item = made(replace(given, photograph="1"), same, sources=("nearest_caption",))["nearest_caption"]
    assert item.annotations.caption() == "red thing. a bed"
    assert item.ops[-1]["achieved"]["passed_over"] == 0
    assert item.ops[-1]["requested"] == {"source": "nearest_caption", "position": "append", "max_words": 25}
    long = made(given, context(Telling(captions=("lamp " * 30 + "cup",))), sources=("nearest_caption",), max_words=12)
    assert long["nearest_caption"].ops[-1]["achieved"]["words_added"] == 12


class Writing(Seeing):
    """With a writer that answers what it is told to."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get(self, alias: str) -> Any:
        return self.write if alias == "vlm" else super().get(alias)

    def write(self, images: list[np.ndarray], questions: list[str], *, most_tokens: int | None = None) -> list[str]:
        self.asked += questions
        return [self.answer for _ in images]


def test_a_language_model_may_write_the_sentences():
    models = Writing(' "The saucer and spoon\nshine beside the espresso on the wooden table." ')
    given = {"sources": ("text_keywords", "random_url"), "writer": "vlm"}
    found = made(sample(), context(models=models), **given)
    item = found["text_keywords"]
    assert (
        item.annotations.caption() == f"{CAPTION} The saucer and spoon shine beside the espresso on the wooden table."
    )
    assert item.ops[-1]["achieved"]["keyword_recall"] == 1
    assert item.ops[-1]["requested"]["writer"] == "vlm"
    assert item.ops[-1]["models"] == {"vlm": "vlm@pin"}
    assert "espresso, saucer, spoon and wooden table" in models.asked[0]
    assert CAPTION in models.asked[0]
    assert found["random_url"].ops[-1]["models"] == {}
    astray = made(sample(), context(models=Writing("I can't see that.")), **given)["text_keywords"]
    assert astray.reason == "keyword_recall"
    named = Writing("The red cup of espresso, the saucer and the spoon are for two people.")
    wrong = made(sample(), context(SampleScenes(stamps="none", captions=True), named), **given)["text_keywords"]
    assert wrong.reason == "label_words"
    assert wrong.ops[-1]["achieved"]["new_labels"] == ["person"]
    silent = made(sample(), context(models=Writing(" ... ")), **given)["text_keywords"]
    assert (silent.status, silent.reason) == ("failed", "no_answer")
    assert required_models(ContentDilution(**given)) == deciding_models(ContentDilution(**given)) == ("vlm",)


class Other(Seeing):
    """With a classifier whose outputs are others than ImageNet's."""

    def __init__(self, outputs: int, classes: tuple[str, ...] = ()) -> None:
        self.outputs = outputs
        self.classes = classes

    def get(self, alias: str) -> Any:
        return self

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        return np.full((len(images), self.outputs), 1 / self.outputs, np.float32)


def test_names_are_those_of_the_classifier_and_never_guessed():
    given = {"sources": ("image_keywords",), "keywords": 12}
    found = made(sample(), context(models=Other(3, ("n02123045", "zebra (animal)", "old_hat, cap"))), **given)
    assert found["image_keywords"].ops[-1]["achieved"]["keywords"] == ["old hat", "zebra", "tabby cat"]
    wordy = Other(2, (" ".join(["long"] * 9), "short"))
    found = made(sample(), context(models=wordy), **given, max_words=12)
    assert found["image_keywords"].ops[-1]["achieved"]["keywords"] == ["short"]
    with pytest.raises(RecipeError, match="'classifier_gate' isn't a classifier whose classes have names"):
        made(sample(), context(models=Other(2)), **given)
    with pytest.raises(RecipeError, match="the writer 'vlm' isn't a vision-language model"):
        made(sample(), context(models=Other(2)), sources=("text_keywords",), writer="vlm")


@pytest.mark.slow
def test_a_tiny_vision_language_model_with_random_weights_is_refused(tmp_path):
    from hub_layouts.chat import qwen2_vl

    from variorum.models.loaders.vision_language import VISION_LANGUAGE
    from variorum.models.table_entries import Entry

    qwen2_vl(tmp_path, most_pixels=112 * 112, shards=False)
    place = {"path": str(tmp_path)}
    entry = Entry(name="tiny", loader="vision_language", local=place, licence="none", source="random weights")

    class Tiny(Seeing):
        def get(self, alias: str) -> Any:
            return tiny

    tiny = VISION_LANGUAGE.load(entry, tmp_path, {})
    given = sample(image=skimage.data.coffee()[:64, :64])
    found = made(given, context(models=Tiny()), sources=("text_keywords",), writer="vlm", max_words=12)["text_keywords"]
    assert found.reason in ("keyword_recall", "no_answer")  # gibberish has no keywords
    assert (
        made(given, context(models=Tiny()), sources=("text_keywords",), writer="vlm", max_words=12)[
            "text_keywords"
        ].reason
        == found.reason
    )


@pytest.mark.parametrize(
    ("caption", "reasons"),
    [
        ("", dict.fromkeys(("original", "text_keywords", "image_keywords", "both", "random_url"), "no_text")),
        (" \n", dict.fromkeys(("original", "text_keywords", "image_keywords", "both", "random_url"), "no_text")),
        ("Два кота на диване", {"text_keywords": "non_latin", "both": "non_latin"}),
        ("It is what it is.", {"text_keywords": "no_keywords"}),
    ],
)
def test_odd_captions(caption, reasons):
    found = made(sample(caption))
    assert {name: item.reason for name, item in found.items() if item.reason} == reasons


def test_a_source_without_captions_is_refused():
    with pytest.raises(RecipeError, match="has no captions"):
        ContentDilution().check(context(SampleScenes(stamps="none")))
    ContentDilution().check(context(SampleScenes(stamps="none", captions=True)))
    assert required_models(ContentDilution(sources=("random_url",))) == ()
    assert required_models(ContentDilution(sources=("both",), classifier="a", encoder="a")) == ("a",)
    assert set(required_models(ContentDilution())) == {"classifier_gate", "encoder_gate"}
    assert ContentDilution().sources == SOURCES


# ── through the pipeline ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    """An edition of grey, transparent, deep, tiny and one-level pictures, and of odd captions."""
    root = tmp_path_factory.mktemp("dilution")
    photos = root / "photos"
    photos.mkdir()
    crop = skimage.data.coffee()[100:164, 100:180]
    pictures = {
        "plain.png": Image.fromarray(crop),
        "grey.png": Image.fromarray(crop[..., 0]),
        "alpha.png": Image.fromarray(np.dstack([crop, np.full(crop.shape[:2], 90, np.uint8)])),
        "deep.png": Image.fromarray(crop[..., 0].astype(np.uint16) * 257),
        "tiny.png": Image.fromarray(crop[:20, :20]),
        "level.png": Image.fromarray(np.full((40, 40, 3), 7, np.uint8)),
        "cyrillic.png": Image.fromarray(crop[::-1]),
        "silent.png": Image.fromarray(crop[:, ::-1]),
    }
    for name, picture in pictures.items():
        picture.save(photos / name)
    with (photos / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "text"])
        for name in pictures:
            rows.writerow([name, {"cyrillic.png": "Чашка на столе", "silent.png": ""}.get(name, CAPTION)])
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    recipe = Recipe.parse(
        {
            "dataset": "texts",
            "version": "1.0.0",
            "max_failure_rate": 0.5,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "content_dilution", "sources": ["text_keywords", "random_url"]}],
        }
    )
    job = Job(recipe, str(root / "store"))
    return build(job, Threads(1)), job.store, root / "store" / "editions" / "texts" / "1.0.0"


def test_odd_pictures_and_captions_are_rows_with_reasons(edition):
    manifest, store, _ = edition
    rows = read_table(store, tables_of(manifest)).to_pylist()
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row["origin"].rsplit("/")[-1], {})[row["variant"]] = row["reason"]
    everything = ("original", "random_url", "text_keywords")
    for name in ("plain.png", "grey.png", "deep.png", "level.png"):
        assert found[name] == dict.fromkeys(everything, ""), name
    assert found["alpha.png"] == dict.fromkeys(everything, "alpha")
    assert found["tiny.png"] == dict.fromkeys(everything, "too_small")
    assert found["silent.png"] == dict.fromkeys(everything, "no_text")
    assert found["cyrillic.png"] == {"original": "", "random_url": "", "text_keywords": "non_latin"}
    assert len(found["broken.png"]) == 1


def test_samples_have_both_texts_and_the_same_pixels(edition):
    samples: dict[str, dict[str, bytes]] = {}
    for shard in sorted(edition[2].glob("data/*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                samples.setdefault(key, {})[ending] = tar.extractfile(member).read()
    assert len(samples) == 4 * 3 + 2
    by_id = {json.loads(one["json"])["id"]: one for one in samples.values()}
    for one in samples.values():
        record = json.loads(one["json"])
        original = one["original.txt"].decode()
        if record["variant"] == "original":
            assert one["txt"].decode() == original
        else:
            assert one["txt"].decode().startswith(original)
            assert len(one["txt"]) > len(one["original.txt"])
            assert by_id[record["parent"]]["png"] == one["png"]


# ── captions of the packaged photographs ─────────────────────────────────────────────────────────────────────────────


def test_captions_of_packaged_pictures_are_off_unless_asked_for():
    bare, told = SampleScenes(stamps="none"), SampleScenes(stamps="none", captions=True)
    ctx = context()
    assert "captions" not in bare.identity()
    assert bare.fingerprint() != told.fingerprint()
    assert not bare.captioned(ctx)
    assert told.captioned(ctx)
    for one, other in zip(bare.read(0, 5, ctx), told.read(0, 5, ctx), strict=True):
        assert not one.annotations.texts
        assert replace(other, annotations=replace(other.annotations, texts=())) == one
        assert other.annotations.caption().endswith(".")


def test_what_is_in_a_composite_is_counted():
    objects = [Object((0, 0, size, size), label) for label, size in (("bird", 9), ("bear", 90), ("bird", 8))]
    assert sentence(objects) == "A bear and two birds."
    assert (
        sentence(objects, where=["on grass", "in front of a wall"])
        == "A bear and two birds on grass, in front of a wall."
    )
    assert sentence(objects, drawn=True) == "A drawing of a bear and two birds."
    odd = [
        Object((0, 0, 9 - n, 9), label) for n, label in enumerate(("scissors", "apple", "bus", "bus", "knife", "knife"))
    ]
    assert sentence(odd) == "Two buses, a pair of scissors, two knives and an apple."
    assert sentence([]) == "A background without objects."
