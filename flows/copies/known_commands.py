"""The commands about known pictures: known says whether pictures are on a list, blocklist makes a list."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variorum.flows import terminal
from variorum.flows.endings import KNOWN
from variorum.flows.options import AsJson, FormerPlace, StoreUrl, examples, place_to_write

if TYPE_CHECKING:
    from variorum.curation.copies.known import Match
    from variorum.curation.copies.known_index import KnownIndex
    from variorum.curation.copies.parts import Part
    from variorum.kit.copies.file_hashes import Looked
    from variorum.machine.progress import Progress

PANEL = "Inspect and manage editions"
commands = typer.Typer()

LARGEST = 8 << 30
"""Bytes of a list from a web server."""
SHOWN = 40
"""Rows of the table; `--json` has all."""


def _shipped(incomplete: str) -> list[str]:
    from variorum.kit.copies.shipped import shipped_lists

    return [name for name in shipped_lists() if name.startswith(incomplete)]


@commands.command(
    epilog=examples(
        "variorum known photos/",
        "variorum known new.jpg --blocklist fashion_mnist_test --blocklist lists/imagenet_val.parquet --fail",
        "variorum known photos/ --blocklist https://example.org/coco_val.parquet",
        "variorum known --index seen --edition street@1.0.0 --folder archive/",
        "variorum known inbox/ --index seen --json",
    )
)
def known(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Pictures, or folders of pictures.")
    ] = None,
    blocklists: Annotated[
        list[str] | None,
        typer.Option(
            "--blocklist",
            metavar="NAME|FILE|URL",
            help="A list of hashes: one that comes with the project, a file, or an address, which is fetched once. May "
            "be repeated.",
            autocompletion=_shipped,
        ),
    ] = None,
    editions: Annotated[
        list[str] | None,
        typer.Option(
            "--edition", metavar="EDITION", help="An edition that was curated with duplicates. May be repeated."
        ),
    ] = None,
    folders: Annotated[
        list[Path] | None, typer.Option("--folder", metavar="FOLDER", help="A folder of pictures. May be repeated.")
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", metavar="FOLDER", help="Look in this index, after adding what it lacks of the others."),
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail", help=f"Exit with code {KNOWN} if a picture is known or can't be read.")
    ] = False,
    store: StoreUrl = "store",
    as_json: AsJson = False,
) -> None:
    """Say which pictures are on lists of hashes, in editions or in folders: the same, or copies that look the same.

    Copies are found if they were encoded anew, resized, turned or mirrored, and not if they were cropped. Without
    another option the lists that come with the project are used. docs/guides/known_pictures.md has rates and limits;
    `variorum blocklist` makes a list.
    """
    from variorum.curation.copies.known import look_up
    from variorum.curation.copies.known_index import KnownIndex
    from variorum.kit.copies.file_hashes import look_at
    from variorum.kit.copies.shipped import shipped_lists

    given = [*(blocklists or ()), *(editions or ()), *(folders or ())]
    if not paths and index is None:
        raise typer.BadParameter("is missing; give pictures or folders, or an index to add to", param_hint="PATH")
    asked = [pair for path in paths or () for pair in _files(path).items()]
    with terminal.progress() as progress:
        if index is None:
            parts = _parts(blocklists or ([] if given else list(shipped_lists())), editions or [], store)
            parts += [part for folder in folders or () for part in _folder(folder, progress)]
        else:
            opened = KnownIndex(index, make=bool(given))
            _add(opened, blocklists or [], editions or [], folders or [], store, progress)
            parts = opened.parts()
        found: list[tuple[Looked, list[Match]]] = []
        if asked:
            progress.start("looking up pictures", len(asked))
        for looked in look_at(asked):
            pairs = zip(looked, look_up(looked, parts), strict=True)
            found += [(one, matches) for one, matches in pairs if matches or one.problem or one.flat]
            progress.advance(len(looked))
    _say(found, len(asked), parts, as_json)
    if fail and any(matches or one.problem for one, matches in found):
        raise typer.Exit(KNOWN)


@commands.command(
    epilog=examples(
        "variorum blocklist ./imagenet/val --to lists/imagenet_val.parquet --title 'ImageNet-1k, validation'",
        "variorum blocklist real_clothes --embedding --to lists/train.parquet",
        "variorum curate imagenet_g --set 'curate.leakage.against=[lists/train.parquet]'",
    )
)
def blocklist(
    pictures: Annotated[
        str,
        typer.Argument(
            metavar="EDITION|FOLDER",
            help="An edition that was curated with duplicates, or a folder of pictures, such as ./photos.",
        ),
    ],
    former: FormerPlace = None,
    store: StoreUrl = "store",
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Parquet file to write.")] = None,
    title: Annotated[
        str, typer.Option("--title", help="The set of pictures and its version, to be read by others.")
    ] = "",
    licence: Annotated[str, typer.Option("--licence", help="Licence of the pictures, likewise.")] = "",
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Leave out the hashes of looks, for pictures of people; only the same pixels are found."
        ),
    ] = False,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Include embeddings; of an edition that has features.")
    ] = False,
) -> None:
    """Write the hashes of pictures as a list, without pictures, names and labels, for others to check their data with.

    `known` and `leakage` read it. It says of itself the title, the licence and the number of pictures.
    """
    from variorum.kit.copies.blocklists import LONGEST

    for option, text in (("--title", title), ("--licence", licence)):
        if len(text) > LONGEST:
            raise typer.BadParameter(f"{option}: {LONGEST} characters at most")
    file = place_to_write(to, former)
    is_folder = Path(pictures).is_dir() and (os.sep in pictures or pictures in (".", ".."))
    write = _list_of_folder if is_folder else _list_of_edition
    if is_folder and embedding:
        raise typer.BadParameter("--embedding: a folder has no embeddings; curate it, and name the edition")
    data, number, what = write(pictures, store, title, licence, exact, embedding)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    terminal.say(f"{file}: {number:,} pictures of {what}; sha256 {hashlib.sha256(data).hexdigest()}")


def _list_of_edition(
    name: str, store: str, title: str, licence: str, exact: bool, embedding: bool
) -> tuple[bytes, int, str]:
    from variorum.edition.editions import resolve
    from variorum.edition.ledgers import read_ledger
    from variorum.edition.opening import existing
    from variorum.kit.copies.blocklists import blocklist as hashes
    from variorum.schemas.errors import StoreError
    from variorum.stages.score import curated_table

    try:
        where = existing(store)
        manifest = resolve(name, where)
    except StoreError as error:
        if not Path(name).is_dir():
            raise
        raise StoreError(f"{error}; for the folder write ./{name}") from None
    steps = ("features", "duplicates") if embedding else ("duplicates",)
    table = curated_table(manifest, read_ledger(manifest, where, None)[1], steps, where)
    about = _about(title or f"{manifest.dataset}@{manifest.version}", len(table), licence)
    return hashes(table, embedding=embedding, exact=exact, about=about), len(table), about.title


def _list_of_folder(
    folder: str, _store: str, title: str, licence: str, exact: bool, _embedding: bool
) -> tuple[bytes, int, str]:
    from variorum.kit.copies.blocklists import list_bytes
    from variorum.kit.copies.file_hashes import look_at
    from variorum.schemas.errors import SourceError

    files = _files(Path(folder))
    looked = []
    with terminal.progress() as progress:
        progress.start("hashing pictures", len(files))
        for some in look_at(files.items()):
            looked += some
            progress.advance(len(some))
    for one in looked:
        if one.problem:
            terminal.say(f"left out: {one.name}: {one.problem}", err=True)
    pictures = {(one.sha256, one.pixels): one for one in looked if one.pixels}
    if not pictures:
        raise SourceError(f"{folder}: no picture that can be decoded")
    about = _about(title or Path(folder).resolve().name, len(pictures), licence)
    return list_bytes(list(pictures.values()), exact=exact, about=about), len(pictures), about.title


def _about(title: str, pictures: int, licence: str) -> Any:
    from variorum import __version__
    from variorum.kit.copies.blocklists import LONGEST, ListAbout

    return ListAbout(title=title[:LONGEST], pictures=pictures, licence=licence, made_by=f"variorum {__version__}")


def _files(path: Path) -> dict[str, Path]:
    """A picture, or those below a folder, by the name that is shown.

    Raises:
        SourceError: there is no such file, or the folder can't be listed.
    """
    from variorum.machine.retrying import printable, why
    from variorum.schemas.errors import SourceError
    from variorum.sources.folders.folder import EXTENSIONS
    from variorum.sources.folders.listing import key_of, list_files

    if not path.exists():
        way = "; to make a list: variorum blocklist FOLDER --to FILE" if str(path) == "make" else ""
        raise SourceError(f"{printable(path)}: no such file or folder{way}")
    if not path.is_dir():
        return {key_of(str(path)): path}
    try:
        listing = list_files(path, lambda name: Path(name).suffix.lower() in EXTENSIONS)
    except OSError as error:
        raise SourceError(f"{printable(path)} can't be listed: {why(error)}") from None
    for line in listing.left_out():
        terminal.say(line, err=True)
    return {key_of(str(path / name)): path / name for name in sorted(listing.files)}


def _parts(blocklists: list[str], editions: list[str], store: str) -> list[Part]:
    from variorum.curation.copies.known import list_part

    return [list_part(path) for path in _lists(blocklists)] + [_edition(one, store) for one in editions]


def _lists(blocklists: list[str]) -> list[Path]:
    """The files of the lists. Raises SourceError for two of one name, or one that isn't there or is no list."""
    from variorum.kit.copies.blocklists import Blocklist, ListAbout
    from variorum.kit.copies.shipped import is_url, list_path
    from variorum.schemas.errors import SourceError

    paths = list(dict.fromkeys(_fetched(one) if is_url(one) else list_path(one) for one in blocklists))
    names = [path.stem for path in paths]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise SourceError(f"two blocklists have the name {twice}; rename a file")
    for path in paths:
        Blocklist.columns(path)
        if about := ListAbout.read(path):
            parts = (
                about.title,
                f"{about.pictures:,} pictures",
                about.licence,
                about.made_by and f"by {about.made_by}",
            )
            terminal.say(f"{path.stem}: {', '.join(filter(None, parts))}", err=True)
    return paths


