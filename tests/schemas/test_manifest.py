"""Records of others: each field has a pattern or a limit, and what is wrong is said in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from variorum.schemas.fields import Alias, Column, Count, Ending, Group, Line, Sha256, Step, Values, why
from variorum.schemas.manifest import Dataset, Ledger, Manifest, Receipt, ShardInfo, Status, Version

HASH = "0123456789abcdef" * 4
INFO = {"sha256": HASH, "size": 1, "samples": 1}


def takes(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        return "\n" in why(error)
    return True


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Sha256, [HASH], ["", HASH[1:], HASH.upper(), HASH + "\n", "../" + HASH, HASH + "\0", "٣" * 64, None, 7]),
        (Dataset, ["a", "imagenet_e", "9" * 96], ["", "A", "a/b", "..", "a" * 97, "a\n", "_a", "ä"]),
        (
            Version,
            ["1.0.0", "1.2.3-dev", "1.0.0-r1", "1.0.0-dev-r12"],
            ["1", "1.0.0-r", "1.0.0/..", "٣.0.0", "1.0.0\n"],
        ),
        (Version, [], ["1.0.0-r1-r2", "1.0.0-r1234567890", "1.0.0-DEV", " 1.0.0"]),
        (
            Group,
            ["test", "a/train", "quarantine", "size_0.05/test"],
            ["", "../test", "./test", "a/b/test", "all", "/test"],
        ),
        (Ending, ["png", "mask.png", "annotations.json"], ["", "PNG", "../x", "a/b", ".png", "a\n", "a" * 97]),
        (Step, ["quality", "größe"], ["", "../x", "a b", "a-b", "1a", "a" * 201, "a.b"]),
        (Column, ["duplicates.keeper", "a.b c.d"], ["a", ".b", "a.", "a.`b`", "a.|", "a.<b>", "a.b\n", "../a.b"]),
        (Alias, ["segmenter", "my model", "a/b"], ["", "a\nb", "<b>", "a" * 201, "\x1b[2J", "`"]),
        (Line, ['x@sha256:00+y;{"a":1}'], ["", "a\nb", "\u2028", "a" * 4097, "\x9b"]),
        (Count, [0, 2**53 - 1], [-1, 2**53, 1.0, True, "1", None, 1e300]),
        (Status, ["accepted", "failed:too_small", "dropped:a\nb", "failed"], ["", "accepted:x", "hidden", "failed:"]),
    ],
)
def test_fields_take_what_this_project_writes_and_nothing_else(kind, good, bad):
    assert [value for value in good if not takes(kind, value)] == []
    assert [value for value in bad if takes(kind, value)] == []


@pytest.mark.parametrize(
    "value",
    [{"a": float("nan")}, {"a": float("inf")}, {"a": 2**2000}, {"a": json.loads("[" * 90 + "]" * 90)}, [], "x", None],
)
def test_values_that_have_no_digest_or_no_end_are_refused(value):
    assert not takes(Values, value)
    assert takes(Values, {"a": [1, {"b": None}], "c": 2**64, "d": 0.5})


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda part: st.lists(part) | st.dictionaries(st.text(), part))
)
def test_why_is_one_line_for_any_value(value):
    for kind in (Manifest, Ledger, Receipt, ShardInfo):
        with pytest.raises(ValidationError) as caught:
            kind.model_validate(value)
        assert "\n" not in why(caught.value)
        assert len(why(caught.value)) < 700


def test_why_names_the_first_wrong_field():
    with pytest.raises(ValidationError) as caught:
        Receipt.model_validate(
            {"unit": HASH, "start": 0, "stop": 1, "shards": {}, "members": [], "rows": {**INFO, "sha256": "../x\x1b"}}
        )
    assert why(caught.value) == r"rows.sha256: string should match pattern '^[0-9a-f]{64}$' (it is '../x\x1b')"
    with pytest.raises(ValidationError) as caught:
        Receipt.model_validate({"unit": "x", "start": 3, "rows": INFO})
    assert why(caught.value).endswith("; and 3 more")


def test_a_receipt_must_fit_itself():
    fields = {"unit": HASH, "start": 0, "stop": 1, "shards": {}, "members": ["cls", "png"], "rows": INFO}
    assert Receipt.model_validate(fields)
    for wrong in ({"start": 2}, {"members": ["png", "cls"]}, {"members": ["png", "png"]}):
        with pytest.raises(ValidationError):
            Receipt.model_validate({**fields, **wrong})
