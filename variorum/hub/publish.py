"""Publishing an edition: what is refused, what the repository will have, one commit, and a tag with the version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from variorum.edition.editions import read_beside
from variorum.edition.store import Store
from variorum.hub import checks, credentials, signatures
from variorum.hub.checks import MAIN
from variorum.hub.commit import Change, changes, commit
from variorum.hub.layout import CARD, CROISSANT, LICENCE, PAGE, SIGNATURES, SIGNED_BY_IDENTITY, Entry, in_memory, layout
from variorum.hub.published import (
    LICENSED,
    OWN_LICENCE,
    SHEET,
    asks_for_licence,
    licence_text,
    pictures,
    published_card,
    published_croissant,
    with_licence,
)
from variorum.hub.repository import BRANCH, LOG_IN, REPOSITORY, Remote, explained, hub, look, manifest_at, read
from variorum.hub.secret_bytes import needles
from variorum.hub.signatures import SIGSTORE
from variorum.machine.progress import QUIET, Progress
from variorum.reports.page.preview import preview
from variorum.schemas.errors import StoreError, TemporaryError, VersionDrift
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest, is_dev
from variorum.schemas.recipe import VERSION


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms on which an edition is published.

    Attributes:
        private: whether the repository is made private.
        gated: `auto` or `manual` if people have to ask for access; `""` leaves it as it is.
        branch: the branch; `main` has the newest version.
        replace: whether all other files in the repository are deleted, such as those of another dataset.
        checked: who found out, and how, that pictures of unknown licences may be passed on.
        positions: whether pictures may say where they were taken.
        sign: files with the private key and the certificates for content credentials; see `variorum.hub.credentials`.
        signed: the file of a key, or `sigstore`, with which the edition is signed; see `variorum.hub.signatures`.
    """

    private: bool = False
    gated: Literal["", "auto", "manual"] = ""
    branch: str = MAIN
    replace: bool = False
    checked: str = ""
    positions: bool = False
    sign: tuple[Path, Path] | None = None
    signed: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """The files that were published, or would be.

    Attributes:
        repo: `org/name`.
        url: its page.
        commit: that has the edition; `""` if it isn't published yet.
        tag: `""` for a -dev version.
        changes: of files, sorted by path.
        new: whether anything has been done, or would be.
        positions: number of pictures that say where they were taken.
        refused: of a dry run, the reasons why this can't be published, one line each.
        unasked: of a dry run, why the Hub couldn't be asked, so that its repository counts as empty; `""` if it was.
    """

    repo: str
    url: str
    commit: str
    tag: str
    changes: list[Change]
    new: bool
    positions: int = 0
    refused: tuple[str, ...] = ()
    unasked: str = ""

    def size(self, action: str) -> int:
        """Bytes of the files that are uploaded, kept or deleted."""
        return sum(change.size for change in self.changes if change.action == action)


def publish(
    manifest: Manifest,
    store: Store,
    repo: str,
    terms: Terms | None = None,
    *,
    dry_run: bool = False,
    progress: Progress = QUIET,
) -> Published:
    """Publish an edition as a dataset of the Hub: one atomic commit, and a tag with its version.

    Nothing leaves this machine before all checks have passed. Publishing the same edition again does nothing.

    Args:
        manifest: the edition.
        store: its store.
        repo: `org/name`; made if there is none.
        terms: how.
        dry_run: whether to only say what would happen, with all refusals at once. It also works without a network.
        progress: receives the bytes read and uploaded.

    Raises:
        StoreError: the edition or the repository isn't fit for it; see `variorum.hub.checks`. A dry run returns this
            and the next error as `refused`.
        VersionDrift: the version is published already with other content.
        TemporaryError: the Hub can't be reached, or has no time.
    """
    terms = terms or Terms()
    if not REPOSITORY.fullmatch(repo):
        raise StoreError(
            f"{cut(repr(repo))} is no dataset's name on the Hub; give ORG/NAME, such as my-lab/{manifest.dataset}"
        )
    if not BRANCH.fullmatch(terms.branch):
        raise StoreError(f"{cut(repr(terms.branch))} is no branch's name; use letters, digits, dots, _ and -")
    if VERSION.match(terms.branch):
        raise StoreError(f"a branch {terms.branch} would have the name of a version's tag; use v{terms.branch}")
    if terms.sign:
        credentials.signer(*terms.sign)
    api = hub()
    if not dry_run:
        refuse_no_token(repo)
    refusals = _Refusals(kept=dry_run)
    unasked, tagged, placed, entries = "", "", 0, list[Entry]()
    try:
        remote = look(api, repo, terms.branch)
    except TemporaryError as error:
        if not dry_run:
            raise
        remote, unasked = Remote(repo, terms.branch), str(error)
    closed = terms.private or bool(terms.gated) or remote.private or bool(remote.gated) or bool(unasked)
    tag = "" if is_dev(manifest.version) else manifest.version
    for why in checks.refused_terms(manifest, terms.branch, closed=closed, checked=terms.checked):
        with refusals:
            raise StoreError(why)
    with refusals:
        checks.refuse_repository(manifest, remote, replaced=terms.replace)
    with refusals:
        tagged = _tagged(api, manifest, remote, tag)
    with refusals:
        checks.refuse_damage(manifest, store, progress)
        with refusals:
            checks.refuse_quarantine(manifest, store, terms.checked)
        way = "" if dry_run and terms.signed == SIGSTORE else terms.signed
        maker = _Maker(api, manifest, store, terms, _signature(api, manifest, remote, tagged, way))
        entries = maker(remote)
        found, drawn = needles(), maker.drawn
        placed = checks.refuse_contents(
            manifest, store, entries, found, progress, drawn=drawn, positions=terms.positions
        )
    url = f"{api.endpoint}/datasets/{repo}"
    todo = changes(entries, remote, store, everything=terms.replace) if entries else []
    if refusals.found:
        return Published(repo, url, "", tag, todo, True, placed, tuple(refusals.found), unasked)
    moved_on = bool(tagged) and remote.manifest is not None and remote.manifest.digest() != manifest.digest()
    if moved_on or ((tagged or not tag) and all(change.action == "keep" for change in todo)):
        _settings(remote, terms, dry_run)
        return Published(repo, url, tagged or remote.head, tag, [] if moved_on else todo, new=False, positions=placed)
    if dry_run:
        return Published(repo, url, "", tag, todo, new=True, positions=placed, unasked=unasked)
    _prepare(remote, terms)
    message = f"{manifest.dataset} {manifest.version}, digest {manifest.digest()[:16]}"
    made, todo = commit(
        api,
        repo,
        terms.branch,
        maker,
        store,
        message=message,
        more=f"Licences checked: {terms.checked}" if terms.checked else "",
        everything=terms.replace,
        progress=progress,
    )
    if tag and not tagged:
        _tag(manifest, repo, made, tag)
    return Published(repo, url, made, tag, todo, new=True, positions=placed)


