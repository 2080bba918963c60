"""Anybody's WebDataset tars, fetched into a store beside its editions, with a recipe that makes an edition of them.

    pulled/<name>/<revision>/README.md    what the recipe says of licence and classes comes from its header
    pulled/<name>/<revision>/….tar        as they lie in the repository
    pulled/<name>/<revision>/recipe.yaml  the source `webdataset` on these tars; pictures keep their own bytes

Tars are never extracted. What lies here is in no edition, and can be removed once the edition is made.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from variorum.edition.store import Store
from variorum.hub.pull_fetch import Open, Wanted, fetch, fetch_small, held, in_units, unfinished
from variorum.hub.pull_places import Place, note_secrets, on_the_hub, place_of, stored_place
from variorum.hub.pull_terms import TERMS, class_names, licence_of
from variorum.hub.pull_web import web_file
from variorum.machine.progress import QUIET, Advance, Progress
from variorum.machine.retrying import hash_content
from variorum.machine.strict_yaml import NotYaml, read_yaml
from variorum.schemas.errors import SourceError, StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.recipe import NAME, VERSION
from variorum.schemas.secrets import shown
from variorum.sources.tars.shards import find_shards

LARGEST = 4 << 20
"""Bytes of a README."""
UNKNOWN = 16 << 30
"""Bytes of a tar whose size nobody says, at most."""
MOST = 10_000
"""Names that braces stand for, at most."""
AT_ONCE = 4
PART = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\]{1,200}")
LONGEST_PART, LONGEST_PATH = 250, 1_000
"""Bytes of a file's name, and of a tar's path, that usual disks take."""
NAME_OF_RECIPE, RECIPE_BEFORE = "recipe.yaml", "recipe.before.yaml"
RECIPE = """\
# {origin}
# Edit it as the set needs it (`variorum components webdataset` lists the fields), then: variorum run {path}
"""


@dataclass(frozen=True, slots=True)
class Tar:
    """A tar to fetch: its path below the folder, how it is opened, and what is known of it."""

    path: str
    name: str
    open: Open
    size: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Tars:
    """The tars that a source names.

    Attributes:
        place: where they lie, for messages and the recipe.
        key: the folder's name: the commit, or a hash of the place.
        tars: in the order of their paths.
        about: the header of the repository's README.
    """

    place: str
    key: str
    tars: tuple[Tar, ...]
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Brought:
    """Tars that lie in the store.

    Attributes:
        recipe: the file that makes an edition of them.
        place: where they came from.
        tars: how many.
        fetched: bytes that came now.
        kept: bytes that were there already.
        licence: what the repository's card says, or `unknown`.
        classes: number of class names in the card.
    """

    recipe: Path
    place: str
    tars: int
    fetched: int
    kept: int
    licence: str
    classes: int


def find_tars(source: str, revision: str = "") -> Tars:
    """The tars that a source means: a dataset on the Hub, files in it, or URLs with braces and globs.

    Raises:
        SourceError: there are none, or one has a name that can't be a file's.
        TemporaryError: the Hub, a host or the network failed.
    """
    note_secrets(source)
    found = on_the_hub(source)
    if found:
        return _hub_tars(place_of(source, revision), found["id"], unquote(found["path"] or ""))
    if revision:
        raise SourceError(f"{shown(source)}: only a dataset on the Hub has revisions; leave --revision out")
    if "://" not in source or ".tar" not in source:
        raise SourceError(
            f"{shown(source)}: no edition lies there, and it names no tars; for tars give their URLs, "
            f"https://…/train-{{000..009}}.tar, and for tars on this machine the source `webdataset` in a recipe"
        )
    shards = find_shards((source,), "pull")
    tars = [Tar(_safe(shard.name), shard.shown, _opener(shard.place)) for shard in shards]
    _check_folders(tars)
    return Tars(shown(source), hashlib.sha256(shown(source).encode()).hexdigest()[:12], tuple(tars), {})


def _hub_tars(place: Place, repository: str, pattern: str) -> Tars:
    listed = list(place.listed()) if place.listed else []
    tars = [file for file in listed if file.path.endswith(".tar") and _means(pattern, file.path)]
    if not tars:
        endings = sorted({PurePosixPath(file.path).suffix for file in listed} - {"", ".md"})
        raise SourceError(
            f"{place.name}: no edition and no {pattern or 'tars'} there; it has "
            f"{', '.join(endings[:8]) or 'no files'}: parquet and folders of pictures are read by the source "
            f"`huggingface` in a recipe"
        )
    about = _header(place) if any(file.path == "README.md" for file in listed) else {}
    made = [
        Tar(_safe(file.path), f"{place.name}/{file.path}", place.open(file.path), file.size, file.sha256)
        for file in sorted(tars, key=lambda file: file.path)
    ]
    _check_folders(made)
    return Tars(f"hf://datasets/{repository}@{place.revision}", place.revision[:12], tuple(made), about)


def _means(pattern: str, path: str) -> bool:
    """Return whether a file is one of those that a pattern stands for; without one, and for a folder, all are."""
    if not pattern:
        return True
    from braceexpand import braceexpand

    try:
        one_of = list(islice(braceexpand(pattern), MOST + 1))
    except ValueError:
        raise SourceError(f"{cut(pattern)}: a brace has no partner") from None
    if len(one_of) > MOST:
        raise SourceError(f"{cut(pattern)}: it stands for more than {MOST} names; name a folder, or use *")
    return any(fnmatch.fnmatchcase(path, one) or path.startswith(f"{one.rstrip('/')}/") for one in one_of)


def _opener(url: str) -> Open:
    if url.startswith(("http://", "https://")):
        return web_file(url)
    folder, _, name = url.rpartition("/")
    return stored_place(folder).open(name)


def _safe(path: str) -> str:
    """The path, if a folder can hold it and nothing else. Raises SourceError."""
    parts = path.split("/")
    odd = any(not PART.fullmatch(part) or part.startswith((".", "~")) or part != part.strip() for part in parts)
    sizes = [len(part.encode(errors="surrogatepass")) for part in parts]
    if odd or max(sizes) > LONGEST_PART or sum(sizes) + len(parts) > LONGEST_PATH:
        raise SourceError(f"the tar {cut(ascii(path))} has a name that isn't kept; fetch it by hand and rename it")
    return path


def _check_folders(tars: Sequence[Tar]) -> None:
    """Raise SourceError if a tar would lie in a folder that has the name of another file."""
    files = {NAME_OF_RECIPE, RECIPE_BEFORE, *(tar.path for tar in tars)}
    for tar in tars:
        if inside := next((str(one) for one in PurePosixPath(tar.path).parents if str(one) in files), ""):
            raise SourceError(
                f"the tar {cut(ascii(tar.path))} lies in a folder with the name of another file, {cut(ascii(inside))}; "
                f"fetch it by hand and rename it"
            )


def _header(place: Place) -> Mapping[str, Any]:
    """The YAML header of a repository's README; empty if it has none that can be read."""
    with suppress(FileNotFoundError, SourceError, NotYaml, ValueError):
        lines = fetch_small(place.open("README.md"), Wanted(f"{place.name}/README.md", LARGEST)).decode().split("\n")
        if lines[0].strip() == "---":
            found = read_yaml("\n".join(lines[1 : [line.strip() for line in lines].index("---", 1)]))
            return found if isinstance(found, Mapping) else {}
    return {}


