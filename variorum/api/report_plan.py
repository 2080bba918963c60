"""The plan of a report: what is built, what each model sees, what is kept, and what can't be measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from variorum.api import html
from variorum.reports.profile.document import NotMeasured

MINUTE = 60


@dataclass(frozen=True, slots=True)
class PlannedEdition:
    """An edition in a plan.

    Attributes:
        key: what rows call it.
        name: dataset and version.
        state: `sealed`, `to build` or `to pull`.
        pictures: that a model sees, at most if it is to be built; None if unknown.
        seconds: CPU-seconds to build it; None if unknown.
        without: models that see none of it, as they decided what is in it.
    """

    key: str
    name: str
    state: str
    pictures: int | None
    seconds: float | None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model in a plan.

    Attributes:
        name: of the model.
        pin: hash of its weights and preprocessing; `""` for one whose answers aren't kept.
        passes: pictures that it is yet to see.
        kept: pictures whose answers are there.
        seconds: that it took for one picture; None if it wasn't asked now.
    """

    name: str
    pin: str
    passes: int
    kept: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """What a report will take. `print(plan)` shows it; `as_json()` has the same as values.

    Attributes:
        suite: name and version of the suite; `""` without one.
        editions: in their order.
        models: in their order.
        rows: ids of the rows that are measured.
        not_measured: rows that can't be measured, with the reason and what to do about it.
        path: of the page; `""` before its editions are built.
        finished: the report is there already.
        runs: Python that a run would execute and the plan didn't: files of models and of the suite's recipes.
    """

    suite: str
    editions: tuple[PlannedEdition, ...]
    models: tuple[PlannedModel, ...]
    rows: tuple[str, ...]
    not_measured: tuple[NotMeasured, ...] = ()
    path: str = field(default="", compare=False)
    finished: bool = False
    runs: tuple[str, ...] = ()

    @property
    def passes(self) -> int:
        """Return the number of answers that models are yet to give."""
        return sum(model.passes for model in self.models)

    @property
    def kept(self) -> int:
        """Return the number of answers that are there already."""
        return sum(model.kept for model in self.models)

    @property
    def seconds(self) -> float | None:
        """Return the time for building and asking with one worker, attacks and certificates apart; None if unknown."""
        building = [one.seconds for one in self.editions]
        asking = [
            0.0 if not one.passes else None if one.seconds is None else one.passes * one.seconds for one in self.models
        ]
        known = [one for one in (*building, *asking) if one is not None]
        return sum(known) if len(known) == len(building) + len(asking) else None

    def lines(self) -> list[tuple[str, str]]:
        """All of it as (what, text) for people."""
        found = []
        for one in self.editions:
            most = "" if one.state == "sealed" else "at most "
            size = "an unknown number of pictures" if one.pictures is None else f"{most}{one.pictures:,} pictures"
            without = f"; not by {', '.join(one.without)}, which decided what is in it" if one.without else ""
            found.append(("edition", f"{one.name} ({one.key}): {one.state}, {size}{without}"))
        for model in () if self.finished else self.models:
            kept = f", {model.kept:,} answers kept" if model.kept else ""
            why = "its file isn't run by a plan" if self.runs and "module:" in model.name else "it has no revision"
            asked = "" if model.pin else f"; asked each time, as {why}"
            found.append(("model", f"{model.name}: {self._passes(model.passes)}{kept}{asked}"))
        found += [("runs", f"{one}: Python, which a run executes and this plan doesn't") for one in self.runs]
        found.append(("rows", ", ".join(self.rows)))
        found += [("not measured", f"{row.title}: {row.why_not}; {row.way_out}") for row in self.not_measured]
        if self.finished:
            return [*found, ("page", f"{self.path}, which is there already")]
        return [
            *found,
            ("in all", f"{self._passes(self.passes)}, {self._time()}"),
            *([("page", self.path)] if self.path else []),
        ]

    def _passes(self, number: int) -> str:
        """A number of answers, for people."""
        if any(one.pictures is None for one in self.editions):
            return f"more than {number:,} answers" if number else "an unknown number of answers"
        most = "" if all(one.state == "sealed" for one in self.editions) else "at most "
        return f"{most}{number:,} answers"

    def _time(self) -> str:
        """How long it takes, for people."""
        seconds = self.seconds
        if seconds is None:
            return "for a time that isn't known yet"
        return "less than a minute" if seconds < MINUTE else f"about {round(seconds / MINUTE):,} min with one worker"

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "suite": self.suite,
            "editions": [{name: getattr(one, name) for name in PlannedEdition.__slots__} for one in self.editions],
            "models": [{name: getattr(one, name) for name in PlannedModel.__slots__} for one in self.models],
            "rows": list(self.rows),
            "not_measured": [one.model_dump() for one in self.not_measured],
            "passes": self.passes,
            "kept": self.kept,
            "seconds": self.seconds,
            "path": self.path,
            "finished": self.finished,
            "runs": list(self.runs),
        }

    def __str__(self) -> str:
        lines = self.lines()
        width = max(len(what) for what, _ in lines)
        return "\n".join(f"{what:<{width}}  {text}" for what, text in lines)

    def _repr_html_(self) -> str:
        return html.table((), self.lines(), "report")