@dataclass(slots=True)
class _Refusals:
    """Collects the refusals of the blocks that it is around, without repeating one; or lets them through."""

    kept: bool
    found: list[str] = field(default_factory=list)

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not self.kept or not isinstance(error, StoreError | VersionDrift):
            return False
        if str(error) not in self.found:
            self.found.append(str(error))
        return True


@dataclass(slots=True)
class _Maker:
    """The files of the repository, given its state; raises StoreError if this edition may not go there.

    Files of the edition's folder are read once, so that what is committed is what was checked.
    """

    api: Any
    manifest: Manifest
    store: Store
    terms: Terms
    signature: Mapping[str, bytes]
    made: dict[str, Entry] | None = None
    described: bytes | None = None
    signed: dict[str, bytes] | None = None
    drawn: Mapping[str, bytes] = field(default_factory=dict)

    def __call__(self, remote: Remote) -> list[Entry]:
        checks.refuse_repository(self.manifest, remote, replaced=self.terms.replace)
        if self.made is None:
            self.made = {entry.path: entry for entry in self._first(remote.repo)}
            self.described = self.made[CROISSANT].data if CROISSANT in self.made else None
        found = dict(self.made)
        if self.described is not None:
            before = read(self.api, remote.repo, CROISSANT, remote.head) if CROISSANT in remote.files else None
            url = f"{self.api.endpoint}/datasets/{remote.repo}"
            said = published_croissant(self.described, before, url, _access(self.manifest, self.terms, remote))
            found[CROISSANT] = in_memory(CROISSANT, said)
        found |= {path: in_memory(path, data) for path, data in self._licence(remote).items()}
        found |= {path: in_memory(path, data) for path, data in self._signed(remote).items()}
        found |= {path: in_memory(path, data) for path, data in self.signature.items()}
        return [found[path] for path in sorted(found)]

    def _first(self, repo: str) -> list[Entry]:
        tested = checks.load_first(self.manifest, self.store)
        self.drawn = pictures(self.manifest, self.store) if self.manifest.warning else {}
        more = dict(self.drawn)
        if (text := read_beside(self.manifest, CARD, self.store)) is not None:
            more[PAGE], shown = preview(self.manifest, self.store)
            revision = self.terms.branch if is_dev(self.manifest.version) else self.manifest.version
            more[CARD] = published_card(text.decode(), repo, revision, self.manifest, tested, shown).encode()
        return layout(self.manifest, self.store, more)

    def _licence(self, remote: Remote) -> dict[str, bytes]:
        """`LICENSE.md` and the card that names it, where the header alone doesn't say the terms.

        Nothing if the repository has a licence of its own. One that was written here is kept up to date.
        """
        if self.made is None or (card := self.made[CARD].data) is None:
            return {}
        there = () if self.terms.replace else tuple(filter(LICENSED.fullmatch, remote.files))
        ours = LICENCE in there and (read(self.api, remote.repo, LICENCE, remote.head) or b"").startswith(OWN_LICENCE)
        other = asks_for_licence(card.decode())
        if not (ours or (other and not there)):
            return {}
        return {LICENCE: licence_text(self.manifest), **({CARD: with_licence(card.decode()).encode()} if other else {})}

    def _signed(self, remote: Remote) -> dict[str, bytes]:
        """The sidecar with content credentials: the one that is there if it holds, as each signing gives another."""
        if self.terms.sign is None:
            return {}
        there = (self.made or {}).get(SHEET)
        sheet = there.data if there else None
        if sheet and credentials.FILE in remote.files:
            before = read(self.api, remote.repo, credentials.FILE, remote.head)
            if before and credentials.holds(before, sheet, self.manifest):
                return {credentials.FILE: before}
        if self.signed is None:
            self.signed = credentials.sidecars(self.manifest, self.store, *self.terms.sign, sheet=sheet)
        return self.signed


