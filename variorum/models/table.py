"""The table of models: aliases to loaded models, to pins, and to a report of what is here and what isn't."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from schemas.canonical import canonical_json
from schemas.component import explain
from schemas.errors import ModelUnavailable, RecipeError
from variorum.cache import cache_dir
from variorum.models import weights
from variorum.models.entries import Entry, read_table
from variorum.models.lock import find_commits
from variorum.models.memory import running_out, too_large

State = Literal["ready", "missing", "unpinned", "corrupt", "unavailable"]

_LOADED: dict[tuple[str, Path], Any] = {}
_LOCK = threading.RLock()


@dataclass(frozen=True, slots=True)
class Status:
    """One line of the doctor's report.

    Attributes:
        alias: what recipes call it.
        name: what people call the weights.
        table: `embedded`, `hub`, or the path of the user's own table; for the hub profile, `embedded` means that
            the hub table doesn't name this alias.
        where: the place of the weights.
        licence: of the weights.
        size: bytes to fetch, 0 for a method without weights.
        state: `ready`; `missing` can be fetched; `unpinned` has no commit of its repository yet; `corrupt` is on disk
            but isn't what the table pins; `unavailable` can't run on this machine.
        way_out: what to do about it; empty when ready.
    """

    alias: str
    name: str
    table: str
    where: str
    licence: str
    size: int
    state: State
    way_out: str

    @property
    def problem(self) -> str:
        """State and way out as one line, for an error."""
        return f"model {self.alias!r} ({self.where}) is {self.state}: {self.way_out}"


class ModelTable:
    """The models of one profile; implements `schemas.component.Models`.

    Args:
        profile: `embedded` or `hub`.
        cache: where weights are kept; the machine's cache when None.

    Raises:
        RecipeError: for an unknown profile or a wrong table.
    """

    def __init__(self, profile: str, cache: Path | None = None) -> None:
        self.profile = profile
        self.cache = cache or cache_dir()
        self._table = read_table(profile)

    def aliases(self) -> list[str]:
        """Every alias of this profile, sorted."""
        return sorted(self._table)

    def entry(self, alias: str) -> Entry:
        """What the table says of an alias. Raises RecipeError for one that there isn't."""
        if alias not in self._table:
            other = " (profile hub has it)" if self.profile != "hub" and alias in read_table("hub") else ""
            raise RecipeError(
                f"no model alias {alias!r} in profile {self.profile}{other}; there are: {', '.join(self.aliases())}"
            )
        return self._table[alias][0]

    def pin(self, alias: str) -> str:
        """What the alias stands for: `name@content+loader.revision`, then its options and the pins of what it uses.

        Needs neither the weights nor a network. Two aliases of one model have one pin.

        Raises:
            ModelUnavailable: when the table leaves the commit open and the lock file has none, or local weights are
                gone.
        """
        entry = self.entry(alias)
        if _is_open(entry):
            raise ModelUnavailable(f"model {alias!r} ({entry.where}) is unpinned: {weights.PIN}")
        pin = f"{entry.name}@{weights.content_pin(entry)}+{entry.loader}.{_loader(entry).REVISION}"
        if entry.options:
            pin += f";{canonical_json(entry.options).decode()}"
        return pin + "".join(f";{used}={self.pin(used)}" for used in entry.uses)

    def get(self, alias: str) -> Any:
        """The model behind an alias, loaded once per process, whichever alias or table asked first.

        Raises:
            RecipeError: when there is no such alias.
            ModelUnavailable: when it can't be had, with the way out.
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
                    _LOADED[key] = _loader(entry).load(entry, weights.locate(entry, self.cache), used)
            return _LOADED[key]

    def check(self, aliases: Iterable[str]) -> None:
        """Whether all of these models can be had here, asked before work begins; none is loaded.

        Raises:
            RecipeError: when there is no such alias.
            ModelUnavailable: with a line for each that isn't ready, or else that wants more GPU memory than is free.
        """
        statuses = [self.status(alias) for alias in sorted(set(aliases))]
        problems = [status.problem for status in statuses if status.state != "ready"]
        if problems := problems or too_large(self._to_load([status.alias for status in statuses])):
            raise ModelUnavailable("\n".join(problems))

    def _to_load(self, aliases: Iterable[str]) -> dict[str, Entry]:
        """Entries of these aliases and of all that they use, one of each model, but for what is loaded already."""
        found: dict[str, Entry] = {}
        for alias in aliases:
            entry = self.entry(alias)
            if self._key(entry) not in _LOADED and entry not in found.values():
                found |= {alias: entry, **self._to_load(entry.uses)}
        return found

    def _key(self, entry: Entry) -> tuple[str, Path]:
        return canonical_json(entry.identity()).decode(), self.cache.absolute()

    def fetch(self, alias: str) -> Path | None:
        """Bring an alias's weights to this machine, and those of the models that it uses. Raises ModelUnavailable."""
        entry = self.entry(alias)
        for used in entry.uses:
            self.fetch(used)
        return weights.fetch(entry, self.cache)

    def lock(self, aliases: Iterable[str], api: Any = None) -> dict[str, str]:
        """Find the commits that the table leaves open, note them in the lock file and use them from now on.

        Args:
            aliases: which ones; those that are pinned already stay as they are.
            api: huggingface_hub's `HfApi`, or what answers `model_info(repo)` like it.

        Returns:
            What is in the way, for each alias that stays open.
        """
        open_ones = {alias: self.entry(alias) for alias in aliases if _is_open(self.entry(alias))}
        problems = find_commits(open_ones, api) if open_ones else {}
        self._table = read_table(self.profile)
        return problems

    def status(self, alias: str, *, thorough: bool = False) -> Status:
        """What an alias needs to work here; offline, and it raises for nothing but an unknown alias.

        Args:
            alias: of the model.
            thorough: read all weights to compare their hashes; else those of files that didn't change are remembered.
        """
        state, way_out = self._state(alias, thorough)
        entry, table = self._table[alias]
        return Status(alias, entry.name, table, entry.where, entry.licence, entry.size, state, way_out)

    def _state(self, alias: str, thorough: bool) -> tuple[State, str]:
        entry = self.entry(alias)
        profile = "" if self.profile == "embedded" else f" --profile {self.profile}"
        fetch = f"variorum doctor {alias} --fetch{profile}"
        if _is_open(entry):
            return "unpinned", weights.PIN
        if problem := _problem(entry):
            return "unavailable", problem
        path = weights.locate(entry, self.cache)
        if path is None and entry.local:
            return "unavailable", f"{entry.local.path} doesn't exist; put it there or change the table"
        if path is None and entry.where != "no weights":
            return "missing", "reinstall variorum" if entry.packaged else f"fetch it with `{fetch}`"
        if path is not None and not weights.intact(entry, path, remembered=not thorough):
            again = "reinstall variorum" if entry.packaged else f"fetch it again with `{fetch}`"
            return "corrupt", f"{path} isn't what the table pins; {again}"
        for used in entry.uses:  # last, as fetching a model fetches what it uses
            other = self.status(used, thorough=thorough)
            if other.state != "ready":
                return other.state, f"it uses {used!r}: {other.way_out}"
        return "ready", ""


