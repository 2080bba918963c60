"""Hashing of records: canonical JSON, its digest, and seeds derived from names. All record hashes are made here.

A value has one canonical form or none. Values without one (NaN, a set, an object) raise an error instead of being
converted to text, so a digest never depends on a memory address, a locale or the order of a dictionary.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | tuple[Json, ...] | Mapping[str, Json] | None"


def canonical_json(value: Json) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces.

    Raises:
        TypeError: a value has no canonical form; the message gives its path (`.requested.size: numpy.float32`).
    """
    check_json(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


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


def short_digest(value: Json) -> str:
    """The first 128 bits of `digest`, 32 hexadecimal digits; used for sample ids, which are file names in shards."""
    return digest(value)[:32]


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2^63) that depends only on the parts, never on position, batch, process or clock."""
    key = canonical_json(list(parts))
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") & (2**63 - 1)


def check_json(value: object, path: str = "") -> None:
    """Raise TypeError, as `canonical_json` does, unless a value has a canonical form."""
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{path or 'value'}: {value} has no canonical JSON form; use None")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{path or 'value'}: key {key!r} is {type(key).__name__}, not str")
            check_json(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            check_json(item, f"{path}[{position}]")
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(
            f"{path or 'value'}: {kind} has no canonical JSON form; convert it, as by float(), int() or list()"
        )
