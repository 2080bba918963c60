"""A dataset's repository on the Hub as it is now, and the Hub's errors in one line each.

Tokens are found by `huggingface_hub` itself; none is read, printed or kept here.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.edition.records import BadRecord, parse
from variorum.hub.layout import MANIFEST
from variorum.schemas.errors import StoreError, TemporaryError, VariorumError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPOSITORY = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
)
"""`ORG/NAME` as the Hub takes it."""
BRANCH = re.compile(r"(?!HEAD$)(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?<!\.lock)(?<!\.)")
"""Names that git takes, without slashes."""
LARGEST = 256 << 20
"""Bytes of a manifest that is read."""
LOG_IN = "log in with: hf auth login"
CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2")
"""Libraries whose errors are those of the network."""
FULL = ("quota", "storage limit", "exceeded", "upgrade your plan", "payment")
"""Words of the Hub's answer when there is no space left."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a repository: its size in bytes, and either its sha256 (LFS) or the SHA-1 of its git blob."""

    size: int
    sha256: str = ""
    blob: str = ""

    def same(self, content: bytes | Path, sha256: str, size: int) -> bool:
        """Return whether it has this content; a local file is read only if nothing else tells."""
        if size != self.size:
            return False
        if self.sha256:
            return self.sha256 == sha256
        return git_blob(content) == self.blob


@dataclass(frozen=True, slots=True)
class Remote:
    """A branch of a repository.

    Attributes:
        repo: `org/name`.
        branch: the branch.
        there: whether the repository exists and can be seen.
        head: the branch's newest commit; `""` if there is no such branch.
        files: by path, in that commit.
        tags: by name, the commit.
        private: whether only members see it.
        gated: `auto` or `manual` if people have to ask for it, else `""`.
        manifest: of the edition that the branch has, or None.
    """

    repo: str
    branch: str
    there: bool = False
    head: str = ""
    files: Mapping[str, File] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    private: bool = False
    gated: str = ""
    manifest: Manifest | None = None


def hub() -> HfApi:
    """The client, without progress bars of its own."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    return HfApi(library_name="variorum")


def look(api: HfApi, repo: str, branch: str) -> Remote:
    """The state of a branch now.

    Raises:
        StoreError: it can't be read.
        TemporaryError: the Hub doesn't answer.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        with explained(repo, passing=(RepositoryNotFoundError,)):
            about = api.dataset_info(repo)
            refs = api.list_repo_refs(repo, repo_type="dataset")
    except GatedRepoError:
        raise StoreError(f"{repo}: you have no access to this dataset; ask for it on its page, or {LOG_IN}") from None
    except RepositoryNotFoundError:
        with suppress(RepositoryNotFoundError), explained(repo, passing=(RepositoryNotFoundError,)):
            api.model_info(repo)
            raise StoreError(f"{repo}: on the Hub this is a model and not a dataset; choose another name") from None
        return Remote(repo, branch)
    tags = {one.name: one.target_commit for one in refs.tags}
    head = next((one.target_commit for one in refs.branches if one.name == branch), "")
    state = Remote(
        repo,
        branch,
        True,
        head,
        files_at(api, repo, head) if head else {},
        tags,
        bool(about.private),
        about.gated or "",
    )
    return _with_manifest(api, state)


def files_at(api: HfApi, repo: str, revision: str) -> dict[str, File]:
    """The files of a revision by path."""
    with explained(repo):
        return {
            one.path: File(one.lfs.size, sha256=one.lfs.sha256) if one.lfs else File(one.size, blob=one.blob_id)
            for one in api.list_repo_tree(repo, repo_type="dataset", revision=revision, recursive=True)
            if hasattr(one, "blob_id")
        }


def _with_manifest(api: HfApi, state: Remote) -> Remote:
    from dataclasses import replace

    there = state.files.get(MANIFEST)
    ours = there is not None and there.size <= LARGEST  # a larger one isn't fetched
    return replace(state, manifest=manifest_at(api, state.repo, state.head)) if ours else state


def manifest_at(api: HfApi, repo: str, revision: str) -> Manifest | None:
    """The manifest of the edition in a revision; None if there is none, or it isn't one of ours."""
    data = read(api, repo, MANIFEST, revision)
    if data is None:
        return None
    try:
        return parse(data, Manifest)
    except BadRecord:
        return None


def read(api: HfApi, repo: str, path: str, revision: str) -> bytes | None:
    """A small file of a revision, or None."""
    from huggingface_hub.errors import EntryNotFoundError

    with tempfile.TemporaryDirectory() as folder:
        try:
            with explained(repo, passing=(EntryNotFoundError,)):
                found = api.hf_hub_download(repo, path, repo_type="dataset", revision=revision, cache_dir=folder)
        except EntryNotFoundError:
            return None
        if os.path.getsize(found) > LARGEST:
            raise StoreError(f"{repo}: {path} has more than {LARGEST >> 20} MiB; it is none of Variorum's")
        return Path(found).read_bytes()


def git_blob(content: bytes | Path) -> str:
    """The SHA-1 by which git names a file."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with content.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error of the Hub's client, or None."""
    while error is not None:
        response: Any = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def explained(repo: str, *, done: str = "", passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn an error of the Hub's client into a VariorumError of one line.

    Args:
        repo: `org/name`.
        done: what is uploaded already, for the message.
        passing: errors that the caller handles.
    """
    try:
        yield
    except Exception as error:  # the client's errors have no common base
        if isinstance(error, (VariorumError, *passing)):
            raise
        raise _explained(repo, error, done) from error


def _explained(repo: str, error: Exception, done: str) -> VariorumError:
    status, more = status_of(error), f"; {done}" if done else ""
    said = _said(error)
    if status == 401 or type(error).__name__ == "LocalTokenNotFoundError":
        return StoreError(f"{repo}: the Hub doesn't take your token, or there is none; {LOG_IN}{more}")
    if status in (402, 413, 507) or (status == 403 and any(word in said.lower() for word in FULL)):
        return StoreError(f"{repo}: the Hub has no space left for it ({said}){more}")
    if status == 403:
        return StoreError(
            f"{repo}: your token may not do this ({said}); make one that may write to this organisation at "
            f"https://huggingface.co/settings/tokens, and {LOG_IN}{more}"
        )
    if status in (408, 425, 429) or (status or 0) >= 500:
        return TemporaryError(f"{repo}: the Hub answered {status} ({said}); run the same command again later{more}")
    if status is not None:
        return StoreError(f"{repo}: the Hub answered {status} ({said}){more}")
    if _of_the_network(error):
        return TemporaryError(
            f"{repo}: the Hub can't be reached ({said}); look at the network and HF_ENDPOINT, and run the same command "
            f"again{more}"
        )
    return StoreError(f"{repo}: {said}{more}")


def _of_the_network(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in CLIENTS:
            return True
        error = error.__cause__ or error.__context__
    return False


def _said(error: BaseException) -> str:
    """The last line of what the Hub or the network said."""
    inner = error
    while inner.__cause__ is not None and not hasattr(inner, "response"):
        inner = inner.__cause__
    told = getattr(getattr(inner, "response", None), "headers", {}).get("x-error-message") or str(inner)
    lines = [line for line in told.splitlines() if line.strip() and "developer.mozilla.org" not in line]
    return cut(lines[-1].strip()) if lines else type(error).__name__