def _fetched(url: str) -> Path:
    """The file of the cache with a list from a web server, fetched if it isn't there.

    Raises:
        SourceError: the server refuses, or has something else than a list there.
        TemporaryError: it can't be reached.
    """
    from variorum.hub.pull_fetch import Wanted, fetch
    from variorum.hub.pull_web import web_file
    from variorum.kit.copies.blocklists import Blocklist
    from variorum.kit.copies.shipped import fetched_path
    from variorum.schemas.errors import SourceError
    from variorum.schemas.secrets import shown

    path = fetched_path(url)
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with part.open("w+b") as file:
            sha256 = fetch(web_file(url), file, Wanted(shown(url), LARGEST))
        Blocklist.columns(part)
        part.replace(path)
    except FileNotFoundError:
        raise SourceError(f"{shown(url)}: no such file") from None
    finally:
        part.unlink(missing_ok=True)
    terminal.say(f"{shown(url)} is kept as {path} (sha256 {sha256}); delete it to fetch it again", err=True)
    return path


def _folder(folder: Path, progress: Progress) -> list[Part]:
    from variorum.curation.copies.known import folder_part
    from variorum.kit.copies.file_hashes import look_at

    files = _files(folder)
    progress.start("hashing pictures", len(files))
    looked = []
    for some in look_at(files.items()):
        looked += [one for one in some if one.sha256]
        progress.advance(len(some))
    return [folder_part(str(folder), looked)]