# ── into the store ───────────────────────────────────────────────────────────────────────────────────────────────────


def bring(tars: Tars, named: str, store: Store, progress: Progress = QUIET) -> Brought:
    """Fetch tars into a store and write a recipe for them. What is there already isn't fetched again.

    Args:
        tars: from `find_tars`.
        named: `name`, or `name@version`, of the edition; `""` for the repository's name.
        store: the store.
        progress: receives the bytes.

    Raises:
        SourceError: a tar isn't what the Hub says it is.
        StoreError: the store is too small.
        RecipeError: the name can't be an edition's.
        TemporaryError: the host or the network failed; the same command continues.
    """
    name, version = _named(named, tars)
    folder = store.scratch.parent / "pulled" / name / tars.key
    if store.local:
        store.make_folder(str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    missing = [tar for tar in tars.tars if not _there(folder / tar.path, tar)]
    _check_space(missing, folder, store)
    progress.start(f"fetching {len(missing)} tars", sum(tar.size or 0 for tar in missing))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(_bring_one, tar, folder, store, progress.advance) for tar in missing]
        try:
            fetched = sum(task.result() for task in tasks)
        except BaseException:
            pool.shutdown(cancel_futures=True, wait=True)
            raise
    total = sum((folder / tar.path).stat().st_size for tar in tars.tars)
    licence, classes = licence_of(tars.about), class_names(tars.about)
    path = folder / NAME_OF_RECIPE
    _put_recipe(path, _recipe(tars, name, version, folder, licence, classes))
    return Brought(path, tars.place, len(tars.tars), fetched, total - fetched, licence, len(classes))


