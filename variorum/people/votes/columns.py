"""Votes as whole columns: the fast way from a file to a table of votes.

A file of a million votes is read in seconds only if no Python object is made for each. Whatever isn't plainly right is
left to the checks of single votes, which know the row and say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

from variorum.people.votes.checks import COMMENT, FARTHEST, ID, LONGEST, NAME, SUBJECT
from variorum.people.votes.tables import OF_VOTE, schema
from variorum.schemas.vote import ANSWERS, CATEGORIES, KINDS, REASONS, SEVERITIES, TRUTHS

TEXTS = tuple(name for name in OF_VOTE if name not in ("round", "box", "seconds", "at"))
NUMBER = r"\A(?:[0-9A-Za-z._:-]{1,64})?\z"
SHA256 = r"\A(?:[0-9a-f]{64})?\z"
UNFIT = r"[\x00-\x1f\x7f-\x{9f}\x{2028}-\x{202e}\x{2066}-\x{2069}]"
UNFIT_LINES = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\x{2028}\x{2029}]"
"""Characters that `checks.unfit_character` refuses; Arrow's texts have no surrogates."""
LEAST_AT, MOST_AT = 0.0, 1e11


class Doubtful(Exception):
    """A column has a value that isn't plainly right."""


def votes_of(given: Mapping[str, Any], pictures: Callable[[str], str | None] | None = None) -> Any:
    """A table of votes, as `tables.schema` says, from columns as a file has them.

    Args:
        given: Arrow arrays of one length by name; others than those of a vote are ignored.
        pictures: finds the pictures of votes without a sha256.

    Raises:
        Doubtful: a value is wrong, or needs a closer look.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    number = len(next(iter(given.values())))
    try:
        texts = {name: _texts(given.get(name), number) for name in TEXTS}
        texts["kind"] = pc.if_else(pc.equal(texts["kind"], ""), "label", texts["kind"])
        if pictures is not None:
            texts["id"] = _found(texts["id"], texts["sha256"], pictures)
        _check(texts)
        columns: dict[str, Any] = {
            **texts,
            "round": _within(_numbers(given.get("round"), number, 1.0), 1, 2, whole=True).cast(pa.int8()),
            "box": _boxes(given.get("box"), number),
            "seconds": _within(_numbers(given.get("seconds"), number, float("nan")), 0, LONGEST, missing=True),
            "at": _within(_numbers(given.get("at"), number, 0.0), LEAST_AT, MOST_AT),
            "question": _keys(texts, _texts(given.get("question"), number)),
            "task": _whole(given.get("task"), number).cast(pa.int32()),
            "number": _whole(given.get("number"), number),
            "truth": _one_of(_texts(given.get("truth"), number), TRUTHS),
        }
    except pa.ArrowException as error:
        raise Doubtful from error
    return pa.table({name: columns[name] for name in schema().names}, schema=schema())


def question_keys(
    kinds: Sequence[str], ids: Sequence[str], hashes: Sequence[str], subjects: Sequence[str]
) -> list[str]:
    """`question_key` of many questions, several times faster: the canonical JSON of texts is simple."""
    columns = [[encode_basestring(one) for one in part] for part in (kinds, ids, hashes, subjects)]
    return [
        sha256(f'["question",{kind},{picture},{content},{subject}]'.encode()).hexdigest()[:32]
        for kind, picture, content, subject in zip(*columns, strict=True)
    ]


def _texts(column: Any, number: int) -> Any:
    """A column as texts, with `""` for what is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column is None or pa.types.is_null(column.type):
        return pa.repeat(pa.scalar("", pa.string()), number)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise Doubtful
    return pc.fill_null(column.cast(pa.string()), "")


def _numbers(column: Any, number: int, missing: float) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.fill_null(_cast(column, number, pa.float64()), missing)


def _whole(column: Any, number: int) -> Any:
    import pyarrow as pa

    if column is not None and pa.types.is_floating(column.type):
        raise Doubtful
    return _cast(column, number, pa.int64())


