"""Files of a store at a URL: S3 through `s3fs`, and whatever else `fsspec` opens.

Each function costs one request on S3, but for listings (one per thousand files) and uploads of large files (one per
part). Requests that fail for a moment are tried again with growing pauses by the client, five times. Uploads carry a
checksum that the server compares, so bytes that change on their way aren't stored.

Errors come as the client raises them; `Store.explained` turns them into one line with `remote_errors.explained`.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Any

from variorum.edition.remote_errors import code_of
from variorum.machine.together import AT_ONCE, each
from variorum.schemas.errors import StoreError, cut
from variorum.schemas.secrets import remember_values, shown

S3 = ("s3", "s3a")
UNKEPT = re.compile(r"[\\\x00-\x1f\x7f]")
"""Characters of prefixes that some servers replace."""
PART = 16 << 20
"""Bytes of a part of a large upload."""
MOST_PARTS = 10_000
NAMES = 1000
"""Files that one request removes."""
PARTS_AT_ONCE = 4
"""Parts of one file that are in memory at a time."""
CONNECTION = {
    "retries": {"mode": "standard", "total_max_attempts": 5},
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 2 * AT_ONCE,
    "signature_version": "s3v4",
}
"""Settings of the client; a server that copies a large file inside the bucket is silent for a while."""
PAUSES = (0.1, 0.4, 1.6)
"""Seconds before a write is tried again that met another one under way, or that arrived changed."""
REFUSED, CONFLICT = ("PreconditionFailed", "412"), ("ConditionalRequestConflict", "409")
UNKNOWN = ("NotImplemented", "501")
CHANGED = ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts that nobody has finished: its name below the store's root, bytes so far, when it began."""

    name: str
    number: str
    size: int
    began: float


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, which never answers from a cache of listings, and the store's path in it.

    Keys of S3 come from where AWS's tools look for them: the environment, a profile, the machine's role.

    Raises:
        StoreError: the URL of a bucket has a key or a password in it, or a prefix that servers change.
        Exception: the file system can't be had.
    """
    import fsspec.config
    import fsspec.core

    scheme, _, rest = url.partition("://")
    if scheme not in S3:
        fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        return fs, str(root)
    if "@" in rest.partition("/")[0]:
        raise StoreError(
            f"store {shown(url)}: keys don't belong in the URL of a bucket; set AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if any(part in ("", ".", "..") or UNKEPT.search(part) for part in rest.rstrip("/").split("/")[1:]):
        raise StoreError(
            f"store {cut(ascii(shown(url)))}: servers change such a prefix; leave out //, . and .. in it, backslashes "
            f"and control characters"
        )
    own: Mapping[str, Any] = fsspec.config.conf.get("s3", {})
    fs, root = fsspec.core.url_to_fs(
        url,
        use_listings_cache=False,
        max_concurrency=1,  # otherwise each small file is asked for its size first
        config_kwargs={**CONNECTION, **own.get("config_kwargs", {})},
    )
    for name in ("botocore", "aiobotocore"):  # their debug records have signatures and session tokens in them
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    return fs, str(root)


def on_s3(fs: Any) -> bool:
    """Return whether this is the file system of S3."""
    return not set(protocols(fs)).isdisjoint(S3)


def protocols(fs: object) -> tuple[str, ...]:
    """The schemes of a file system's URLs."""
    protocol = getattr(fs, "protocol", ())
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def check(fs: Any, root: str) -> None:
    """Ask a bucket for one name, so that a wrong key, clock, bucket or address is known before any work.

    Only the answer to a listing says what is wrong; those to questions about one file have no text. Its keys are noted,
    and from then on in no text that the project prints.
    """
    if not on_s3(fs):
        return
    bucket, prefix = bucket_of(f"{root}/")
    try:
        fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    finally:
        _remember_keys(fs)


def _remember_keys(fs: Any) -> None:
    """Note the keys of a profile or a role, which aren't in the environment."""
    from fsspec.asyn import sync

    if fs.session is not None and not fs.anon:
        with suppress(Exception):  # none were found, which the request has said
            keys = sync(fs.loop, fs.session.get_credentials)
            remember_values(keys.access_key, keys.secret_key, keys.token)


