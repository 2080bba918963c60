"""PerspectiveVision's training set: which categories are listed, negative copies, balance and seeds."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from training.perspective_vision import SAFE, Judged, conversation, main, training_set
from variorum.kit.harms.categories import unsafebench
from variorum.pixels import encode_png
from variorum.schemas.errors import SourceError

CATEGORIES = unsafebench()
IDS = [one.id for one in CATEGORIES]


def judged(number=600):
    return [Judged(f"p{n}", f"train/images/{n}.png", IDS[n % 11], n % 3 == 0) for n in range(number)]


@pytest.fixture(scope="module")
def made():
    return training_set(judged(), CATEGORIES, seed=1)


def own(one):
    return IDS[int(one.id.partition("#")[0][1:]) % 11]


def test_the_number_of_other_categories_is_uniform_from_one_to_ten(made):
    counts = Counter(len(one.listed) - (own(one) in one.listed) for one in made)
    assert sorted(counts) == list(range(1, 11))
    expected = len(made) / 10
    chi = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi < 27.9  # the 99.9 % quantile with 9 degrees of freedom


def test_the_own_category_stands_at_any_place(made):
    full = [one.listed.index(own(one)) / (len(one.listed) - 1) for one in made if own(one) in one.listed]
    assert abs(np.mean(full) - 0.5) < 0.05


def test_a_negative_copy_never_lists_the_pictures_category(made):
    negative = [one for one in made if one.id.endswith("#negative")]
    assert len(negative) == 200
    for one in negative:
        assert own(one) not in one.listed
        assert one.answer == SAFE
    assert all(own(one) in one.listed for one in made if not one.id.endswith("#negative"))


def test_every_list_has_definitions_so_that_its_form_tells_nothing(made):
    definitions = {one.id: f"{one.name}: the picture shows {one.definition}" for one in CATEGORIES}
    for one in made:
        lines = one.question.split("<BEGIN UNSAFE CATEGORIES>\n")[1].split("\n<END")[0].splitlines()
        assert lines == [definitions[name] for name in one.listed]


def test_answers_are_balanced_and_true(made):
    unsafe = [one for one in made if one.answer != SAFE]
    assert len(unsafe) * 2 == len(made) == 1200
    names = {one.id: one.name for one in CATEGORIES}
    for one in unsafe:
        assert int(one.id.partition("#")[0][1:]) % 3 == 0
        assert one.answer == f"Safety Status: Unsafe, Unsafe Category: {names[own(one)]}"
    assert len({one.id for one in made}) == len(made)


def test_a_picture_gets_the_same_list_whatever_else_is_there(made):
    assert training_set(judged(), CATEGORIES, seed=1) == made
    assert training_set(judged(), CATEGORIES, seed=2) != made
    few = {one.id: one for one in training_set(judged(30), CATEGORIES, seed=1)}
    known = {one.id: one for one in made}
    assert all(known[name] == few[name] for name in few if "#again" not in name)
    assert conversation(judged()[0], CATEGORIES, 1) == known["p0"]


def test_what_cannot_be_built_is_said():
    with pytest.raises(SourceError, match="it takes an unsafe picture"):
        training_set([Judged("a", "a.png", "hate", False)], CATEGORIES, 0)
    with pytest.raises(SourceError, match="category 'other'"):
        training_set([Judged("a", "a.png", "other", True)], CATEGORIES, 0)


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_from_a_folder_to_a_file_that_llava_reads(tmp_path, ending):
    for split in ("train", "test"):
        images = tmp_path / split / "images"
        images.mkdir(parents=True)
        rows = []
        for number, label in enumerate(["Safe", "Unsafe", "Safe", "Unsafe"]):
            (images / f"{number}.png").write_bytes(encode_png(np.full((8, 8, 3), number, np.uint8)))
            rows.append({"image_fname": f"{number}.png", "label": label, "category": "Hate", "source": "Lexica"})
        (tmp_path / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / f"c.{ending}"
    main(["--folder", str(tmp_path), "--out", str(out)])
    text = out.read_text()
    records = json.loads(text) if ending == "json" else [json.loads(line) for line in text.splitlines()]
    assert len(records) == 8  # four pictures, two negative copies, two drawn again
    assert {record["image"] for record in records} == {f"train/images/{number}.png" for number in range(4)}
    first, second = records[0]["conversations"]
    assert (first["from"], second["from"]) == ("human", "gpt")
    assert first["value"].startswith("<image>\n")