def _edition(name: str, store: str, known_in: KnownIndex | None = None) -> Any:
    """An edition's hashes; None if an index has them."""
    from variorum.curation.copies.known import edition_part
    from variorum.curation.copies.parts import About
    from variorum.edition.editions import resolve
    from variorum.edition.ledgers import read_ledger
    from variorum.edition.opening import existing
    from variorum.stages.score import curated_table

    where = existing(store)
    manifest = resolve(name, where)
    name, digest = f"{manifest.dataset}@{manifest.version}", manifest.digest()
    if known_in and known_in.has(About(kind="edition", name=name, content=digest, pictures=0)):
        return None
    ledger = read_ledger(manifest, where, None)[1]
    return edition_part(name, digest, curated_table(manifest, ledger, ("duplicates",), where))


def _add(
    index: KnownIndex, blocklists: list[str], editions: list[str], folders: list[Path], store: str, progress: Progress
) -> None:
    """Add to an index what it lacks; what is wrong with a list, an edition or a folder is said before any is added."""
    from variorum.curation.copies.known import list_part
    from variorum.curation.copies.parts import About
    from variorum.machine.retrying import hash_content

    paths = _lists(blocklists)
    listed = {str(folder.resolve()): _files(folder.resolve()) for folder in folders}
    for one in editions:
        if (part := _edition(one, store, index)) is not None:
            index.add(part)
    for path in paths:
        about = About(kind="list", name=path.stem, content=hash_content(path), pictures=0)
        if not index.has(about) and index.add(list_part(path)):
            terminal.say(f"{path.stem}: takes the place of another list of this name", err=True)
    for folder, files in listed.items():
        number, bad = index.add_folder(folder, files, progress)
        terminal.say(f"{folder}: {number} new pictures of {len(files)}", err=True)
        for looked in bad:
            terminal.say(f"{looked.name}: {looked.problem}", err=True)


