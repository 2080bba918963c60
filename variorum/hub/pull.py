"""Pulling an edition: manifest first, then the files that it names, by hash; it is sealed last.

Everything that comes is somebody else's. The manifest is parsed strictly, an object counts only with the hash and the
size that the manifest names, tables and shards are compared with each other before the edition is sealed, and what lies
beside it is written here, from the manifest. Until then the store has objects that nothing refers to, no half edition.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections.abc import Mapping, Set
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass

from variorum.edition.editions import beside, check_version, files_of, read_manifest, seal
from variorum.edition.pulled import Pulled, put_pulled, read_pulled
from variorum.edition.records import BadRecord, parse, to_json
from variorum.edition.store import Store
from variorum.edition.verify import verify_files
from variorum.hub import known_signers, signatures
from variorum.hub.layout import MANIFEST, SIGNATURES, objects
from variorum.hub.pull_beside import write_beside_pulled
from variorum.hub.pull_fetch import Open, Wanted, fetch, fetch_small, held, in_units, unfinished
from variorum.hub.pull_places import Place, on_the_hub, place_of
from variorum.hub.signatures import Signer, check_digest
from variorum.machine.progress import QUIET, Advance, Progress
from variorum.schemas.errors import SourceError, StoreError, VersionDrift
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest, ShardInfo
from variorum.schemas.recipe import VERSION

log = logging.getLogger(__name__)

LARGEST = 64 << 20
"""Bytes of a manifest; one of half a million files has as many."""
AT_ONCE = 4
"""Files that are fetched at the same time."""
TRIED = 4
"""Names under which a file is looked for; all of a published edition's are there."""
SPARE = 64 << 20
"""Bytes that must stay free."""
MARK = "pulling.json"
"""The manifest beside its place while its files are fetched, so that `gc` leaves them."""
IN_A_STORE = re.compile(r"(?P<store>.+)/editions/[a-z0-9_]+/[0-9][0-9a-z.-]*")


@dataclass(frozen=True, slots=True)
class Got:
    """An edition that was pulled.

    Attributes:
        manifest: the edition.
        place: where it came from.
        fetched: bytes that came now.
        kept: bytes of its files that were in the store already.
        without: tables of its ledger that weren't published.
        card: where the card's text comes from: `author` or `manifest`.
        signed_by: who signed it; `""` if nobody did, or nobody that could be checked.
        origin: for what the signer is remembered.
        known: whether that signer was remembered before.
    """

    manifest: Manifest
    place: Place
    fetched: int
    kept: int
    without: int
    card: str
    signed_by: str = ""
    origin: str = ""
    known: bool = False


def edition_at(source: str, revision: str = "") -> tuple[Manifest, Place] | None:
    """The edition that a source names, and its place; None if tars are named, or no edition lies there.

    Raises:
        SourceError: there is no such place, or its manifest isn't one.
        TemporaryError: the host or the network failed.
    """
    hub = on_the_hub(source)
    if (hub and hub["path"]) or (not hub and "://" in source and ".tar" in source):
        return None
    place = place_of(source, revision)
    manifest = read_published(place)
    return (manifest, place) if manifest else None


def read_published(place: Place) -> Manifest | None:
    """The manifest of the edition that lies in a place; None if there is no edition.

    Raises:
        SourceError: it is no manifest of an edition, or of another version than its tag says.
        TemporaryError: the host or the network failed.
    """
    name = f"{place.name}/{MANIFEST}"
    try:
        data = fetch_small(place.open(MANIFEST), Wanted(name, LARGEST))
    except FileNotFoundError:
        return None
    try:
        manifest = parse(data, Manifest)
    except BadRecord as error:
        if b'"fingerprint"' not in data:  # some other tool's file of this name
            return None
        raise SourceError(f"{name}: {error}") from None
    if VERSION.fullmatch(place.tag.partition("-r")[0]) and place.tag != manifest.version:
        raise SourceError(
            f"{place.name}: the tag {place.tag} has the manifest of {manifest.dataset}@{manifest.version}; a tag and "
            f"its version are the same where this project published, so ask the author"
        )
    return manifest


