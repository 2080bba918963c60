"""Hashing of records: canonical JSON, its digest, and seeds derived from names. All record hashes are made here.

A value has one canonical form or none. Values without one (NaN, a set, an object) raise an error instead of being
converted to text, so a digest never depends on a memory address, a locale or the order of a dictionary.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | tuple[Json, ...] | Mapping[str, Json] | None"

AT_ONCE = 1024
"""Values of a long list that are written as JSON at a time."""


def canonical_json(value: Json) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; a NumPy scalar gives the bytes of the Python value.

    Raises:
        TypeError: a value has no canonical form; the message gives its path (`.requested.size: numpy.ndarray`).
    """
    plain = as_json(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Json) -> str:
    """sha256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digests(common: Mapping[str, Json], each: Iterable[Mapping[str, Json]]) -> Iterator[str]:
    """`digest({**common, **one})` for one after the other; what they have in common is hashed once.

    Args:
        common: not empty.
        each: not empty either. Their keys come behind those of `common` in alphabetical order.

    Raises:
        ValueError: they don't.
        TypeError: as `canonical_json`.
    """
    begun = hashlib.sha256(canonical_json(common)[:-1] + b",")
    for one in each:
        if min(one) <= max(common):
            raise ValueError(f"key {min(one)!r} doesn't come behind {max(common)!r}")
        whole = begun.copy()
        whole.update(canonical_json(one)[1:])
        yield whole.hexdigest()


def digest_of_each(values: Iterable[Json]) -> str:
    """`digest([*values])`, for more values than the memory holds as JSON. Raises TypeError as `canonical_json`."""
    found, left, before = hashlib.sha256(b"["), iter(values), b""
    while some := list(islice(left, AT_ONCE)):
        found.update(before + canonical_json(some)[1:-1])
        before = b","
    found.update(b"]")
    return found.hexdigest()


def short_digest(value: Json) -> str:
    """The first 128 bits of `digest`, 32 hexadecimal digits; used for sample ids, which are file names in shards."""
    return digest(value)[:32]


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2^63) that depends only on the parts, never on position, batch, process or clock."""
    key = canonical_json(list(parts))
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") & (2**63 - 1)


def as_json(value: object, path: str = "") -> Json:
    """The value as plain JSON: NumPy's scalars become Python's, all else stays.

    Raises:
        TypeError: as `canonical_json`.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{path or 'value'}: {value} has no canonical JSON form; use None")
        return value
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"{path or 'value'}: key {odd[0]!r} is {type(odd[0]).__name__}, not str")
        return {key: as_json(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item, f"{path}[{position}]") for position, item in enumerate(value)]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic) and isinstance(plain := value.item(), bool | int | float):
        return as_json(plain, path)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise TypeError(f"{path or 'value'}: {kind} has no canonical JSON form; convert it, as by float(), int() or list()")
