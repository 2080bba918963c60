"""YAML without its traps: keys are text and occur once, nesting is bounded, aliases can't loop or explode.

PyYAML takes the last of two equal keys, reads `yes` as a boolean, and fails with a traceback on deep nesting, on an
anchor that contains itself and on an integer of 5000 digits. Here each of these is an error in one line.
"""

from __future__ import annotations

from typing import Any

import yaml

DEEPEST = 50
"""Levels of nesting."""
MOST = 100_000
"""Values in a document, counted after aliases are replaced by what they stand for."""
LONGEST = 1024
"""Bits of an integer; Python can't print one of more than 4300 digits."""
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
READ_AS = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing", "timestamp": "a date"}
"""What YAML makes of plain text, by the last part of the tag."""


class NotYaml(ValueError):
    """The text isn't YAML; the message is one line."""


class Refused(NotYaml):
    """The text is YAML that isn't accepted; the message is one line that says what to change."""


def read_yaml(text: str) -> Any:
    """The value of a YAML document: dicts, lists and scalars, none of them shared.

    Raises:
        NotYaml: a syntax error, or a tag of other software.
        Refused: a key that isn't text or occurs twice, a scalar that Python can't hold, deep nesting, an alias that
            loops, or more than `MOST` values.
    """
    try:
        return _unshared(Loader(text).get_single_data())
    except yaml.MarkedYAMLError as error:
        why = ", ".join(part for part in (error.context, error.problem) if part)
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise NotYaml(" ".join(f"{line}{why}".split())) from None
    except yaml.YAMLError as error:
        raise NotYaml(" ".join(str(error).split())) from None


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the checks of this module."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def get_single_node(self) -> yaml.Node | None:
        """The document's node graph, checked for loops and for its size."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _measured(node, {}, set())
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, unless it lies too deep."""
        if self._depth >= DEEPEST:
            place = self.peek_event()  # type: ignore[no-untyped-call]
            raise Refused(f"{_line(place)}nested more than {DEEPEST} levels deep; write it flatter")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping whose keys are text and differ."""
        node = super().compose_mapping_node(anchor)
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Refused(f"{_line(key)}a key must be text, not a list or a mapping")
            if key.tag not in (TEXT, MERGE):
                meant = READ_AS.get(key.tag.rpartition(":")[2], "something else than text")
                raise Refused(f"{_line(key)}YAML reads the key {key.value[:40]!r} as {meant}; put it in quotes")
            if key.value in seen and key.tag == TEXT:
                first = seen[key.value].start_mark.line + 1
                raise Refused(f"{_line(key)}the key {_cut(key.value)} is in line {first} already; remove one of them")
            seen[key.value] = key
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A node's value. Scalars that Python can't hold (a month 13, an integer of 5000 digits) are refused."""
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int) and value.bit_length() > LONGEST:
                raise ValueError
            return value
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            if isinstance(error, NotYaml):
                raise
            raw = _cut(node.value) if isinstance(node, yaml.ScalarNode) else "this"
            raise Refused(f"{_line(node)}{raw} can't be read as a value; put it in quotes if it is text") from None


def _measured(node: yaml.Node, known: dict[int, tuple[int, int]], inside: set[int]) -> tuple[int, int]:
    """Count the values that a node stands for, and its depth, with its aliases replaced."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in inside:
        raise Refused(f"{_line(node)}an anchor contains itself; write the value out")
    inside.add(id(node))
    size, depth = 1, 1
    if isinstance(node, yaml.CollectionNode):
        items = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        parts = [_measured(item, known, inside) for item in items]
        size, depth = 1 + sum(size for size, _ in parts), 1 + max((depth for _, depth in parts), default=0)
    if size > MOST or depth > DEEPEST:
        raise Refused(f"{_line(node)}its aliases stand for more than {MOST} values, or more than {DEEPEST} levels")
    inside.remove(id(node))
    known[id(node)] = size, depth
    return size, depth


def _unshared(value: Any) -> Any:
    """A copy in which two aliases of one value are two values, so that changing one leaves the other."""
    if isinstance(value, dict):
        return {_unshared(key): _unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item) for item in value]
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, bytes | set | tuple):
        raise Refused(f"a value is {type(value).__name__}; write a text, a number, a list or a mapping")
    return value


def check_text(text: str) -> None:
    """Raise Refused for a text that no file and no path can hold: with NUL, or not UTF-8."""
    if "\0" in text:
        raise Refused(f"{_cut(text)} has a NUL character in it; remove it")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Refused(f"{_cut(text)} isn't UTF-8 text; write it as UTF-8")


def _line(place: Any) -> str:
    return f"line {place.start_mark.line + 1}: "


def _cut(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}…"
