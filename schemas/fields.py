"""Types of fields in records that others may have written: hashes, names and numbers with their patterns and limits.

A manifest names files, folders, columns and members. With these types it can name nothing outside its store, and
nothing that other code can't take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError

from variorum.schemas.canonical import as_json

MOST = 2**53
"""Numbers are below this, because other readers of JSON lose digits of larger ones."""
LONGEST = 65_536
"""Characters of a text."""
DEEPEST = 60
"""Levels of nesting in a value of any kind."""
BITS = 1024
"""Of a whole number in a value of any kind; Python can't print one of more than 4300 digits."""
LISTED = 60
"""Characters of a wrong value that a message shows."""

ENDING = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
"""File ending of a member: `png`, `mask.png`."""
CONFIG = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}"
"""What a configuration's name may be: it is a folder's name, and `datasets` reads it in a pattern."""


def whole(value: Any) -> Any:
    """The value, unless it is a number in another form, such as `true` or `\"3\"`. Raises ValueError."""
    if isinstance(value, bool | str | bytes | float):
        raise ValueError("must be a whole number")
    return value


def _identifier(value: str) -> str:
    if not value.isidentifier() or len(value) > 200:
        raise ValueError("must be a name of letters, digits and underscores")
    return value


def _ending(value: str) -> str:
    if not ENDING.fullmatch(value) or len(value) > 96:
        raise ValueError("must be a file ending: lower-case letters, digits, _ - and .")
    return value


def _short_parts(value: str) -> str:
    if max(map(len, value.split(".", 1))) > 200:
        raise ValueError("must have at most 200 characters before and after its first dot")
    return value


def plain_json(value: Any) -> Any:
    """The value, if it is JSON of bounded depth and numbers. Raises ValueError."""
    try:
        plain = as_json(value)
        _check_size(plain, DEEPEST)
    except TypeError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError(f"is nested more than {DEEPEST} levels deep") from None
    return plain


def _check_size(value: Any, levels: int) -> None:
    if isinstance(value, int) and value.bit_length() > BITS:
        raise ValueError(f"has a number of more than {BITS} bits")
    if isinstance(value, Mapping | list | tuple):
        if not levels:
            raise ValueError(f"is nested more than {DEEPEST} levels deep")
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_size(item, levels - 1)


# A count in a pattern, such as {1,4096}, takes longer to compile than all that a command imports: hence max_length.
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A digest. It becomes a file's name, and can't be a path."""
Count = Annotated[int, BeforeValidator(whole), Field(ge=0, lt=MOST)]
"""A number of things or bytes."""
Number = Annotated[int, BeforeValidator(whole), Field(ge=1, lt=10**9)]
"""Of a ledger and its release."""
Text = Annotated[str, StringConstraints(max_length=LONGEST)]
"""Any text from data. It is escaped where it is shown."""
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$", max_length=4096)]
"""A text without line breaks and control characters, such as a model's pin."""
Alias = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029<>|`]+$", max_length=200)]
"""A model's name in recipes."""
Profile = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""A table of models."""
Step = Annotated[str, AfterValidator(_identifier)]
"""A component's name, which is that of a Python module."""
Column = Annotated[
    str,
    StringConstraints(pattern=r"^[^\W\d]\w*\.[^\x00-\x1f\x7f-\x9f\u2028\u2029<>|`]+$"),
    AfterValidator(_short_parts),
]
"""A column with its detector's name: `duplicates.keeper`."""
Ending = Annotated[str, AfterValidator(_ending)]
"""A member of a sample."""
Group = Annotated[str, StringConstraints(pattern=rf"^(({CONFIG}/)?(train|validation|test)|quarantine)$")]
"""Pictures that lie in shards of their own: `test`, `size_0.05/test`, or `quarantine`."""
Listing = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""Name of a table that a generator draws up over the whole edition: `episodes`."""
Values = Annotated[dict[str, Any], AfterValidator(plain_json)]
"""A mapping to any JSON values, of which nothing else is known."""


def why(error: ValidationError) -> str:
    """Explain what is wrong with a record, in one line that names the first wrong field."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    path = ".".join(_cut(text if (text := str(part)).isprintable() else ascii(text)) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    text = f"{path}: {said[:1].lower()}{said[1:]}" if path else said
    if first["type"] not in ("missing", "extra_forbidden", "json_invalid") and path:
        text += f" (it is {_cut(ascii(first['input']))})"
    return text + (f"; and {len(problems) - 1} more" if len(problems) > 1 else "")


def _cut(text: str) -> str:
    return text if len(text) <= LISTED else f"{text[:LISTED]}…"


def each_once(
    wrong: str, fits: Callable[[Any], bool] = lambda one: True, *, least: int = 0
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A validator of tuples with different values that all fit, at least so many; `wrong` is its message."""

    def checked(value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(value) < least or len(set(value)) < len(value) or not all(map(fits, value)):
            raise ValueError(wrong)
        return value

    return checked