def pull(
    source: str,
    manifest: Manifest,
    place: Place,
    store: Store,
    progress: Progress = QUIET,
    *,
    digest: str = "",
    signer: Signer | None = None,
    unsigned: bool = False,
) -> Got:
    """Bring an edition into a store. What is there already isn't fetched again, so the same command continues.

    Args:
        source: the place as the user gave it.
        manifest: from `read_published`.
        place: from `place_of`.
        store: the edition's new store.
        progress: receives the bytes.
        digest: the one that the edition must have, from a trusted source.
        signer: who must have signed it, and is remembered for what comes from there later.
        unsigned: whether it may be unsigned though earlier ones were signed.

    Raises:
        SourceError: a file is missing there, is another one, or doesn't fit the rest; or it isn't signed as it must
            be, or as earlier ones were.
        VersionDrift: the store has another edition of this name and version.
        StoreError: the store can't be written, or is too small.
        TemporaryError: the host or the network failed; the same command continues.
    """
    name = f"{manifest.dataset}@{manifest.version}"
    check_digest(manifest, digest)
    here = _check_here(manifest, place, store)
    origin, before = known_signers.origin(place, manifest), here and read_pulled(here, store)
    signed_by, signature = _check_signature(manifest, place, signer, known_signers.known(origin))
    earlier = known_signers.settle(origin, signed_by, replace=bool(signer))
    same = before and before.signed_by == signed_by  # it is here already, and nothing else comes now
    if earlier not in ("", signed_by) and not same and not (signer if signed_by else unsigned):
        raise SourceError(_another_signer(origin, earlier, name, signed_by))
    wanted = {info.sha256 + suffix: (info, suffix) for info, suffix in files_of(manifest)}
    there = store.sound(wanted.values(), progress)
    missing = {file: wanted[file] for file in wanted if file not in there}
    _check_space(missing, store)
    if here is None:
        store.put(beside(manifest, MARK), to_json(manifest))
    places = _places(source, manifest, place)
    due = sum(info.size for file, (info, _) in missing.items() if file in places)
    if missing:
        progress.start(f"fetching {name}", due)
    todo = {file: (*pair, places.get(file, {})) for file, pair in missing.items()}
    ledger = {info.sha256 for info in manifest.ledger.tables()} if manifest.ledger else set()
    absent = _fetch_all(todo, store, place.name, ledger, progress.advance)
    if here is None:
        came = Pulled(place=place.name, revision=place.revision, tag=place.tag, without=sorted(absent))
        put_pulled(manifest, came, store)
    progress.start("checking", sum(info.size for info, _ in wanted.values() if info.sha256 not in absent))
    if problems := verify_files(manifest, store, progress.advance):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SourceError(f"{place.name}: {cut(problems[0])}{more}; nothing was sealed")
    card = "author"
    if known := read_pulled(manifest, store):
        card = write_beside_pulled(manifest, place, store)
        if signature or here is None:
            signatures.keep(manifest, signature, store)
            put_pulled(manifest, known.model_copy(update={"signed_by": signed_by}), store)
    seal(manifest, store)
    with suppress(FileNotFoundError):
        store.fs.rm_file(f"{store.root}/{beside(manifest, MARK)}")
    fetched = sum(info.size for info, _ in missing.values() if info.sha256 not in absent)
    kept = sum(info.size for info, _ in wanted.values()) - sum(info.size for info, _ in missing.values())
    return Got(manifest, place, fetched, kept, len(absent), card, signed_by, origin, earlier == signed_by)


def _another_signer(origin: str, earlier: str, name: str, who: str) -> str:
    """Say that an edition isn't signed by whom the first one from there was, and what to do."""
    if who:
        option = "--signed-by FILE.pub" if who.startswith("key ") else "--signed-by ADDRESS --issuer URL"
        more = f"compare {who} with what its author says elsewhere, and if that is the same, accept it with {option}"
    else:
        more = "ask its author why; variorum pull --unsigned takes it all the same"
    return (
        f"{origin}: what was pulled from there was signed by {earlier} so far, and {name} is "
        f"{f'signed by {who}' if who else 'unsigned'}; nothing was stored: {more}"
    )


def _check_signature(
    manifest: Manifest, place: Place, signer: Signer | None, known: str
) -> tuple[str, dict[str, bytes]]:
    """Who signed the edition, and the signatures that were checked."""
    there: dict[str, bytes] = {}
    for name in SIGNATURES:
        with suppress(FileNotFoundError):
            there[name] = fetch_small(place.open(name), Wanted(f"{place.name}/{name}", signatures.LARGEST))
    try:
        signed_by, file = signatures.signer_of(there, manifest, signer, known)
    except SourceError as error:
        raise SourceError(f"{error}; nothing was sealed") from None
    except signatures.Unchecked as error:
        if signer or known:
            raise
        log.warning("the signature of %s@%s isn't checked: %s", manifest.dataset, manifest.version, error)
        return "", {}
    return signed_by, {file: there[file]} if file else {}


