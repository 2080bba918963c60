"""Places that an edition is pulled from: the Hub, web servers, object stores, folders; each opens files by path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from variorum.hub.pull_fetch import PIECE, Body, Open
from variorum.hub.pull_web import web_file
from variorum.machine.retrying import open_file
from variorum.schemas.errors import SourceError
from variorum.schemas.secrets import remember, shown

DATASET = re.compile(
    r"(?P<id>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[^@/\s]{1,255}))?(/(?P<path>[^\s]+))?"
)
"""A dataset on the Hub, perhaps with a revision and files in it."""
MOST_NAMES = 10_000
"""Files of a repository up to which the Hub's own list of them is relied on; longer lists may be cut."""
PREFIXES = ("hf://datasets/", "https://huggingface.co/datasets/", "https://hf.co/datasets/")
TREE = re.compile(r"/(tree|resolve|blob)/(?P<revision>[^/]+)")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a place lists: path, bytes, and sha256 if the place knows it."""

    path: str
    size: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where files lie.

    Attributes:
        name: for messages and records, without secrets.
        open: how the file at a path in it is opened.
        revision: the commit, on the Hub.
        tag: the revision that was asked for, on the Hub.
        listed: its files; None if it can't list them.
    """

    name: str
    open: Callable[[str], Open]
    revision: str = ""
    tag: str = ""
    listed: Callable[[], Iterable[Listed]] | None = field(default=None, compare=False)


def on_the_hub(source: str) -> re.Match[str] | None:
    """The dataset on the Hub that a source names: `org/name@rev`, `hf://datasets/…` or the address of its page.

    A folder of this machine with that name comes first.
    """
    for prefix in PREFIXES:
        if source.startswith(prefix):
            return DATASET.fullmatch(TREE.sub(r"@\g<revision>", source.removeprefix(prefix).rstrip("/"), count=1))
    found = DATASET.fullmatch(source)
    return None if found and (found["path"] or os.path.exists(source)) else found


def note_secrets(source: str) -> None:
    """Keep the secrets in a source out of all that is printed. Raises SourceError for what is no URL."""
    remember(source)
    try:
        urlsplit(source)
    except ValueError as error:  # brackets where a host's name should be
        raise SourceError(f"{shown(source)}: it is no URL ({error})") from None


def place_of(source: str, revision: str = "") -> Place:
    """The place that a source names, which must be a folder, a URL or a dataset on the Hub.

    Args:
        source: as the user gives it.
        revision: branch, tag or commit of a dataset on the Hub.

    Raises:
        SourceError: it can't be one, or a revision is given for a place that has none.
    """
    note_secrets(source)
    if found := on_the_hub(source):
        if found["revision"] and revision and unquote(found["revision"]) != revision:
            raise SourceError(f"{source}: it names a revision, and --revision another; give one of them")
        return hub_place(found["id"], unquote(found["revision"] or "") or revision)
    if revision:
        raise SourceError(f"{shown(source)}: only a dataset on the Hub has revisions; leave --revision out")
    if source.startswith(("http://", "https://")):
        return web_place(source)
    if "://" in source and not source.startswith("file://"):
        return stored_place(source)
    folder = Path(unquote(urlsplit(source).path) if "://" in source else source).expanduser().absolute()
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "doesn't exist"
        raise SourceError(f"{source}: {what}; give an edition's folder or URL, or a dataset on the Hub: org/name")
    return Place(str(folder), lambda path: partial(_open_local, folder / path))


# ── folders, object stores, web servers ───────────────────────────────────────────────────────────────────────────────


def _open_local(path: Path, start: int) -> Body:
    """Links are followed, as the Hub's cache consists of them: a hash decides what is kept, not a name."""
    file = open_file(path)
    file.seek(start)
    return Body(iter(partial(file.read, PIECE), b""), file.close, start, os.fstat(file.fileno()).st_size)


def stored_place(url: str) -> Place:
    """A folder at a URL that `fsspec` knows, such as `s3://bucket/prefix`."""

    def open_at(path: str, start: int) -> Body:
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(url, use_listings_cache=False)
        path = f"{root.rstrip('/')}/{path}"
        size = fs.size(path)
        file = fs.open(path, "rb")
        if start:
            file.seek(start)
        return Body(iter(partial(file.read, PIECE), b""), file.close, start, size)

    return Place(shown(url).rstrip("/"), lambda path: partial(open_at, path))


def web_place(url: str) -> Place:
    """A folder at a web server."""
    parts = urlsplit(url)
    base = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/", fragment=""))
    return Place(shown(url).rstrip("/"), lambda path: web_file(_below(base, path)))


def _below(base: str, path: str) -> str:
    """The URL of a file below a folder's URL, with the query of that, which may be a signature."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=f"{parts.path}{quote(path)}"))


# ── the Hub ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def hub_place(repository: str, revision: str = "") -> Place:
    """A dataset's repository on the Hub at the commit that a revision names now.

    Raises:
        SourceError: no such dataset or revision, or no access; the message says what to do.
        TemporaryError: the Hub or the network failed.
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    from variorum.sources.web.hosts import patiently

    name = f"hf://datasets/{repository}"
    try:
        info = patiently(lambda: HfApi().dataset_info(repository, revision=revision or None))
    except Exception as error:  # the client's errors have no common base
        raise _hub_refusal(error, repository, revision) from None
    commit = str(info.sha or "")
    if not re.fullmatch("[0-9a-f]{40,64}", commit):
        raise SourceError(f"{name}: the Hub doesn't say which commit {revision or 'its main branch'} is")
    way, there = _way(repository), {file.rfilename for file in info.siblings or ()}
    there = there if len(there) < MOST_NAMES else set()

    def nothing(start: int) -> Body:
        raise FileNotFoundError(name)

    def open_file_at(path: str) -> Open:
        if there and path not in there:
            return nothing
        url = hf_hub_url(repository, path, repo_type="dataset", revision=commit)
        return web_file(url, {name: str(value) for name, value in build_hf_headers().items()}, way)

    def listed() -> list[Listed]:
        try:
            files = patiently(
                lambda: list(HfApi().list_repo_tree(repository, recursive=True, revision=commit, repo_type="dataset"))
            )
        except Exception as error:
            raise _hub_refusal(error, repository, revision) from None
        found = []
        for file in files:
            if (size := getattr(file, "size", None)) is not None:
                stored = getattr(file, "lfs", None)
                found.append(Listed(file.path, size, str(getattr(stored, "sha256", "") or "")))
        return found

    return Place(f"{name}@{commit[:12]}", open_file_at, commit, revision, listed)


def _way(repository: str) -> str:
    from huggingface_hub import constants

    page = f"{constants.ENDPOINT}/datasets/{repository}"
    return f"accept its terms at {page} if it asks for that, and log in: hf auth login"


def _hub_refusal(error: Exception, repository: str, revision: str) -> Exception:
    """The error to raise for one of the Hub's client."""
    from variorum.sources.web.hosts import refused

    kind, name = type(error).__name__, f"hf://datasets/{repository}{f'@{revision}' if revision else ''}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if kind == "OfflineModeIsEnabled":
        return SourceError(f"{name}: the Hub's client is in offline mode; unset HF_HUB_OFFLINE")
    if kind == "RepositoryNotFoundError":
        return SourceError(f"{name}: there is no such dataset, or it is private: then log in with hf auth login")
    if kind == "GatedRepoError" or status in (401, 403):
        return SourceError(f"{name}: no access; {_way(repository)}")
    if kind == "RevisionNotFoundError":
        return SourceError(f"{name}: it has no branch, tag or commit {revision!r}")
    return refused(error, name)
