"""One atomic commit that turns a branch of a repository into an edition.

The commit is made on a pinned parent: if somebody else's commit has come in between, the Hub refuses it, and the
changes are worked out anew. Nothing is visible before the commit, and what was uploaded before is not sent again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from variorum.edition.store import Store
from variorum.hub.layout import OURS, Entry
from variorum.hub.repository import Remote, explained, files_at, look, status_of
from variorum.machine.progress import QUIET, Progress
from variorum.schemas.errors import CorruptShard, StoreError, TemporaryError

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

Action = Literal["upload", "copy", "keep", "delete"]
"""`copy` is for a file whose content the repository has under another name; it isn't sent again."""
BATCH = 8
"""Files that are uploaded at a time; an error says how many batches are finished."""
ATTEMPTS = 5
"""Commits that are tried when others commit to the same branch."""
KEPT = (".gitattributes", ".gitignore")
"""Files of the Hub and of git that are never deleted."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one file of a repository."""

    path: str
    action: Action
    size: int
    """Bytes; of a file that is deleted, those of the old one."""
    entry: Entry | None = None
    source: str = ""
    """For a copy, the path that has the content."""


Plan = Callable[[Remote], list[Entry]]
"""The files that a branch shall have, given its state; raises an error if it may not have them."""


def changes(entries: Sequence[Entry], remote: Remote, store: Store, *, everything: bool = False) -> list[Change]:
    """List the changes that turn a branch into these files, sorted by path.

    Args:
        entries: the files.
        remote: the branch.
        store: has the objects.
        everything: whether files of others are deleted, too.
    """
    found = []
    known = {file.sha256: path for path, file in remote.files.items() if file.sha256}
    for entry in entries:
        there = remote.files.get(entry.path)
        if there is not None and there.same(_content(entry, store, there.sha256), entry.sha256, entry.size):
            found.append(Change(entry.path, "keep", entry.size, entry))
        else:
            source = known.get(entry.sha256, "")
            found.append(Change(entry.path, "copy" if source else "upload", entry.size, entry, source))
    wanted = {entry.path for entry in entries}
    for path, file in remote.files.items():
        if path not in wanted and path not in KEPT and (everything or OURS.fullmatch(path)):
            found.append(Change(path, "delete", file.size))
    return sorted(found, key=lambda change: change.path)


def _content(entry: Entry, store: Store, sha256: str) -> bytes | Path:
    """The content to compare, which isn't fetched where the hash is known."""
    if entry.data is not None or sha256:
        return entry.data or b""
    return entry.local(store) or b""


def commit(
    api: HfApi,
    repo: str,
    branch: str,
    plan: Plan,
    store: Store,
    *,
    message: str,
    more: str = "",
    everything: bool = False,
    progress: Progress = QUIET,
) -> tuple[str, list[Change]]:
    """Commit until it succeeds on the newest parent; the commit, and what it changed.

    Args:
        api: the Hub's client.
        repo: `org/name`, which exists.
        branch: the branch, which exists.
        plan: gives the files, given the branch's state.
        store: has the objects.
        message: the first line of the commit's message.
        more: the rest of it.
        everything: whether files of others are deleted, too.
        progress: receives the bytes uploaded.

    Raises:
        StoreError: the Hub refuses it, or what is there afterwards isn't what was sent.
        TemporaryError: the Hub can't be reached, or others commit again and again.
        CorruptShard: a file changed while it was read.
    """
    sent: set[str] = set()
    for _ in range(ATTEMPTS):
        remote = look(api, repo, branch)
        entries = plan(remote)
        todo = changes(entries, remote, store, everything=everything)
        if all(change.action == "keep" for change in todo):
            return remote.head, todo
        operations = upload(api, repo, branch, todo, store, sent, progress)
        try:
            made = _send(api, repo, branch, operations, todo, remote.head, (message, more))
        except _Moved:
            continue
        _check(api, repo, made, entries)
        return made, todo
    raise TemporaryError(
        f"{repo}: others committed to {branch} {ATTEMPTS} times meanwhile; what is uploaded stays there: run the same "
        f"command again later"
    )