def _signature(api: Any, manifest: Manifest, remote: Remote, tagged: str, way: str) -> dict[str, bytes]:
    """The signatures of the edition: those that are there, and a new one if that is asked for.

    Raises:
        StoreError: the key can't sign, or the tag is there without this signature.
    """
    same = remote.manifest is not None and remote.manifest.digest() == manifest.digest()
    at = tagged or (remote.head if same else "")
    there = {name: data for name in SIGNATURES if at and (data := read(api, remote.repo, name, at))}
    if not way or (way == SIGSTORE and SIGNED_BY_IDENTITY in there):  # each signing would give another one
        return there
    made = signatures.sign(manifest, way)
    if tagged and not made.items() <= there.items():
        raise StoreError(
            f"{remote.repo}: {manifest.version} is published already without this signature, and its tag never moves; "
            f"sign the next version as you publish it"
        )
    return there | made


def refuse_no_token(repo: str) -> None:
    """Raise StoreError if nobody is logged in, so that this isn't found after the work."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise StoreError(f"{repo}: there is no token of the Hub on this machine; {LOG_IN}")


def _tagged(api: Any, manifest: Manifest, remote: Remote, tag: str) -> str:
    """The commit of the version's tag, `""` if there is none. Raises VersionDrift if it has another edition."""
    if not tag or tag not in remote.tags:
        return ""
    found = manifest_at(api, remote.repo, remote.tags[tag])
    if found is None or found.digest() != manifest.digest():
        what = f"another edition (digest {found.digest()[:16]})" if found else "something else"
        raise VersionDrift(
            f"{remote.repo}: the tag {tag} has {what}, and this edition has the digest {manifest.digest()[:16]}; a "
            f"published version never changes: give this one a new version (--set version=...)"
        )
    return remote.tags[tag]


def _settings(remote: Remote, terms: Terms, dry_run: bool) -> None:
    """Make the repository private or gated, if asked for and not so yet."""
    private = True if terms.private and not remote.private else None
    gated = terms.gated if terms.gated and remote.gated != terms.gated else None
    if dry_run or (private is None and gated is None):
        return
    with explained(remote.repo):
        hub().update_repo_settings(remote.repo, repo_type="dataset", private=private, gated=gated)


def _prepare(remote: Remote, terms: Terms) -> None:
    """Make the repository and the branch, and close it before anything is in it."""
    api = hub()
    if not remote.there:
        with explained(remote.repo):
            api.create_repo(remote.repo, repo_type="dataset", private=terms.private or None, exist_ok=True)
        remote = look(api, remote.repo, terms.branch)
    _settings(remote, terms, dry_run=False)
    if terms.private or terms.gated:
        with explained(remote.repo):
            about = api.dataset_info(remote.repo)
        if (terms.private and not about.private) or (terms.gated and not about.gated):
            raise StoreError(
                f"{remote.repo}: the Hub didn't make it {'private' if terms.private else 'gated'}, so nothing is "
                f"published; do it in its settings and run the same command again"
            )
    if not remote.head:
        with explained(remote.repo):
            api.create_branch(remote.repo, branch=terms.branch, repo_type="dataset", exist_ok=True)


def _tag(manifest: Manifest, repo: str, made: str, tag: str) -> None:
    """Tag a commit. Another process may have published the same version meanwhile; then its tag counts."""
    api = hub()
    with explained(repo, done="the edition is there and lacks only its tag; the same command adds it"):
        api.create_tag(repo, tag=tag, revision=made, repo_type="dataset", exist_ok=True)
    state = look(api, repo, MAIN)
    if state.tags.get(tag) != made:
        _tagged(api, manifest, state, tag)


def _access(manifest: Manifest, terms: Terms, remote: Remote) -> str:
    """The conditions of access in a sentence; `""` if there are none."""
    if gated := terms.gated or remote.gated:
        how = "People ask for it on its page" + (", and its authors decide." if gated == "manual" else ".")
        return f"{how} Content warning: {manifest.warning}" if manifest.warning else how
    return "Only members of the organisation see it." if terms.private or remote.private else ""
