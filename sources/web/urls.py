"""Handle URLs of sources: places without secrets, versions of files, and errors in one line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from variorum.schemas.secrets import shown, without_secrets

QUERY = re.compile(r"\?[^\s'\"<>]+")
TAGS = (
    *("ETag", "etag", "blob_id", "checksum", "md5", "md5Hash", "Content-MD5", "content_md5"),
    *("mtime", "LastModified", "Last-Modified", "last_modified", "created"),
)
"""What file systems say of a file that changes with its content, the surest first."""


def in_full(pattern: str) -> str:
    """A path or pattern from the root of the file system; a URL as `shown` shows it."""
    return shown(pattern) if "://" in pattern else os.path.abspath(os.path.expanduser(pattern))


def version_of(info: Mapping[str, Any]) -> str:
    """A text that changes with a file's content, from what its file system says of it; `""` if it says nothing."""
    return next((f"{tag}={info[tag]}" for tag in TAGS if info.get(tag)), "")


def one_line(error: BaseException | None) -> str:
    """The kind of an error and the first line of its message, without secrets and queries of URLs."""
    said = without_secrets(QUERY.sub("", (str(error).strip().splitlines() or ["no message"])[0]))
    return f"{type(error).__name__}: {said}"
