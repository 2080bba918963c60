"""A sample as members and back, with everything that is known of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.edition.samples import encode_sample, picture_pixels, read_sample
from variorum.edition.shards import ANNOTATIONS
from variorum.schemas.annotations import STATES, Annotations, LabelState, Object, Text
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.sample import Sample

INDEX = {"cat": 0, "dog": 1}
PIXELS = np.zeros((8, 10, 3), np.uint8)

numbers = st.floats(0, 1e6, width=32)
names = st.sampled_from(["cat", "dog", "", "unheard of"])
texts = st.text(max_size=20)
objects = st.builds(
    Object,
    box=st.tuples(numbers, numbers, numbers, numbers),
    label=names,
    area=numbers,
    crowd=st.booleans(),
    id=texts,
    score=st.none() | st.floats(0, 1, width=32),
    origin=texts,
    mask=texts,
)
annotations = st.builds(
    Annotations,
    st.lists(objects, max_size=3).map(tuple),
    st.lists(st.builds(Text, texts, st.sampled_from(["caption", "prompt"])), max_size=3).map(tuple),
    st.lists(st.builds(LabelState, names, st.sampled_from(STATES)), max_size=3).map(tuple),
)
metadata = st.dictionaries(
    texts, st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=2), max_size=3
)
samples = st.builds(
    Sample,
    id=st.just("a" * 32),
    image=st.just(PIXELS),
    labels=st.lists(st.sampled_from(["cat", "dog"]), max_size=2).map(tuple),
    origin=texts,
    licence=texts,
    split=st.sampled_from(["train", "validation", "test", ""]),
    photograph=texts,
    annotations=annotations,
    metadata=metadata,
    digital_source_type=st.sampled_from(["", "digitalCapture"]),
    credentials=st.booleans(),
)


@given(samples)
def test_a_sample_comes_back_as_it_was(sample):
    members, row = encode_sample(sample, INDEX, annotated=True)
    back, sha256 = read_sample("here", members)
    assert replace(back, image=PIXELS) == sample
    assert sha256 == row["sha256"]
    assert row["objects"] == len(sample.annotations.objects)
    assert (row["annotated"] != "") == bool(sample.annotations)
    assert (row["height"], row["width"]) == (8, 10)


@given(samples, samples)
def test_all_records_have_one_form(one, other):
    """Loaders infer types from the first samples, so the form must not depend on what a sample has."""

    def form(value):
        if isinstance(value, dict):
            return {name: form(item) for name, item in value.items()}
        return [] if isinstance(value, list) else type(value)

    first, second = (encode_sample(sample, INDEX, annotated=True)[0] for sample in (one, other))
    assert first.keys() == second.keys()
    for member in ("json", ANNOTATIONS):
        assert form(json.loads(first[member])) == form(json.loads(second[member]))


@given(samples)
def test_categories_are_indices_of_classes(sample):
    found = json.loads(encode_sample(sample, INDEX, annotated=True)[0][ANNOTATIONS])
    for part in ("objects", "states"):
        assert found[part]["category"] == [INDEX.get(label, -1) for label in found[part]["label"]]


def test_a_caption_is_a_member_where_the_source_has_captions():
    sample = Sample("a" * 32, PIXELS, annotations=Annotations(texts=(Text("ask", "prompt"), Text("a cat"), Text("b"))))
    assert encode_sample(sample, {}, captioned=True, annotated=True)[0]["txt"] == b"a cat"
    bare = replace(sample, annotations=Annotations())
    assert encode_sample(bare, {}, captioned=True, annotated=True)[0]["txt"] == b""
    own = replace(bare, extras={"txt": b"mine"})
    assert encode_sample(own, {}, captioned=True)[0]["txt"] == b"mine"


def test_annotations_that_nobody_announced_are_refused():
    sample = Sample("a" * 32, PIXELS, origin="a.png", annotations=Annotations(labels=(LabelState("cat"),)))
    with pytest.raises(RecipeError, match=r"a\.png: gives annotations, which its `annotated` must say"):
        encode_sample(sample, INDEX)


def test_an_extra_cannot_pose_as_the_picture():
    with pytest.raises(RecipeError, match=r"an extra can't have the ending 'jpg'"):
        encode_sample(Sample("a" * 32, PIXELS, extras={"jpg": b"x"}), {})


def test_numpy_scalars_become_json_in_records():
    gate = {"value": np.float32(31.5), "limit": "at least 30", "passed": np.float32(31.5) > 30}
    op = {**OP, "achieved": {"brightness": np.uint8(7)}, "gates": {"psnr": gate}}
    sample = Sample("a" * 32, PIXELS, ops=(op,), metadata={"year": np.int64(3)})
    members, row = encode_sample(sample, {})
    record = json.loads(members["json"])
    (kept,) = json.loads(record["ops"])
    assert kept["gates"] == {"psnr": {"value": 31.5, "limit": "at least 30", "passed": True}}
    assert (kept["achieved"], json.loads(record["metadata"])) == ({"brightness": 7}, {"year": 3})
    assert row["gate.psnr"] == 31.5


def test_metadata_that_json_cannot_hold_are_refused():
    sample = Sample("a" * 32, PIXELS, origin="a.png", metadata={"years": np.arange(3)})
    with pytest.raises(RecipeError, match=r"a\.png: metadata\.years: numpy\.ndarray has no canonical JSON form"):
        encode_sample(sample, {})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Annotations((Object((float("nan"), 0, 1, 1)),)), "can't be written as JSON"),
        (Annotations((Object((0, 0, 1e308, 1e308)),)), "can't be written as JSON"),
        (Annotations((Object((0, 0, 10**400, 1)),)), "a number that can't be read"),
        (Annotations((Object(("left", 0, 1, 1)),)), "a number that can't be read"),  # type: ignore[arg-type]
        (Annotations((Object((0, 1, 1)),)), "isn't left, top, width and height"),  # type: ignore[arg-type]
        (Annotations((Object((0, 0, 1, 1), id=7),)), "have 7 where a text belongs"),  # type: ignore[arg-type]
        (Annotations(texts=(Text(b"cat"),)), "have b'cat' where a text belongs"),  # type: ignore[arg-type]
        (Annotations(texts=(Text("half \ud800"),)), "can't be written as JSON"),
        (Annotations(labels=(LabelState("cat", "perhaps"),)), "the state 'perhaps'"),  # type: ignore[arg-type]
    ],
)
def test_annotations_that_json_cannot_hold_are_refused(wrong, says):
    sample = Sample("a" * 32, PIXELS, origin="a.png", annotations=wrong)
    with pytest.raises(RecipeError, match=rf"a\.png: its annotations.*{says}"):
        encode_sample(sample, INDEX, annotated=True)


def test_a_record_that_utf8_cannot_hold_is_refused():
    sample = Sample("a" * 32, PIXELS, origin="a.png", metadata={"title": "half \ud800"})
    with pytest.raises(RecipeError, match=r"a\.png: its record can't be written as JSON"):
        encode_sample(sample, {})


def test_an_area_is_the_same_number_after_reading_it_back():
    sample = Sample("a" * 32, PIXELS, annotations=Annotations((Object((1, 2, 3, 4)),)))
    members, _ = encode_sample(sample, INDEX, annotated=True)
    again, _ = encode_sample(read_sample("here", members)[0], INDEX, annotated=True)
    assert again == members


# ── records of others ────────────────────────────────────────────────────────────────────────────────────────────────


def forged(**fields) -> dict[str, bytes]:
    """The members of a sample whose record has these fields instead; `annotations` replaces that member."""
    sample = Sample("a" * 32, PIXELS, labels=("cat",), split="test", annotations=Annotations((Object((1, 2, 3, 4)),)))
    members, _ = encode_sample(sample, INDEX, annotated=True)
    if "annotations" in fields:
        members[ANNOTATIONS] = fields.pop("annotations")
    record = {name: value for name, value in {**json.loads(members["json"]), **fields}.items() if value is not ...}
    return {**members, "json": json.dumps(record).encode()}


def test_a_record_that_is_not_forged_is_read():
    assert read_sample("here", forged())[0].labels == ("cat",)
    assert read_sample("here", forged(split=..., photograph=..., metadata=...))[0].split == ""


DEEP = "[" * 100_000 + "]" * 100_000
OP = {"name": "a", "revision": 1, "requested": {}, "achieved": {}, "gates": {}, "models": {}, "seed": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": 3},
        {"labels": "cat"},
        {"labels": [None]},
        {"labels": [["cat"]]},
        {"labels": ...},
        {"id": "../../x"},
        {"id": ""},
        {"id": 3},
        {"origin": None},
        {"licence": ["CC0-1.0"]},
        {"reason": False},
        {"split": "../x"},
        {"split": 1},
        {"credentials": "no"},
        {"width": "8"},
        {"width": True},
        {"sha256": "0" * 64},
        {"sha256": None},
        {"ops": "no JSON"},
        {"ops": "3"},
        {"ops": "[3]"},
        {"ops": "[{}]"},
        {"ops": json.dumps([{**OP, "seed": "x"}])},
        {"ops": json.dumps([{**OP, "more": 1}])},
        {"ops": []},
        {"ops": DEEP},
        {"metadata": "[]"},
        {"metadata": DEEP},
        {"metadata": '{"a": NaN}'},
        {"metadata": '{"a": 1e999}'},
        {"metadata": '{"a": ' + "9" * 5000 + "}"},
        {"origin": "\ud800"},
        {"annotations": b"[]"},
        {"annotations": b"\xff"},
        {"annotations": DEEP.encode()},
        {"annotations": b'{"objects": []}'},
        {"annotations": b'{"objects": {"bbox": [[1, 2, 3, 4]]}}'},
        {"annotations": b'{"objects": {"bbox": 3}}'},
        {"annotations": b'{"texts": {"text": [1], "role": ["caption"]}}'},
        {"annotations": b'{"states": {"label": ["cat"], "state": ["perhaps"]}}'},
    ],
)
def test_a_record_of_other_types_is_one_line(fields):
    with pytest.raises(CorruptShard) as caught:
        read_sample("here", forged(**fields))
    assert str(caught.value).startswith("here: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, None], [1, 2, 3, True], "1234", {"0": 1}])
def test_a_box_of_other_types_is_one_line(box):
    members = forged()
    found = json.loads(members[ANNOTATIONS])
    found["objects"]["bbox"] = [box]
    with pytest.raises(CorruptShard, match="bbox has"):
        read_sample("here", {**members, ANNOTATIONS: json.dumps(found).encode()})


def test_a_picture_that_cannot_be_decoded_is_one_line():
    for data in (b"", b"GIF89a", b"\x89PNG" * 9):
        with pytest.raises(CorruptShard, match="here: the picture can't be decoded"):
            picture_pixels("here", data)
    assert picture_pixels("here", forged()["png"]).shape == (8, 10, 3)