def _check_here(manifest: Manifest, place: Place, store: Store) -> Manifest | None:
    """The same edition in the store, if it is there. Raises VersionDrift for another one of its name and version."""
    there = read_manifest(manifest.dataset, manifest.version, store)
    before = read_pulled(manifest, store)
    at, same_place = (
        place.name.partition("@")[0],
        before and before.place.partition("@")[0] == place.name.partition("@")[0],
    )
    moved = ""
    if before and same_place and place.tag == before.tag == manifest.version and place.revision != before.revision:
        moved = f"the tag {place.tag} has moved from the commit {before.revision[:12]} to {place.revision[:12]}"
    if there is None or there.digest() == manifest.digest():
        if moved:
            log.warning("%s: %s since it was pulled; the edition there is still the same", at, moved)
        return there
    if manifest.version.endswith("-dev") and read_pulled(there, store):
        check_version(manifest.dataset, manifest.version, manifest.fingerprint, store)
        return None  # a -dev version may move, and nobody has worked on this one here
    if before and same_place:
        raise VersionDrift(
            f"{at}: {moved or 'the edition there has changed'} since it was pulled, and the digest from "
            f"{there.digest()[:12]} to {manifest.digest()[:12]}; a published version never changes, so ask its author; "
            f"to look at the new one, pull it into a store of its own: --store OTHER"
        )
    raise VersionDrift(
        f"{manifest.dataset}@{manifest.version} is in {store} with the digest {there.digest()[:12]}, and the one to "
        f"pull has {manifest.digest()[:12]}; a name is part of its edition's digest, so pull it into a store of its "
        f"own: --store OTHER"
    )


def _check_space(missing: Mapping[str, tuple[ShardInfo, str]], store: Store) -> None:
    if not store.local or not missing:
        return
    needed, free = sum(info.size for info, _ in missing.values()), shutil.disk_usage(store.local).free
    if needed + SPARE > free:
        raise StoreError(
            f"{store}: {in_units(needed)} are to be fetched, {in_units(free)} are free, and {in_units(SPARE)} must "
            "stay free; nothing was fetched: free some, or choose another place with --store"
        )


def _places(source: str, manifest: Manifest, place: Place) -> dict[str, dict[str, Open]]:
    """By object, how it can be opened, by the name for messages: in the published layout, or in a store."""
    found: dict[str, dict[str, Open]] = {}
    for path, (info, suffix) in objects(manifest).items():
        names = found.setdefault(info.sha256 + suffix, {})
        if len(names) < TRIED:
            names[f"{place.name}/{path}"] = place.open(path)
    above = IN_A_STORE.fullmatch(source.rstrip("/"))
    if above:
        root = place_of(above["store"])
        for info, suffix in files_of(manifest):
            path = f"objects/{info.sha256}{suffix}"
            found.setdefault(info.sha256 + suffix, {})[f"{root.name}/{path}"] = root.open(path)
    return found


def _fetch_all(
    files: Mapping[str, tuple[ShardInfo, str, Mapping[str, Open]]],
    store: Store,
    place: str,
    optional: Set[str],
    advance: Advance,
) -> set[str]:
    """Fetch objects, several at a time; returns the sha256 of those that aren't there. The first error ends it.

    Raises:
        SourceError: one isn't there that isn't among the sha256 in `optional`.
    """
    stopped = threading.Event()
    store.make_folder(str(store.scratch)) if store.local else store.scratch.mkdir(parents=True, exist_ok=True)

    def counted(step: int) -> None:
        if stopped.is_set():
            raise InterruptedError("another file has failed")
        advance(step)

    def one(info: ShardInfo, suffix: str, openers: Mapping[str, Open]) -> bool:
        if stopped.is_set():
            raise InterruptedError("another file has failed")
        found = _fetch_one(info, suffix, openers, store, counted)
        if not found and info.sha256 not in optional:
            stopped.set()
            raise SourceError(f"{place}: it lacks the file {info.sha256[:12]}…{suffix}, which its manifest names")
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks: dict[Future[bool], str] = {pool.submit(one, *file): file[0].sha256 for file in files.values()}
        try:
            done, waiting = wait(tasks, return_when=FIRST_EXCEPTION)
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True, wait=False)
            raise
        if waiting:
            stopped.set()
            pool.shutdown(cancel_futures=True)
        if failed := [error for task in done if (error := task.exception())]:
            raise min(failed, key=lambda error: isinstance(error, InterruptedError))  # of those, another is the cause
    return {sha256 for task, sha256 in tasks.items() if not task.result()}


def _fetch_one(info: ShardInfo, suffix: str, openers: Mapping[str, Open], store: Store, advance: Advance) -> bool:
    """Fetch an object from the first place that has it; returns whether one has."""
    with store.explained():
        partial = unfinished(store.scratch, info.sha256 + suffix)
        for name, open_at in openers.items():
            with held(partial) as file:
                if store.sound([(info, suffix)], check=False):  # another process has fetched it meanwhile
                    partial.unlink(missing_ok=True)
                    advance(info.size)
                    return True
                try:
                    fetch(open_at, file, Wanted(name, info.size, info.size, info.sha256), advance)
                except FileNotFoundError:
                    continue
                with store.temporary(suffix) as path:
                    partial.replace(path)
                    store.keep(path, sha256=info.sha256, samples=info.samples)
                return True
        partial.unlink(missing_ok=True)
    return False
