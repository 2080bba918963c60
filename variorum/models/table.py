"""The table of models: what stands behind an alias, its pin, its state on this machine, and the loaded model."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from variorum.machine.cache import cache_dir
from variorum.models import download, weights
from variorum.models.loaders import find_loader
from variorum.models.memory import running_out, too_large
from variorum.models.table_entries import Entry, read_table
from variorum.schemas.canonical import canonical_json
from variorum.schemas.errors import ModelUnavailable, RecipeError

State = Literal["ready", "missing", "unpinned", "corrupt", "unavailable"]

_LOADED: dict[tuple[str, Path], Any] = {}
_LOCK = threading.RLock()


@dataclass(frozen=True, slots=True)
class Status:
    """State of one alias on this machine.

    Attributes:
        alias: name in recipes.
        name: usual name of the weights.
        table: `embedded`, `hub`, or the path of the user's own table. In the hub profile, `embedded` means that the hub
            table doesn't name this alias.
        location: where the weights are.
        licence: of the weights.
        size: bytes to download, 0 for a method without weights.
        state: `ready`; `missing` can be downloaded; `unpinned` has no commit of its repository yet; `corrupt` differs
            from what the table pins; `unavailable` can't run on this machine.
        way_out: what to do about it; empty if ready.
    """

    alias: str
    name: str
    table: str
    location: str
    licence: str
    size: int
    state: State
    way_out: str

    @property
    def problem(self) -> str:
        """State and way out in one line, for an error."""
        return f"model {self.alias!r} ({self.location}) is {self.state}: {self.way_out}"


class ModelTable:
    """The models of one profile; implements `schemas.component.Models`.

    Args:
        profile: `embedded` or `hub`.
        cache: folder for weights; by default the machine's cache.

    Raises:
        RecipeError: unknown profile or invalid table.
    """

    def __init__(self, profile: str, cache: Path | None = None) -> None:
        self.profile = profile
        self.cache = cache or cache_dir()
        self._table = read_table(profile)

    def aliases(self) -> list[str]:
        """All aliases of this profile, sorted."""
        return sorted(self._table)

    def entry(self, alias: str) -> Entry:
        """The table's entry for an alias.

        Raises:
            RecipeError: no such alias.
        """
        if alias not in self._table:
            other = " (profile hub has it)" if self.profile != "hub" and alias in read_table("hub") else ""
            raise RecipeError(
                f"no model alias {alias!r} in profile {self.profile}{other}; there are: {', '.join(self.aliases())}"
            )
        return self._table[alias][0]

    def pin(self, alias: str) -> str:
        """What an alias stands for: `name@content+loader.revision`, then the options and the pins of what it uses.

        It needs neither the weights nor a network. Two aliases of one model have the same pin.

        Raises:
            ModelUnavailable: a repository without a commit, or local weights that don't exist.
        """
        entry = self.entry(alias)
        if entry.needs_commit:
            raise ModelUnavailable(f"model {alias!r} ({entry.location}) is unpinned: {weights.PIN}")
        pin = f"{entry.name}@{weights.content_pin(entry)}+{entry.loader}.{find_loader(entry.loader).revision}"
        if entry.options:
            pin += f";{canonical_json(entry.options).decode()}"
        return pin + "".join(f";{used}={self.pin(used)}" for used in entry.uses)

    def get(self, alias: str) -> Any:
        """The model behind an alias. Each model is loaded once per process, for all aliases and tables.

        Raises:
            RecipeError: no such alias.
            ModelUnavailable: the model isn't ready; the message says what to do.
        """
        entry = self.entry(alias)
        key = self._key(entry)
        with _LOCK:
            if key not in _LOADED:
                status = self.status(alias)
                if status.state != "ready":
                    raise ModelUnavailable(status.problem)
                used = {name: self.get(name) for name in entry.uses}
                with running_out(f"model {alias!r} ({entry.name}) doesn't fit"):
                    _LOADED[key] = find_loader(entry.loader).load(entry, weights.locate(entry, self.cache), used)
            return _LOADED[key]

    def check(self, aliases: Iterable[str]) -> None:
        """Check before work begins that all of these models can be loaded; loads none.

        Raises:
            RecipeError: no such alias.
            ModelUnavailable: one line per model that isn't ready, or wants more GPU memory than is free.
        """
        statuses = [self.status(alias) for alias in sorted(set(aliases))]
        problems = [status.problem for status in statuses if status.state != "ready"]
        if problems := problems or too_large(self._to_load([status.alias for status in statuses])):
            raise ModelUnavailable("\n".join(problems))

    def _to_load(self, aliases: Iterable[str]) -> dict[str, Entry]:
        """Entries of these aliases and of the models that they use: each model once, without the loaded ones."""
        found: dict[str, Entry] = {}
        for alias in aliases:
            entry = self.entry(alias)
            if self._key(entry) not in _LOADED and entry not in found.values():
                found |= {alias: entry, **self._to_load(entry.uses)}
        return found

    def _key(self, entry: Entry) -> tuple[str, Path]:
        return canonical_json(entry.identity()).decode(), self.cache.absolute()

    def fetch(self, alias: str) -> Path | None:
        """Download the weights of an alias and of the models that it uses.

        Raises:
            ModelUnavailable: the download failed.
        """
        entry = self.entry(alias)
        for used in entry.uses:
            self.fetch(used)
        return download.fetch(entry, self.cache)

    def lock(self, aliases: Iterable[str], api: Any = None) -> dict[str, str]:
        """Look up missing commits of repositories, write them to the lock file and use them from now on.

        Args:
            aliases: those that have a commit already aren't changed.
            api: anything with `model_info(repo)`; by default huggingface_hub's `HfApi`.

        Returns:
            Why no commit was found, by alias.
        """
        unpinned = {alias: self.entry(alias) for alias in aliases if self.entry(alias).needs_commit}
        problems = download.find_commits(unpinned, api) if unpinned else {}
        self._table = read_table(self.profile)
        return problems

    def status(self, alias: str, *, thorough: bool = False) -> Status:
        """State of an alias on this machine; works offline.

        Args:
            alias: of the model.
            thorough: hash all weights; else reuse the cached hashes of unchanged files.

        Raises:
            RecipeError: no such alias.
        """
        state, way_out = self._state(alias, thorough)
        entry, table = self._table[alias]
        return Status(alias, entry.name, table, entry.location, entry.licence, entry.size, state, way_out)

    def _state(self, alias: str, thorough: bool) -> tuple[State, str]:
        entry = self.entry(alias)
        profile = "" if self.profile == "embedded" else f" --profile {self.profile}"
        fetch = f"variorum doctor {alias} --fetch{profile}"
        if entry.needs_commit:
            return "unpinned", weights.PIN
        if problem := _problem(entry):
            return "unavailable", problem
        path = weights.locate(entry, self.cache)
        if path is None and entry.local:
            return "unavailable", f"{entry.local.path} doesn't exist; put it there or change the table"
        if path is None and entry.has_weights:
            return "missing", "reinstall variorum" if entry.packaged else f"fetch it with `{fetch}`"
        if path is not None and not weights.intact(entry, path, remembered=not thorough):
            again = "reinstall variorum" if entry.packaged else f"fetch it again with `{fetch}`"
            return "corrupt", f"{path} isn't what the table pins; {again}"
        for used in entry.uses:  # last, as `fetch` of a model includes what it uses
            other = self.status(used, thorough=thorough)
            if other.state != "ready":
                return other.state, f"it uses {used!r}: {other.way_out}"
        return "ready", ""


def doctor(table: ModelTable, aliases: Iterable[str] | None = None) -> list[Status]:
    """State of these aliases, by default all of the profile, with all weights hashed; works offline."""
    return [table.status(alias, thorough=True) for alias in (table.aliases() if aliases is None else aliases)]


def weights_of(pin: str) -> str:
    """The part of a pin that names the weights, without loader and options."""
    return pin.partition("+")[0]


def refuse_filters(judges: Mapping[str, str], filters: Iterable[str]) -> None:
    """Refuse judges whose weights filtered the edition: the edition would flatter them.

    Args:
        judges: alias to pin, of the models that an evaluation asks for.
        filters: pins of the models that decided what was accepted (`Manifest.filters`).

    Raises:
        RecipeError: names each alias and the filter with the same weights; options don't matter.
    """
    known = {weights_of(pin): pin for pin in filters}
    shared = [f"{alias!r} is {known[weights_of(pin)]}" for alias, pin in judges.items() if weights_of(pin) in known]
    if shared:
        raise RecipeError(
            f"a model that decided what was accepted can't judge the result: {'; '.join(shared)}; "
            "name other classifiers in the evaluation"
        )


def _problem(entry: Entry) -> str:
    """Why this entry can't run here."""
    try:
        return find_loader(entry.loader).problem(entry)
    except ModelUnavailable as error:
        return str(error)
