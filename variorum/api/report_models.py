"""The models of a report: what they are called in it, which are the same, and what each says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from variorum.api.model_choice import ModelChoice, chosen_models, read_classes
from variorum.evaluation.classifiers.evaluator import known_models
from variorum.kit.labels.matching import IMAGENET
from variorum.models.brought import BroughtModel, is_brought
from variorum.models.brought.function import OnCopies
from variorum.models.brought.networks import state_digest
from variorum.models.defended import called
from variorum.models.filters import CONTENT, UNAVAILABLE, contents_of, weights_of
from variorum.models.loaders import JOINED, split
from variorum.reports.profile.document import Model
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.models import ModelTable

MOST = 10
"""Models of a report."""


@dataclass(frozen=True, slots=True)
class UnderTest:
    """The models of a report.

    Attributes:
        choice: as they were given.
        table: knows them.
        called: by name as given, the name in the report, which has no folder.
        pins: by name as given.
    """

    choice: ModelChoice
    table: ModelTable
    called: Mapping[str, str]
    pins: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Return their names as they were given."""
        return self.choice.names

    @property
    def lasting(self) -> tuple[str, ...]:
        """Return those whose answers are kept."""
        return tuple(name for name in self.names if name not in self.choice.uncached)

    @property
    def kept(self) -> bool:
        """Return whether the answers of all of them are kept, and so the report."""
        return not self.choice.uncached

    def identity(self, name: str) -> tuple[str, str]:
        """Name and pin as they enter the report's key; the pin is `""` where the answers aren't kept."""
        return self.called[name], "" if name in self.choice.uncached else self.pins[name]

    def filtered(self, name: str, filters: Iterable[str]) -> bool:
        """Return whether a model, or one that it uses, decided what is in an edition, or is used by one that did.

        Args:
            name: of the model, as given.
            filters: pins of the models that decided.
        """
        theirs = {one for pin in filters if pin != UNAVAILABLE for one in contents_of(pin)}
        return not theirs.isdisjoint(contents_of(self.pins[name]))

    def stated(self, name: str) -> str:
        """What the table of models says that an alias was trained on; `""` for other models."""
        brought = name in self.choice.brought or is_brought(name)
        return "" if brought else self.table.entry(name).trained_on

    def facts(self, name: str, model: Any, note: str = "") -> Model:
        """What the report says of a loaded model.

        Args:
            name: as given.
            model: behind that name.
            note: how its outputs are matched to the classes, if that is assumed.
        """
        pin = self.pins[name]
        network = network_of(model)
        found = CONTENT.search(weights_of(pin))
        weights = state_digest(network) if network else found[1].partition(":")[2] if found else ""
        called, kept = self.identity(name)
        _, _, behind = called.partition(JOINED)
        alone = len({one.partition(JOINED)[0] for one in self.called.values()}) == 1
        classes = getattr(model, "classes", None)  # encoders and this project's detectors have none
        return Model(
            name=called,
            short=f"+ {behind}" if behind and alone else shortest(called, self.called.values()),
            pin=kept,
            weights=weights[:12],
            parameters=sum(one.numel() for one in network.parameters()) if network else None,
            outputs=getattr(model, "width", 0) or len(classes or ()) or (0 if classes is None else IMAGENET),
            preprocessing=f"{getattr(model, 'preprocessing', '')}{f' {note}' if note else ''}"[:1000],
            defence=self.table.entry(name).source if split(name)[1] else "",
            trained_on=self.stated(name) or str(getattr(network, "trained_on", ""))[:200],
        )


def under_test(
    models: Any,
    classes: Sequence[str] | str | PathLike[str] | None,
    preprocess: Any,
    profile: str,
    defences: Sequence[str] = (),
    *,
    plan: bool = False,
) -> UnderTest:
    """The models that a report was given, each bare and behind each defence, without loading those that have a name.

    With `plan`, no file of a `module:` name runs.

    Raises:
        RecipeError: there are none or more than ten, one is unknown, or two are the same.
        SourceError: the file of classes can't be read.
        ModelUnavailable: one isn't on this machine and can't be downloaded.
    """
    known = read_classes(classes)
    choice = chosen_models(models, classes=known, preprocess=preprocess, defences=defences, call="report", plan=plan)
    if len(choice.names) > MOST:
        behind = " with those behind defences" if defences else ""
        raise RecipeError(f"report: {len(choice.names)} models are given{behind}; a report compares {MOST} at most")
    table = known_models(profile, choice.brought)
    table.fetch_missing(choice.names)
    pins = {name: table.pin(name) for name in choice.names}
    found = UnderTest(choice, table, _called(choice, pins), pins)
    _refuse_twins(found)
    return found


def _called(choice: ModelChoice, pins: Mapping[str, str]) -> dict[str, str]:
    """By name as given, the name without the folder of a file. Raises RecipeError if two would be the same."""
    found: dict[str, str] = {}
    for name in choice.names:
        model, defence = split(name)
        if defence:
            found[name] = f"{found[model]}{JOINED}{called(defence)}"
            continue
        label = weights_of(pins[name]).rpartition("@")[0].removeprefix("function:") if is_brought(name) else name
        found[name] = label or name
    for name, label in found.items():
        if others := [other for other, theirs in found.items() if theirs == label and other != name]:
            raise RecipeError(
                f"report: {cut(repr(name))} and {cut(repr(others[0]))} would both be called {cut(repr(label))}; rename "
                "one of the files, or give the models by names of your own"
            )
    return found


def _refuse_twins(found: UnderTest) -> None:
    """Raise RecipeError if two models have the same weights and the same preprocessing."""
    seen: dict[object, str] = {}
    for name in found.names:
        same = _what(name, found)
        if same in seen:
            raise RecipeError(
                f"report: {cut(repr(found.called[seen[same]]))} and {cut(repr(found.called[name]))} are the same "
                "model: their weights and preprocessing are equal; leave one out, or give one another preprocessing"
            )
        seen[same] = name


def _what(name: str, found: UnderTest) -> object:
    """What is equal for the same model under another name."""
    pin, given = found.pins[name], found.choice.brought.get(name)
    if (
        given is None and name.startswith("module:") and name not in found.choice.unmade
    ):  # made already, as its pin says what it holds
        given = found.table.get(name)
    if isinstance(given, BroughtModel):
        if network := network_of(given):
            return state_digest(network), given.preprocessing, given.classes
        if isinstance(given.scores, OnCopies):
            return id(given.scores.function)
    return pin[len(weights_of(pin).rpartition("@")[0]) :] if CONTENT.search(pin) else pin


def network_of(model: Any) -> Any:
    """The PyTorch network that a model asks; None for another kind of model."""
    return getattr(getattr(model, "scores", None), "network", None)


def shortest(name: str, names: Iterable[str]) -> str:
    """The shortest end of a name that no other one ends in; it begins behind a `:` or a `/` of the bare one's."""
    others = [other for other in names if other != name]
    starts = [place.end() for place in re.finditer(r"[:/]", name.partition(JOINED)[0])] or [0]
    ends = [name[start:] for start in sorted({0, *starts}, reverse=True)]
    return next((end for end in ends if end and not any(other.endswith(end) for other in others)), name)
