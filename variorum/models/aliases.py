"""The table of models: what stands behind an alias, its pin, its state on this machine, and the loaded model."""

from __future__ import annotations

import copy
import gc
import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from variorum.machine.cache import cache_dir
from variorum.models import download, weights
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.names import PREFIXES, meant
from variorum.models.brought.pins import BroughtModels
from variorum.models.defended import entry_of
from variorum.models.diffusion.bounds import Bounds
from variorum.models.fetching import Download, downloads
from variorum.models.gradients import no_gradients
from variorum.models.hub_files import consent
from variorum.models.known_answers import answered
from variorum.models.loaders import DEFENCES, JOINED, find_loader, split
from variorum.models.loaders.loader import Loader
from variorum.models.memory import running_out, too_large
from variorum.models.pretrained import tensors_of
from variorum.models.status import State, Status
from variorum.models.table_entries import Entry, read_table
from variorum.schemas.canonical import canonical_json
from variorum.schemas.errors import ModelUnavailable, RecipeError, UnknownName

T = TypeVar("T")
log = logging.getLogger(__name__)

MADE = "made"
"""The origin of entries that no file has: those of defended models, and of models with gradients."""
_LOADED: dict[tuple[str, str, Path], Any] = {}
_LOCK = threading.RLock()


class ModelTable:
    """The models of one profile; implements `schemas.component.Models`.

    Wherever it takes an alias it also takes the name of a brought model (`variorum.models.brought`), which has a colon.

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
        self._pins: dict[str, str] = {}
        self._keys: dict[str, tuple[str, str, Path]] = {}
        self._brought = BroughtModels()

    def with_models(self, models: Mapping[str, BroughtModel]) -> ModelTable:
        """A table that also knows these models, such as functions, by these names; this one doesn't change.

        Raises:
            RecipeError: a name is an alias, or no line of text.
        """
        if taken := sorted(set(models) & set(self._table)):
            raise RecipeError(f"{taken[0]!r} is an alias of profile {self.profile}; give your model another name")
        if wrong := [name for name in models if not name.strip() or not name.isprintable()]:
            raise RecipeError(f"the name of a model must be a line of text, not {wrong[0]!r}")
        other = copy.copy(self)
        other._table = {alias: one for alias, one in self._table.items() if one[1] != MADE}
        other._pins = {alias: pin for alias, pin in self._pins.items() if alias in other._table}
        other._keys = {alias: key for alias, key in self._keys.items() if alias in other._table}
        other._brought = BroughtModels({**self._brought.given, **models})
        return other

    def aliases(self) -> list[str]:
        """All aliases of this profile, sorted."""
        return sorted(alias for alias, (_, origin) in self._table.items() if origin != MADE)

    def _knows(self, alias: str) -> bool:
        """Return whether a name is in the table, to which a defended model is added when it is first named.

        Raises:
            RecipeError: a defence isn't understood.
        """
        if alias not in self._table:
            model, defence = split(alias)
            if not defence:
                return False
            self._table[alias] = self.wrapped(model, defence), MADE
        return True

    def wrapped(self, alias: str, defence: str) -> Entry:
        """The entry of a model behind a defence, as a table would have it.

        Args:
            alias: of the model, or the name of a brought one.
            defence: in words, such as `crossmax with=judge_gate k=2`.

        Raises:
            RecipeError: no such model or defence.
        """
        found = entry_of(alias, defence, None if self._brought.knows(alias) else self.entry(alias))
        for used in found.uses[1:]:
            if not self._brought.knows(used):
                self.entry(used)
        return found

    def steering(self, alias: str) -> str:
        """Name of the same model with gradients: the alias itself, if it gives them, or one that is made for it.

        `variorum.models.gradients.adversary` takes the model behind that name.

        Raises:
            RecipeError: no such alias, or its loader gives no gradients.
        """
        if self._brought.knows(alias) or self.role(alias) == "adversary":
            return alias
        entry = self.entry(alias)
        steers = find_loader(entry.loader).steers
        if steers is None:
            raise no_gradients(alias)
        name = f"{alias} with gradients"
        steered = (self.steering(used) if self.role(used) in (None, "classifier") else used for used in entry.uses)
        changed = {"options": {**entry.options, **steers}, "uses": tuple(steered)}
        self._table.setdefault(name, (entry.model_copy(update=changed), MADE))
        return name

    def entry(self, alias: str) -> Entry:
        """The table's entry for an alias.

        Raises:
            RecipeError: no such alias; a brought model has no entry either.
        """
        if not self._knows(alias):
            raise UnknownName(
                f"{self._no_alias(alias)}{meant(alias)}; there are: {', '.join(self.aliases())}; a model that you "
                f"bring has a prefix: {', '.join(f'{way}:' for way in PREFIXES)}"
            )
        return self._table[alias][0]

    def _no_alias(self, alias: str) -> str:
        """What is wrong with an alias that isn't in the table."""
        other = " (profile hub has it)" if self.profile != "hub" and alias in read_table("hub") else ""
        other += f" (defences are {', '.join(DEFENCES)})" if JOINED in alias else ""
        return f"no model alias {alias!r} in profile {self.profile}{other}"

    def pin(self, alias: str) -> str:
        """Pin an alias: `name@content+loader.revision`, then the options and the pins of what it uses.

        It needs neither the weights nor a network. Two aliases of one model have the same pin. It is fixed when it is
        first asked for: one table never has two pins for an alias, even if somebody changes local weights.

        Raises:
            ModelUnavailable: a repository without a commit, or local weights that don't exist or can't be read; a
                brought model that can't be had.
        """
        if self._brought.knows(alias):
            return self._brought.pin(alias)
        if alias not in self._pins:
            self._pins.setdefault(alias, self._pin(alias))
        return self._pins[alias]

    def _pin(self, alias: str) -> str:
        """The pin of an alias as its weights are now."""
        entry = self.entry(alias)
        if entry.needs_commit:
            raise ModelUnavailable(f"model {alias!r} ({entry.location}) is unpinned: {weights.pin_command(alias)}")
        if entry.local and not weights.local_path(entry.local).exists():
            raise ModelUnavailable(self.status(alias).problem)
        pin = f"{entry.name}@{weights.content_pin(entry)}+{entry.loader}.{find_loader(entry.loader).revision}"
        if entry.options:
            pin += f";{canonical_json(entry.options).decode()}"
        hidden = {one for one in entry.uses if self._brought.knows(one) or split(one)[1]}  # a name may have a path
        return pin + "".join(f";{'brought' if used in hidden else used}={self.pin(used)}" for used in entry.uses)

    def role(self, alias: str) -> str | None:
        """`classifier`, `encoder` or `adversary` for a model that is one, `""` for any other; None for a brought model.

        Raises:
            RecipeError: no such alias.
        """
        if self._brought.knows(alias):
            return None
        return self._of_options(alias, lambda loader, options: loader.role(options), None)

    def unfit(
        self, alias: str, *, guidance: float, steps: int, negative: bool = False, image_guidance: float = 1
    ) -> str:
        """Say what a diffusion model takes in place of these settings, in a line; `""` if they suit it.

        A model that isn't in the table takes any.
        """
        if self._brought.knows(alias) or not self._knows(alias):
            return ""
        bounds = self._of_options(alias, lambda loader, options: loader.bounds(options), Bounds())
        found = bounds.unfit(guidance=guidance, steps=steps, negative=negative, image_guidance=image_guidance)
        return found and f"the model {alias!r} ({self.entry(alias).name}) {found}"

    def _of_options(self, alias: str, ask: Callable[[Loader, Any], T], default: T) -> T:
        """What an entry's options say; the default for invalid ones, which `check` reports."""
        entry = self.entry(alias)
        loader = find_loader(entry.loader)
        try:
            return ask(loader, loader.options.model_validate(entry.options))
        except ValidationError:
            return default

    def get(self, alias: str) -> Any:
        """The model behind an alias. Each model is loaded once per process, for all aliases and tables.

        Damaged weights are fetched again, with a warning. What was verified is what is loaded.

        Raises:
            RecipeError: no such alias.
            ModelUnavailable: the model isn't ready; the message says what to do.
            TemporaryError: the disk failed, or somebody changed the weights while they were loaded.
        """
        if self._brought.knows(alias):
            return self._brought.get(alias)
        entry = self.entry(alias)
        key = self._key(alias)
        with _LOCK:
            if key not in _LOADED:
                status = self._mended(alias, {})
                if status.state != "ready":
                    raise ModelUnavailable(status.problem)
                used = {name: self.get(name) for name in entry.uses}
                with running_out(f"model {alias!r} ({entry.name}) doesn't fit"):
                    _LOADED[key] = self._load(alias, entry, used)
            return _LOADED[key]

    def get_as(self, alias: str, dtype: Literal["float32", "float16", "bfloat16"], **options: Any) -> Any:
        """The model behind an alias, in a floating-point type and with options of its loader changed. It isn't kept.

        It is for comparisons: what it makes has no pin. Errors are those of `get`.
        """
        entry = self.entry(alias)
        entry = entry.model_copy(update={"dtype": dtype, "options": {**entry.options, **options}})
        used = {name: self.get_as(name, dtype) for name in entry.uses}
        with running_out(f"model {alias!r} ({entry.name}) in {dtype} doesn't fit"):
            return self._load(alias, entry, used)

    def unload(self, alias: str) -> None:
        """Forget the loaded model behind an alias and those that it uses, and give their memory back."""
        import torch

        with _LOCK:
            for name in (alias, *self.entry(alias).uses):
                _LOADED.pop(self._keys.get(name, ("", "", self.cache)), None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self, alias: str, entry: Entry, used: Mapping[str, Any]) -> Any:
        path = weights.locate(entry, self.cache)
        if path is None:
            return find_loader(entry.loader).load(entry, None, used)
        with weights.untouched(path):
            self._refuse_changed(alias, entry, path)
            return find_loader(entry.loader).load(entry, path, used)

    def _refuse_changed(self, alias: str, entry: Entry, path: Path) -> None:
        """Raise ModelUnavailable unless the weights at this path are those of the pin."""
        if weights.damaged(entry, path):
            raise ModelUnavailable(self.status(alias).problem)
        if self._pin(alias) != self.pin(alias):
            raise ModelUnavailable(
                f"model {alias!r}: {path} has changed since this run took its pin; put it back, or start again"
            )

    def read_weights(self, alias: str, read: Callable[[Path], T]) -> T:
        """Return the result of `read` on the file or folder with an alias's weights, which are verified first.

        Raises:
            RecipeError: no such alias.
            ModelUnavailable: the weights aren't here or aren't the pinned ones, or there is no file of them.
            TemporaryError: somebody changed them while they were read.
        """
        if self._brought.knows(alias):
            return self._brought.read_weights(alias, read)
        entry = self.entry(alias)
        status = self._mended(alias, {})
        if status.state != "ready":
            raise ModelUnavailable(status.problem)
        path = weights.locate(entry, self.cache)
        if path is None:
            raise ModelUnavailable(f"model {alias!r} ({entry.name}) is a method without weights; name another model")
        with weights.untouched(path):
            self._refuse_changed(alias, entry, path)
            return read(path)

    def licence(self, alias: str) -> str:
        """The licence of an alias's weights, `unknown` for a brought model. Raises RecipeError for no such alias."""
        return "unknown" if self._brought.knows(alias) else self.entry(alias).licence

    def trained_on(self, alias: str) -> tuple[tuple[str, ...], str]:
        """Classes and data that a model was trained on, as far as its table or, for a brought one, its classes say."""
        if self._brought.knows(alias):
            return tuple(getattr(self.get(alias), "classes", ())), ""
        entry = self.entry(alias)
        return tuple(entry.options.get("classes", ())), entry.trained_on

    def check(self, aliases: Iterable[str]) -> None:
        """Check before work begins that all of these models can be loaded; loads none.

        Damaged weights are fetched again, with a warning.

        Args:
            aliases: of the models; as a mapping, with the pictures per call of each.

        Raises:
            RecipeError: no such alias.
            ModelUnavailable: one line per model that isn't ready, or wants more GPU memory than is free.
        """
        batches = aliases if isinstance(aliases, Mapping) else {}
        failed: dict[Path, str] = {}
        named = sorted(set(aliases))
        with _LOCK:
            statuses = [self._mended(alias, failed) for alias in named if not self._brought.knows(alias)]
        problems = [status.problem for status in statuses if status.state != "ready"]
        problems += self._brought.problems([name for name in named if self._brought.knows(name)])
        if problems := problems or too_large(self._to_load([status.alias for status in statuses]), batches):
            raise ModelUnavailable("\n".join(problems))

    def _mended(self, alias: str, failed: dict[Path, str]) -> Status:
        """State of an alias, after fetching damaged weights again. `failed` says why some can't be fetched now."""
        status = self.status(alias)
        if status.state != "corrupt":
            return status
        entry = self.entry(alias)
        path = weights.locate(entry, self.cache)
        if path and not entry.packaged and weights.damaged(entry, path):
            if path not in failed:
                log.warning("model %r: %s is damaged and is fetched again", alias, path)
                try:
                    download.fetch(entry, self.cache)
                except ModelUnavailable as error:
                    failed[path] = str(error)
            if path in failed:
                way_out = f"{path} is damaged, and can't be fetched now ({failed[path]}); {self._command(alias)}"
                return replace(status, way_out=way_out)
        for used in entry.uses:
            other = self._mended(used, failed)
            if other.state != "ready":
                return replace(status, state=other.state, way_out=f"it uses {used!r}: {other.way_out}")
        return self.status(alias)

    def _to_load(self, aliases: Iterable[str]) -> dict[str, Entry]:
        """Entries of these aliases and of the models that they use: each model once, without the loaded ones."""
        found: dict[str, Entry] = {}
        for alias in aliases:
            if self._brought.knows(alias):
                continue
            entry = self.entry(alias)
            if self._key(alias) not in _LOADED and entry not in found.values():
                found |= {alias: entry, **self._to_load(entry.uses)}
        return found

    def _key(self, alias: str) -> tuple[str, str, Path]:
        if alias not in self._keys:
            identity = canonical_json(self.entry(alias).identity()).decode()
            self._keys[alias] = identity, self.pin(alias), self.cache.absolute()
        return self._keys[alias]

    def _command(self, alias: str) -> str:
        profile = "" if self.profile == "embedded" else f" --profile {self.profile}"
        entry = self.entry(alias)
        needs = ", which needs npm (apt-get install npm)" if entry.npm and not shutil.which("npm") else ""
        if entry.gated and (place := entry.hub_repo or entry.hub_file):
            needs = f"; it is gated: {consent(place.repo)}"
        return f"fetch it with `variorum doctor {alias} --fetch{profile}`{needs}"

    def fetch(self, alias: str) -> Path | None:
        """Download the weights of an alias and of the models that it uses.

        Raises:
            ModelUnavailable: the download failed.
        """
        if self._brought.knows(alias):
            return self._brought.fetch(alias)
        entry = self.entry(alias)
        for used in entry.uses:
            self.fetch(used)
        return download.fetch(entry, self.cache)

    def fetch_missing(self, aliases: Iterable[str]) -> bool:
        """Download those of these models that are missing, small and under an open licence, with a line for each.

        After a failure, which is a line too, nothing more is tried: the next would mostly fail alike.

        Returns:
            Whether anything was downloaded.
        """
        fetched = False
        for alias in dict.fromkeys(aliases):
            if self._brought.knows(alias) or not self._knows(alias) or self.status(alias).state != "missing":
                continue
            used = [self.entry(name) for name in self.with_used([alias]) if not self._brought.knows(name)]
            missing = [entry for entry in used if entry.has_weights and not self._here(entry)]
            if not all(entry.fetched_on_use for entry in missing):
                continue
            size = sum({entry.location: entry.size for entry in missing}.values()) / 1e6
            log.warning("fetching the model %s (%.0f MB, %s)", alias, size, self.licence(alias))
            try:
                self.fetch(alias)
            except ModelUnavailable as error:
                log.warning("it can't be fetched now: %s", error)
                break
            fetched = True
        return fetched

    def with_used(self, aliases: Iterable[str]) -> tuple[str, ...]:
        """These models and those that they use, each once: a model before those that it uses."""
        found = list[str]()
        for alias in aliases:
            found += [alias, *(() if self._brought.knows(alias) else self.with_used(self.entry(alias).uses))]
        return tuple(dict.fromkeys(found))

    def downloads(self, aliases: Iterable[str]) -> list[Download]:
        """What is to be downloaded for these models and for those that they use. Works offline."""
        found = [alias for alias in self.with_used(aliases) if not self._brought.knows(alias)]
        entries = [(alias, self.entry(alias)) for alias in found if not self.entry(alias).needs_commit]
        return downloads([(alias, entry) for alias, entry in entries if not self._whole(entry)], self.cache)

    def _whole(self, entry: Entry) -> bool:
        """Whether weights are here, and aren't known to be damaged."""
        path = weights.locate(entry, self.cache)
        return path is not None and not weights.damaged(entry, path)

    def own(self, alias: str) -> bool:
        """Return whether an alias's entry is of the profile's own table or of the user's, not of `embedded`'s for hub.

        Raises:
            RecipeError: no such alias.
        """
        self.entry(alias)
        return self.profile == "embedded" or self._table[alias][1] != "embedded"

    def _here(self, entry: Entry) -> bool:
        return weights.locate(entry, self.cache) is not None

    def lock(self, aliases: Iterable[str], api: Any = None) -> dict[str, str]:
        """Look up missing commits of repositories, write them to the lock file and use them from now on.

        Args:
            aliases: those that have a commit already aren't changed, nor brought models.
            api: anything with `model_info(repo)`; by default huggingface_hub's `HfApi`.

        Returns:
            Why no commit was found, by alias.
        """
        named = [alias for alias in aliases if not self._brought.knows(alias)]
        unpinned = {alias: self.entry(alias) for alias in named if self.entry(alias).needs_commit}
        problems = download.find_commits(unpinned, api) if unpinned else {}
        self._table = read_table(self.profile)
        self._pins.clear()
        self._keys.clear()
        return problems

    def why_unavailable(self, alias: str) -> str:
        """Why a model can't be had here, in a line; `""` if it can. Loads and fetches nothing."""
        try:
            if not self._brought.knows(alias) and not self._knows(alias):
                return self._no_alias(alias)
            found = self.status(alias)
        except RecipeError as error:
            return str(error).partition("\n")[0].partition("; ")[0]
        return "" if found.state == "ready" else found.problem

    def status(self, alias: str, *, thorough: bool = False) -> Status:
        """State of an alias on this machine; works offline.

        Args:
            alias: of the model.
            thorough: read all weights in full; else by the rule of `variorum.models.content`.

        Raises:
            RecipeError: no such alias.
        """
        if self._brought.knows(alias):
            return self._brought.status(alias)
        state, way_out = self._state(alias, thorough)
        entry, table = self._table[alias]
        return Status(alias, entry.name, table, entry.location, entry.licence, entry.size, state, way_out)

    def _state(self, alias: str, thorough: bool) -> tuple[State, str]:
        entry = self.entry(alias)
        if entry.needs_commit:
            return "unpinned", weights.pin_command(alias)
        if problem := _problem(entry):
            return "unavailable", problem
        try:
            path = weights.locate(entry, self.cache)
            names = weights.damaged(entry, path, thorough=thorough) if path else []
            for file in (path, *path.rglob("*")) if path and entry.local else ():
                if file.suffix == ".safetensors" and file.is_file():
                    tensors_of(file)  # which says that it is cut off
        except ModelUnavailable as error:
            return "unavailable", str(error)
        if path is None and entry.local:
            return "unavailable", f"{entry.local.path} doesn't exist; put it there or change the table"
        if path is None and entry.has_weights:
            return "missing", "reinstall variorum" if entry.packaged else self._command(alias)
        if names:
            again = "reinstall variorum" if entry.packaged else self._command(alias)
            inside = f" ({', '.join(names)})" if entry.hub_repo or entry.npm else ""
            return "corrupt", f"{path}{inside} is damaged: it isn't what the table pins; {again}"
        for used in entry.uses:  # last, as `fetch` of a model includes what it uses
            other = self.status(used, thorough=thorough)
            if other.state != "ready":
                return other.state, f"it uses {used!r}: {other.way_out}"
        return "ready", ""


def doctor(table: ModelTable, aliases: Iterable[str] | None = None) -> list[Status]:
    """State of these aliases, by default all of the profile, with all weights hashed; works offline."""
    found = [table.status(alias, thorough=True) for alias in (table.aliases() if aliases is None else aliases)]
    return [
        replace(one, answered=True) if one.state == "ready" and answered(table.pin(one.alias), table.cache) else one
        for one in found
    ]


def _problem(entry: Entry) -> str:
    """Why this entry can't run here."""
    try:
        return find_loader(entry.loader).problem(entry)
    except ModelUnavailable as error:
        return str(error)
