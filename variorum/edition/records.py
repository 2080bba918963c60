"""Small JSON files of a store: receipts, manifests, ledgers. Each states the digest of its content.

So a changed or damaged file is noticed even where it can still be read. Only the manifests, ledgers and pointers of
editions of format 3 have none.
"""

from __future__ import annotations

import json
import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from variorum.schemas.canonical import digest
from variorum.schemas.fields import why
from variorum.schemas.manifest import Manifest

M = TypeVar("M", bound=BaseModel)
DIGEST = "digest"
BARE = 3
"""Format of the manifests whose records have no digest."""


class BadRecord(ValueError):
    """The bytes aren't the record that they should be; the message is part of a line."""


def to_json(record: BaseModel) -> bytes:
    """A record as JSON, with its digest as the first key."""
    content = record.model_dump(mode="json")
    return json.dumps({DIGEST: digest(content), **content}, indent=1, ensure_ascii=False).encode()


def parse(data: bytes, kind: type[M], *, bare: bool = False) -> M:
    """The record in a file from `to_json`. Raises BadRecord.

    Args:
        data: of the file.
        kind: of the record.
        bare: whether the record may lack a digest. A manifest that says that it is of format 3 always may.
    """
    noun = re.sub("(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
    try:
        content = from_json(data, allow_inf_nan=False)
        stated = content.pop(DIGEST, None) if isinstance(content, dict) else None
        old = kind is Manifest and isinstance(content, dict) and content.get("format") == BARE
        if stated is None and isinstance(content, dict) and not (bare or old):
            raise BadRecord(f"this {noun} states no digest of its content")
        if stated is not None and stated != digest(content):
            raise BadRecord(f"this {noun} has changed: its content doesn't have the digest that it states")
        return kind.model_validate(content)
    except ValidationError as error:
        raise BadRecord(f"not a {noun} ({why(error)})") from None
    except BadRecord:
        raise
    except (ValueError, TypeError, RecursionError):
        raise BadRecord(f"not a {noun}") from None