def _say(found: list[tuple[Looked, list[Match]]], asked: int, parts: list[Part], as_json: bool) -> None:
    """Print what there is to say of `asked` pictures."""
    sets: dict[tuple[str, str], int] = {}
    for part in parts:
        key = (part.about.kind, part.about.name)
        sets[key] = sets.get(key, 0) + part.about.pictures
    hits = [(one, matches) for one, matches in found if matches]
    bad = [one for one, _ in found if one.problem]
    flat = [one.name for one, matches in found if one.flat and not matches]
    if as_json:
        terminal.print_json(
            {
                "pictures": asked,
                "known": [{"picture": one.name, "in": [_record(match) for match in matches]} for one, matches in hits],
                "unreadable": [{"picture": one.name, "why": one.problem} for one in bad],
                "flat": flat,
                "looked_in": [{"kind": kind, "name": name, "pictures": n} for (kind, name), n in sets.items()],
            }
        )
        return
    if hits:
        rows = [
            (one.name, match.about.name, _evidence(match), match.id)
            for one, matches in hits[:SHOWN]
            for match in matches
        ]
        terminal.print_table(("picture", "known from", "evidence", "as"), rows)
    if len(hits) > SHOWN:
        terminal.say(f"and {len(hits) - SHOWN:,} more known pictures; --json lists all")
    for one in bad:
        terminal.say(f"{one.name}: {one.problem}", err=True)
    if flat:
        terminal.say(f"{len(flat):,} with too little to see for copies to be found, only the same pixels", err=True)
    if asked:
        terminal.say(f"{len(hits):,} of {asked:,} pictures are known; looked in {_sets(sets)}")
    else:
        terminal.print_table(
            ("known", "kind", "pictures"), [(name, kind, f"{n:,}") for (kind, name), n in sets.items()]
        )


def _record(match: Match) -> dict[str, Any]:
    return {
        "kind": match.about.kind,
        "name": match.about.name,
        "layer": match.layer,
        "distance": match.distance,
        "id": match.id,
    }


def _evidence(match: Match) -> str:
    return f"{match.distance} bits of 256 differ" if match.layer == "hash" else f"same {match.layer}"


def _sets(sets: dict[tuple[str, str], int]) -> str:
    names = ", ".join(name for _, name in list(sets)[:6])
    return f"{sum(sets.values()):,} pictures of {names}{', …' if len(sets) > 6 else ''}"
