"""What a record shows of a picture: larger versions, masks, neighbours, words, and how well phrases fit."""

import io
import json

import numpy as np
import pytest
from hub_layouts.clip import clip_large
from PIL import Image

from variorum.edition.samples import encode_sample
from variorum.edition.shards import ShardWriter
from variorum.machine.progress import QUIET
from variorum.models.aliases import ModelTable
from variorum.pixels import encode_png
from variorum.reports.page import parts as page_parts
from variorum.reports.page.likeness import NEAREST, nearest
from variorum.reports.page.parts import Parts
from variorum.reports.page.phrases import check_phrases, phrase_columns
from variorum.reports.page.picture_records import Entry, Place, Sizes, chunks
from variorum.reports.page.thumbnails import LARGER, larger_side
from variorum.reports.words import words_for, words_of_checks
from variorum.schemas.errors import ModelUnavailable, VariorumError
from variorum.schemas.outgoing import Outgoing
from variorum.schemas.sample import Sample
from variorum.stages.recipe_files import load_recipe, shipped_recipes


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Three pictures: a large one with a mask, one as large as a thumbnail, one whose mask is damaged."""
    folder, found = tmp_path_factory.mktemp("looks"), []
    mask = np.zeros((400, 600), np.uint8)
    mask[:, :300] = 255
    rng = np.random.default_rng(0)
    with ShardWriter(folder / "s.tar") as writer:
        for key, size, drawn in (("a", (400, 600), encode_png(mask)), ("b", (60, 64), b""), ("c", (400, 600), b"x")):
            pixels = np.kron(
                rng.integers(0, 255, (size[0] // 4, size[1] // 4, 3), np.uint8), np.ones((4, 4, 1), np.uint8)
            )
            sample = Sample(key, pixels, ("x",), origin=f"{key}.png", extras={"mask.png": drawn})
            members, row = encode_sample(sample, {"x": 0})
            found.append(Entry((Place(folder / "s.tar", writer.write(key, members), key, row["sha256"], Outgoing()),)))
    return [*found, Entry((None,), {"id": "d"})]


def sizes_of(chunk, part):
    return [Image.open(io.BytesIO(one)).size if one else None for one in getattr(chunk, part)]


def test_a_picture_has_a_larger_version_and_a_mask_where_they_show_more(entries):
    (chunk,) = chunks(entries, Sizes(64, 512, masks=True), QUIET)
    assert sizes_of(chunk, "pictures") == [(64, 43), (64, 60), (64, 43), None]
    assert sizes_of(chunk, "larger") == [(512, 341), None, (512, 341), None]
    assert sizes_of(chunk, "masks") == [(512, 341), None, None, None]
    drawn = np.asarray(Image.open(io.BytesIO(chunk.masks[0])))
    assert drawn.dtype == bool  # one bit a pixel
    assert drawn[:, :250].all()
    assert not drawn[:, 262:].any()


@pytest.mark.parametrize("sizes", [Sizes(64), Sizes(64, 512, masks=True, blur=True)])
def test_small_pages_and_warned_ones_have_neither(entries, sizes):
    (chunk,) = chunks(entries, sizes, QUIET)
    assert not any(chunk.larger)
    assert not any(chunk.masks)


def test_beyond_the_budget_the_first_ones_are_larger_and_masks_are_as_small_as_thumbnails(entries):
    (chunk,) = chunks([entries[0], entries[2]], Sizes(64, 512, frozenset({1}), masks=True), QUIET)
    assert sizes_of(chunk, "larger") == [None, (512, 341)]
    assert sizes_of(chunk, "masks")[0] == (64, 43)


def test_the_sizes_of_a_page_follow_its_pictures(monkeypatch):
    assert [larger_side(number) for number in (1, 201, 401, 801)] == [1024, 768, 512, 512]
    facts = {"thumbnail": 64}
    assert Parts(facts, {}, [], 800).sizes == Sizes(64, 512, None, masks=True)
    assert Parts(facts, {}, [], 801, first=[5, 3]).sizes.enlarged == {5, 3}
    assert Parts(facts, {}, [], 10, warning="spiders").sizes.larger_of(0) == 0
    assert Parts(facts, {}, [], 10, alone=True).sizes == Sizes(64)
    monkeypatch.setattr(page_parts, "LARGER", ((1, 512),))
    assert Parts(facts, {}, [None] * 3, 3).sizes.enlarged == {0}
    assert LARGER[-1][0] == 800


def test_neighbours_are_the_most_similar_of_other_photographs():
    angles = np.array([0, 0.1, 0.3, 3.0, np.nan, 0.05])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([1, 9, 1, 1, 1, 2])[:, None]
    found = nearest(vectors, np.array([0, 1, 2, 3, 4, 0]))
    assert found.shape == (6, NEAREST)
    assert [[one for one in row if one >= 0] for row in found.tolist()] == [
        [1, 2, 3],
        [5, 0, 2, 3],
        [1, 5, 0, 3],
        [2, 1, 5, 0],
        [],
        [1, 2, 3],
    ]
    assert nearest(np.zeros((0, 4)), np.zeros(0, np.int64)).shape == (0, NEAREST)


def test_every_reason_of_a_shipped_recipe_is_said_in_words():
    rules = [
        rule.reason
        for name in shipped_recipes()
        for step in load_recipe(name).curate
        if step.component_name() == "policy"
        for rule in step.rules
    ]
    assert len(rules) > 20
    assert {*rules} - words_for(rules).keys() == set()
    said = words_for(["copy_rare", "problematic_too_dark", "truncated", "of_ones_own"], ["truncated"])
    assert said["copy_rare"].startswith(words_for(["copy"])["copy"])
    assert said["problematic_too_dark"] == words_for(["problematic"])["problematic"]
    assert "cuts" in said["truncated"]  # the check of this name, where it was made
    assert "cuts" not in words_for(["truncated"])["truncated"]
    assert "of_ones_own" not in said
    assert words_of_checks(["seam", "of_ones_own"]).keys() == {"seam"}


def test_phrases_become_columns_by_a_model_of_pictures_and_texts(entries, tmp_path, monkeypatch):
    clip_large(tmp_path / "clip")
    entry = {"name": "tiny/clip", "loader": "zero_shot", "licence": "none", "source": "random weights"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in entry.items()]
    table = tmp_path / "models.toml"
    table.write_text("\n".join(["[zero_shot]", *lines, f"local = {{ path = {json.dumps(str(tmp_path / 'clip'))} }}"]))
    with pytest.raises(ModelUnavailable, match=r"needs a model of pictures and texts: .*zero_shot"):
        check_phrases(["a cat"], ModelTable("embedded"))
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    models = ModelTable("embedded")
    check_phrases(["a cat", "a dog"], models)
    cat, dog = phrase_columns(["a cat", "a dog"], entries, models, QUIET)
    assert (cat["name"], dog["name"], cat["kind"]) == ("search.a cat", "search.a dog", "number")
    assert cat["values"][3] is None
    assert all(-1 <= value <= 1 for value in cat["values"][:3])
    assert cat["values"] != dog["values"]
    for wrong in ([" "], ["x" * 201], ["a"] * 2):
        with pytest.raises(VariorumError, match="search: "):
            check_phrases(wrong, models)