def doctor(table: ModelTable, aliases: Iterable[str] | None = None) -> list[Status]:
    """The state of these aliases, or of every one of a profile, checked to the byte; offline."""
    return [table.status(alias, thorough=True) for alias in (table.aliases() if aliases is None else aliases)]


def weights_of(pin: str) -> str:
    """The part of a pin that names the weights, whatever they are run with."""
    return pin.partition("+")[0]


def refuse_filters(judges: Mapping[str, str], filters: Iterable[str]) -> None:
    """Refuse judges that had a say in what they are to judge: an edition that a model filtered flatters that model.

    Args:
        judges: alias to pin of the models that an evaluation asks for.
        filters: pins of the models that decided what was accepted (`Manifest.filters`).

    Raises:
        RecipeError: naming each alias and the pin that it shares weights with, whatever the options.
    """
    known = {weights_of(pin): pin for pin in filters}
    shared = [f"{alias!r} is {known[weights_of(pin)]}" for alias, pin in judges.items() if weights_of(pin) in known]
    if shared:
        raise RecipeError(
            f"a model that decided what was accepted can't judge the result: {'; '.join(shared)}; "
            "name other classifiers in the evaluation"
        )


def _problem(entry: Entry) -> str:
    """What keeps the entry from running here, and be it that its loader doesn't know it or its options."""
    try:
        loader = _loader(entry)
    except ModelUnavailable as error:
        return str(error)
    try:
        if hasattr(loader, "Options"):
            loader.Options.model_validate(entry.options)
    except ValidationError as error:
        return explain(error, "options", loader.Options)
    return str(loader.problem(entry))


def _is_open(entry: Entry) -> bool:
    return entry.hub_repo is not None and entry.hub_repo.revision is None


def _loader(entry: Entry) -> Any:
    try:
        return importlib.import_module(f"variorum.models.loaders.{entry.loader}")
    except ModuleNotFoundError as error:
        raise ModelUnavailable(f"no loader named {entry.loader!r} in variorum/models/loaders/ ({error})") from None