def _cast(column: Any, number: int, kind: Any) -> Any:
    """A column of numbers or of their texts; null for what is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column is None:
        return pa.nulls(number, kind)
    types = pa.types
    if types.is_string(column.type) or types.is_large_string(column.type):
        column = pc.if_else(pc.equal(column, ""), None, column)
    elif not (types.is_null(column.type) or types.is_integer(column.type) or types.is_floating(column.type)):
        raise Doubtful
    return column.cast(kind)


def _within(column: Any, low: float, high: float, *, whole: bool = False, missing: bool = False) -> Any:
    import pyarrow.compute as pc

    fine = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
    if whole:
        fine = pc.and_(fine, pc.equal(pc.floor(column), column))
    _sure(pc.or_(fine, pc.is_nan(column)) if missing else fine)
    return column


def _sure(fine: Any) -> None:
    import pyarrow.compute as pc

    if len(fine) and not pc.all(fine).as_py():
        raise Doubtful


def _one_of(column: Any, words: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    _sure(pc.is_in(column, value_set=pa.array(words, pa.string())))
    return column


def _check(texts: Mapping[str, Any]) -> None:
    """The rules of `checks.fault` for texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in ("vote", "replaces"):
        _sure(pc.match_substring_regex(texts[name], NUMBER))
    _sure(pc.match_substring_regex(texts["sha256"], SHA256))
    for name, longest in (("id", ID), ("subject", SUBJECT), ("reviewer", NAME), ("comment", COMMENT)):
        _sure(pc.less_equal(pc.utf8_length(texts[name]), longest))
        _sure(pc.invert(pc.match_substring_regex(texts[name], UNFIT_LINES if name == "comment" else UNFIT)))
    for name in ("id", "reviewer"):
        _sure(pc.not_equal(pc.utf8_trim_whitespace(texts[name]), ""))
    allowed = {"kind": KINDS, "answer": ANSWERS, "category": ("", *CATEGORIES), "severity": ("", *SEVERITIES)}
    for name, words in allowed.items():
        _one_of(texts[name], words)
    reason = pc.equal(texts["reason"], "")
    for kind, words in REASONS.items():
        known = pc.is_in(texts["reason"], value_set=pa.array(words, pa.string()))
        reason = pc.or_(reason, pc.and_(pc.equal(texts["kind"], kind), known))
    _sure(reason)
    _sure(pc.or_(pc.not_equal(texts["kind"], "problem"), pc.equal(texts["subject"], "")))


def _found(ids: Any, hashes: Any, pictures: Callable[[str], str | None]) -> Any:
    """The ids, with those of votes without a sha256 looked up."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lacking = pc.equal(hashes, "")
    if not pc.any(lacking).as_py():
        return ids
    coded = ids.dictionary_encode()
    named = [pictures(one) or one for one in coded.dictionary.to_pylist()]
    return pc.if_else(lacking, pa.array(named, pa.string()).take(coded.indices), ids)


def _boxes(column: Any, number: int) -> Any:
    """Boxes, of which files have few."""
    import pyarrow as pa

    kind = schema().field("box").type
    if column is None or column.null_count == number:
        return pa.nulls(number, kind)
    boxes = [_box(value) for value in column.to_pylist()]
    return pa.array(boxes, kind)


def _box(value: Any) -> list[float] | None:
    if value is None or value == "":
        return None
    try:
        edges = [float(edge) for edge in (value.split() if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        raise Doubtful from None
    if len(edges) != 4 or not all(abs(edge) <= FARTHEST for edge in edges) or min(edges[2:]) <= 0:
        raise Doubtful
    return edges


def _keys(texts: Mapping[str, Any], given: Any) -> Any:
    """The keys of the questions, each found once; `""` where the sha256 is unknown."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ("kind", "id", "sha256", "subject")
    whole = pc.binary_join_element_wise(*(texts[name] for name in names), "\x1f")  # in no text that has been checked
    coded = whole.dictionary_encode()
    parts = [one.split("\x1f") for one in coded.dictionary.to_pylist()]
    columns = [[part[place] for part in parts] for place in range(len(names))]
    found = pa.array(question_keys(*columns), pa.string()).take(coded.indices)
    known = pc.not_equal(texts["sha256"], "")
    _sure(pc.or_(pc.or_(pc.equal(given, ""), pc.equal(given, found)), pc.invert(known)))
    return pc.if_else(known, found, "")