def writes_if_absent(fs: Any, path: str) -> bool:
    """Return whether conditional writes work here, by making a file that exists; also says if it may be written.

    A server that doesn't know the condition either says so or writes the file again.
    """
    for _ in range(2):  # the first may be the one that makes the file
        try:
            if not create(fs, path, b""):
                return True
        except OSError as error:
            if code_of(error) not in UNKNOWN:
                raise
            put(fs, path, b"")
            return False
    return False


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def bucket_of(path: str) -> tuple[str, str]:
    """Bucket and key of a path on S3."""
    bucket, _, key = path.partition("/")
    return bucket, key


def size(fs: Any, path: str) -> int | None:
    """Bytes of a file, or None if there is none."""
    try:
        if not on_s3(fs):
            return int(fs.size(path))
        bucket, key = bucket_of(path)
        return int(fs.call_s3("head_object", Bucket=bucket, Key=key)["ContentLength"])
    except FileNotFoundError:
        return None


def sizes(fs: Any, paths: Iterable[str]) -> dict[str, int]:
    """Bytes of those of these files that exist, by asking for each."""
    wanted = list(paths)
    asked = each(lambda path: size(fs, path), wanted)
    return {path: found for path, found in zip(wanted, asked, strict=True) if found is not None}


def listed_sizes(fs: Any, folder: str, begin: str = "", *, many: bool = False) -> dict[str, int]:
    """Bytes of the files in a folder by name, from a listing, which may be old: a file may be there or gone.

    Args:
        fs: the file system.
        folder: whose files have names of hexadecimal digits.
        begin: what the names begin with.
        many: list names by their first digit, at the same time: a listing gives a thousand names at a time.
    """
    if not on_s3(fs):
        listed: dict[str, Mapping[str, Any]] = {}
        with suppress(FileNotFoundError):
            listed = fs.find(folder, detail=True)
        found = {str(path).rpartition("/")[2]: int(info["size"]) for path, info in listed.items()}
        return {name: size for name, size in found.items() if name.startswith(begin)}
    parts = each(lambda digit: _listed(fs, f"{folder}/{begin}{digit}"), "0123456789abcdef" if many else [""])
    return {path[len(folder) + 1 :]: size for part in parts for path, size in part}


def _listed(fs: Any, begin: str) -> list[tuple[str, int]]:
    """Path and bytes of the files on S3 whose paths begin like this, page by page, which needs little memory."""
    bucket, prefix = bucket_of(begin)
    found, more = list[tuple[str, int]](), dict[str, str]()
    while True:
        answer = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        found += ((f"{bucket}/{one['Key']}", int(one["Size"])) for one in answer.get("Contents", ()))
        if not answer.get("IsTruncated"):
            return found
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def create(fs: Any, path: str, data: bytes) -> bool:
    """Write a small file unless it exists, in one step; returns whether it was written.

    On S3 this is a PUT with `If-None-Match: *`. If the answer to it is lost, the client asks again and learns that the
    file exists: then it is this call's own, and the result is False.
    """
    return _created(lambda: _arrives(lambda: fs.pipe_file(path, data, mode="create")))


def create_file(fs: Any, path: str, file: Path) -> bool:
    """`create` for a local file of any size. On S3 a large one is refused when its last part has arrived."""
    return _created(lambda: upload(fs, file, path, mode="create"))


def _created(write: Callable[[], object]) -> bool:
    try:
        write()
    except FileExistsError:
        return False
    except OSError as error:
        if code_of(error) in REFUSED:
            return False
        raise
    return True


def put(fs: Any, path: str, data: bytes) -> None:
    """Write a small file, or replace it."""
    _arrives(lambda: fs.pipe_file(path, data))


def _arrives(write: Callable[[], object]) -> None:
    """Write, again if the bytes arrived changed or the write met another one; the client repeats the rest itself."""
    for pause in PAUSES:
        try:
            write()
            return
        except OSError as error:
            if code_of(error) not in (*CHANGED, *CONFLICT):
                raise
        sleep(pause)
    write()


