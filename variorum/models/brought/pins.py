"""The brought models of a model table: pins, states, and the loaded models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from variorum.models.brought.found import Found, NotFetched, pin_of
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.names import is_brought, load, look_up
from variorum.models.defended import called
from variorum.models.memory import running_out
from variorum.models.status import State, Status
from variorum.models.weights import untouched
from variorum.schemas.errors import ModelUnavailable

T = TypeVar("T")
_LOADED: dict[tuple[str, str], BroughtModel] = {}
"""By name and pin; each model is loaded once per process."""
_LOCK = threading.RLock()


class BroughtModels:
    """The brought models of a table.

    Args:
        given: models that are already loaded, such as functions, by name.
    """

    def __init__(self, given: Mapping[str, BroughtModel] | None = None) -> None:
        self.given = dict(given or {})
        self._found: dict[str, Found] = {}
        self._pins: dict[str, str] = {}

    def knows(self, name: str) -> bool:
        """Return whether a name is one of a brought model: a given one, or any with a colon, which no alias has."""
        return name in self.given or is_brought(name)

    def pin(self, name: str) -> str:
        """The pin of a model, fixed on first use. A model of the Hub is downloaded first.

        A function without a revision gets a pin that no other object has, so that nothing is reused for it.

        Raises:
            RecipeError: there can't be such a model.
            ModelUnavailable: it isn't here, or can't be had or read.
        """
        if name not in self._pins:
            self._pins[name] = self._pin(name)
        return self._pins[name]

    def _pin(self, name: str) -> str:
        if name in self.given:
            return pin_of(f"function:{called(name)}", self.given[name].version)
        return self._look_up(name).pin

    def _look_up(self, name: str) -> Found:
        if name not in self._found:
            self._found[name] = look_up(name)
        return self._found[name]

    def get(self, name: str) -> BroughtModel:
        """The model of a name, loaded once per process.

        Raises:
            RecipeError: there can't be such a model.
            ModelUnavailable: it isn't here, can't be had or read, or its files aren't those of the pin any more.
            TemporaryError: its files changed while they were loaded.
        """
        if name in self.given:
            return self.given[name]
        key = name, self.pin(name)
        with _LOCK:
            if key not in _LOADED:
                with running_out(f"model {name!r} doesn't fit"):
                    _LOADED[key] = load(self._look_up(name))
            return _LOADED[key]

    def read_weights(self, name: str, read: Callable[[Path], T]) -> T:
        """Return the result of `read` on the file or folder with a model's weights.

        Raises:
            RecipeError: there can't be such a model.
            ModelUnavailable: it isn't here, it has no file of weights, or they aren't those of the pin any more.
            TemporaryError: they changed while they were read.
        """
        found = None if name in self.given or name.startswith("module:") else self._look_up(name)
        if found is None or found.path is None:
            raise ModelUnavailable(f"model {name!r}: its weights are in no file that can be read apart from it")
        with untouched(found.path):
            if look_up(name).revision != found.revision:
                raise ModelUnavailable(
                    f"model {name!r}: {found.path} has changed since this run took its pin; put it back, or start again"
                )
            return read(found.path)

    def problems(self, names: Iterable[str]) -> list[str]:
        """One line for each of these models that isn't available; missing ones are downloaded first.

        Raises:
            RecipeError: there can't be such a model.
        """
        found = []
        for name in names:
            try:
                self.pin(name)
            except ModelUnavailable as error:
                found.append(str(error))
        return found

    def fetch(self, name: str) -> Path | None:
        """Download a model that isn't here; its path. Raises what `pin` raises."""
        return None if name in self.given else look_up(name).path

    def status(self, name: str) -> Status:
        """State of a model on this machine; nothing is downloaded.

        Raises:
            RecipeError: there can't be such a model.
        """
        location, way_out = "a function", ""
        state: State = "ready"
        if name not in self.given:
            location = name.partition(":")[2]
            try:
                location = look_up(name, fetch=False).location
            except NotFetched as error:
                state, way_out = "missing", str(error)
            except ModelUnavailable as error:
                state, way_out = "unavailable", str(error)
        return Status(name, name, "brought", location, "unknown", 0, state, way_out)