def upload(
    api: HfApi,
    repo: str,
    branch: str,
    todo: Sequence[Change],
    store: Store,
    sent: set[str],
    progress: Progress = QUIET,
) -> list[CommitOperationAdd]:
    """Upload the big files that the Hub doesn't have, and return the operations that add files.

    A file is hashed right before it is uploaded and may not change until that is done.

    Args:
        api: the Hub's client.
        repo: `org/name`.
        branch: the branch that the commit will be made to.
        todo: the changes.
        store: has the objects.
        sent: sha256 of files that this process has uploaded; added to.
        progress: receives the bytes.
    """
    from huggingface_hub import CommitOperationAdd

    wanted = [change.entry for change in todo if change.action == "upload" and change.entry]
    total, found = sum(entry.size for entry in wanted), list[CommitOperationAdd]()
    progress.start("uploading", total)
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        places = [entry.local(store) for entry in batch]
        before = [_state(place) for place in places]
        operations = []
        for entry, place in zip(batch, places, strict=True):
            operation = CommitOperationAdd(entry.path, entry.data if entry.data is not None else str(place))
            if operation.upload_info.sha256.hex() != entry.sha256:
                raise _changed(entry)
            operations.append(operation)
        done = _done(start, len(wanted), sum(entry.size for entry in wanted[:start]))
        try:
            with explained(repo, done=done):
                api.preupload_lfs_files(
                    repo, additions=operations, repo_type="dataset", revision=branch, free_memory=False
                )
        finally:  # the Hub refuses content that changed while it was sent, and the reason lies here
            for entry, place, state in zip(batch, places, before, strict=True):
                if _state(place) != state:
                    raise _changed(entry)
        for entry in batch:
            if entry.sha256 not in sent:
                sent.add(entry.sha256)
                progress.advance(entry.size)
        found += operations
    return found


def _done(number: int, of: int, size: int) -> str:
    return (
        f"at least {number} of {of} files, {size / 1e6:.1f} MB, are uploaded and nothing is visible yet; the same "
        f"command continues from there"
    )


def _state(place: Path | None) -> tuple[int, ...]:
    if place is None or not place.exists():
        return ()
    status = os.stat(place)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _changed(entry: Entry) -> CorruptShard:
    return CorruptShard(
        f"{entry.path}: the file changed on disk after it was checked; nothing of it is published: run "
        f"`variorum verify`, and the recipe again to mend it"
    )


class _Moved(Exception):
    """Somebody else has committed to the branch."""


def _send(
    api: HfApi,
    repo: str,
    branch: str,
    operations: Iterable[CommitOperationAdd],
    todo: Sequence[Change],
    parent: str,
    message: tuple[str, str],
) -> str:
    from huggingface_hub import CommitOperationCopy, CommitOperationDelete

    gone = [CommitOperationDelete(change.path, is_folder=False) for change in todo if change.action == "delete"]
    copies = [
        CommitOperationCopy(change.source, change.path, src_revision=parent)
        for change in todo
        if change.action == "copy"
    ]
    every: list[Any] = [*operations, *copies, *gone]
    with explained(repo, done="all files are uploaded and nothing is visible yet", passing=(_Moved,)):
        try:
            made = api.create_commit(
                repo,
                every,
                commit_message=message[0],
                commit_description=message[1],
                repo_type="dataset",
                revision=branch,
                parent_commit=parent,
            )
        except Exception as error:
            if status_of(error) in (409, 412):
                raise _Moved from error
            raise
    return str(made.oid)


def _check(api: HfApi, repo: str, commit: str, entries: Sequence[Entry]) -> None:
    """Raise StoreError if a commit lacks a file, for instance one that a `.gitignore` of the repository leaves out."""
    there = files_at(api, repo, commit)
    for entry in entries:
        file = there.get(entry.path)
        if file is None or file.size != entry.size or (file.sha256 and file.sha256 != entry.sha256):
            what = "isn't in" if file is None else "is another file in"
            raise StoreError(
                f"{repo}: {entry.path} {what} the commit {commit[:12]}, so it gets no tag; look whether a .gitignore "
                f"there leaves it out"
            )