def upload(fs: Any, path: Path, target: str, **more: str) -> None:
    """Write a local file to its place, in parts if it is large. Nobody sees it before it is whole.

    A small file goes with its sha256, which the server compares; the parts of a large one each with the checksum that
    the client computes. A process that is killed leaves its parts with the server; `variorum gc` finds them. `more` is
    for `put_file`.
    """
    if not on_s3(fs):
        fs.put_file(str(path), target, **more)
        return
    length = path.stat().st_size
    part = max(PART, -(-length // MOST_PARTS))
    if length < 2 * part:  # as s3fs decides
        with path.open("rb") as file:
            more["ChecksumSHA256"] = base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
    _arrives(lambda: fs.put_file(str(path), target, chunksize=part, max_concurrency=PARTS_AT_ONCE, **more))


def download(fs: Any, path: str, to: Path) -> None:
    """Copy a file to this machine. Raises FileNotFoundError."""
    if on_s3(fs):
        fs.get_file(path, str(to), chunksize=PART, max_concurrency=PARTS_AT_ONCE)
    else:
        fs.get_file(path, str(to))


def remove(fs: Any, paths: Sequence[str]) -> None:
    """Remove files of one bucket, a thousand in a request on S3; those that aren't there count as removed.

    `fs.rm` takes `[` and `*` in a path for a pattern, and says nothing of files that the server didn't remove.
    """
    if not on_s3(fs):
        for path in paths:
            with suppress(FileNotFoundError):
                fs.rm_file(path)
        return
    for start in range(0, len(paths), NAMES):
        bucket = bucket_of(paths[start])[0]
        left = [bucket_of(path)[1] for path in paths[start : start + NAMES]]
        for pause in (*PAUSES, None):
            names = [{"Key": key} for key in left]
            answer = fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": names, "Quiet": True})
            refused = [one for one in answer.get("Errors", ()) if one.get("Code") != "NoSuchKey"]
            if not refused:
                break
            if pause is None:
                raise _refused(refused[0])
            left = [one["Key"] for one in refused]
            sleep(pause)


def _refused(said: Mapping[str, str]) -> Exception:
    """What a request for several files says of one of them, as the client's error for one file."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    answer = {"Error": {"Code": said.get("Code", ""), "Message": said.get("Message", "")}}
    error: Exception = ClientError(answer, "DeleteObjects")
    return error


def link(fs: Any, path: str, seconds: int) -> str:
    """A URL that reads a file without keys, for this many seconds.

    Raises:
        NotImplementedError: the file system has no such URLs.
    """
    return str(fs.sign(path, expiration=seconds))


# ── uploads that nobody finished ─────────────────────────────────────────────────────────────────────────────────────


def unfinished_uploads(fs: Any, folder: str) -> Iterator[Upload]:
    """Uploads in parts below a folder that are neither finished nor given up; their bytes are paid for."""
    if not on_s3(fs):
        return
    bucket, prefix = bucket_of(f"{folder}/")
    more: dict[str, str] = {}
    while True:
        answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **more)
        for one in answer.get("Uploads", ()):
            key, number, began = str(one["Key"]), str(one["UploadId"]), one["Initiated"]
            if key.startswith(prefix) and isinstance(began, datetime):
                found = _bytes_of(fs, bucket, key, number)
                yield Upload(key.removeprefix(prefix), number, found, began.timestamp())
        if not answer.get("IsTruncated"):
            return
        more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def _bytes_of(fs: Any, bucket: str, key: str, number: str) -> int:
    with suppress(FileNotFoundError):  # finished since it was listed
        parts = fs.call_s3("list_parts", Bucket=bucket, Key=key, UploadId=number).get("Parts", ())
        return sum(int(part["Size"]) for part in parts)
    return 0


def give_up(fs: Any, path: str, number: str) -> bool:
    """Remove the parts of an upload that nobody finished; returns whether there was one."""
    bucket, key = bucket_of(path)
    try:
        fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=number)
    except FileNotFoundError:
        return False
    return True