def _named(named: str, tars: Tars) -> tuple[str, str]:
    """Name and version of the edition."""
    from variorum.schemas.errors import RecipeError

    name, _, version = named.partition("@")
    if not name:
        path = urlsplit(tars.place.partition("@")[0]).path if "://" in tars.place else tars.place
        parts = [part for part in path.split("/") if part and ".tar" not in part and part not in ("data", "resolve")]
        name = re.sub("[^a-z0-9]+", "_", parts[-1].lower()).strip("_")[:96] if parts else "pulled"
    if not NAME.fullmatch(name):
        raise RecipeError(f"--as {cut(name)}: a name has up to 96 lower-case letters, digits and underscores")
    if not VERSION.fullmatch(version or "1.0.0"):
        raise RecipeError(f"--as {cut(named)}: a version looks like 1.2.3")
    return name, version or "1.0.0"


def _there(path: Path, tar: Tar) -> bool:
    if path.is_symlink() or not path.is_file() or tar.size not in (None, path.stat().st_size):
        return False
    return tar.sha256 in ("", hash_content(path))


def _check_space(missing: Sequence[Tar], folder: Path, store: Store) -> None:
    """An edition has a copy of every picture, so a local store needs the tars' size twice."""
    needed = sum(tar.size or 0 for tar in missing) * (2 if store.local else 1)
    if missing and needed > (free := shutil.disk_usage(folder).free):
        raise StoreError(
            f"{store}: tars and edition need {in_units(needed)}, and {in_units(free)} are free; nothing was "
            f"fetched: free some, or choose another place with --store"
        )


def _bring_one(tar: Tar, folder: Path, store: Store, advance: Advance) -> int:
    """Fetch a tar to its place; returns its bytes."""
    path = folder / tar.path
    if store.local:
        store.make_folder(str(path.parent))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(store.scratch, tar.sha256 or hashlib.sha256(tar.name.encode()).hexdigest())
    with store.explained(), held(partial) as file:
        if not _there(path, tar):
            wanted = Wanted(tar.name, UNKNOWN if tar.size is None else tar.size, tar.size, tar.sha256)
            try:
                fetch(tar.open, file, wanted, advance)
            except FileNotFoundError:
                raise SourceError(f"{tar.name}: there is no such file") from None
            partial.replace(path)
        return path.stat().st_size


# ── the recipe ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _put_recipe(path: Path, text: str) -> None:
    """Write the recipe; another one that lies there, which somebody may have edited, stays beside it."""
    if path.is_symlink() or (path.exists() and path.read_text(errors="replace") != text):
        path.replace(path.with_name(RECIPE_BEFORE))
    path.write_text(text)


def _recipe(tars: Tars, name: str, version: str, folder: Path, licence: str, classes: list[str]) -> str:
    place = folder.absolute()
    every = [str(place / tar.path) for tar in tars.tars]
    alone = {*map(Path, every)} == set(place.rglob("*.tar"))  # no tars of another pattern lie there
    plain = not glob.has_magic(str(place)) and "{" not in str(place)
    shards: Any = f"{place}/**/*.tar" if alone and plain else every
    title = tars.about.get("pretty_name")
    fields = {
        "dataset": name,
        "version": version,
        "masters": "original",
        "source": {
            "name": "webdataset",
            "shards": shards,
            "licence": licence,
            **({"class_names": classes} if classes else {}),
        },
        "card": {
            "title": title if isinstance(title, str) and TERMS.fullmatch(title) else name,
            "summary": f"The pictures of {tars.place}, as they are there.",
        },
    }
    head = RECIPE.format(origin=f"Pulled from {tars.place}", path=folder / NAME_OF_RECIPE)
    return head + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=1000)
