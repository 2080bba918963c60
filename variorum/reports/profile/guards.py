"""Guard a model in CI: limits of `--fail-below` and `--fail-worse`, read before any work and judged by intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Literal

from variorum.reports.profile.document import Guard, Interval, Row
from variorum.schemas.errors import RecipeError, UnknownName

BELOW, WORSE = "--fail-below", "--fail-worse"
STARTS = ":/."
"""Where the end of a model's name may start."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A limit that a model must keep.

    Attributes:
        row: id of the row.
        model: name of the model; `""` for every model, or for every model but the reference if `kind` is `worse`.
        limit: a value in percent, or points of difference.
        kind: `below` for a limit of the value, `worse` for one of the difference to the reference.
    """

    row: str
    model: str
    limit: float
    kind: Literal["below", "worse"]

    def __str__(self) -> str:
        option = BELOW if self.kind == "below" else WORSE
        return f"{option} {f'{self.model}:' if self.model else ''}{self.row}={self.limit:g}"


def read_guards(
    below: Sequence[str], worse: Sequence[str], rows: Collection[str], models: Sequence[str] | None
) -> tuple[Wanted, ...]:
    """Read the limits that `--fail-below` and `--fail-worse` set.

    Args:
        below: `[MODEL:]ROW=VALUE` each, a value in percent.
        worse: `[MODEL:]ROW=POINTS` each, at least 0.
        rows: ids of the rows that can be measured.
        models: names of the models. The end of a name will do if it is the end of no other. None if they aren't
            known yet; then they aren't checked.

    Raises:
        RecipeError: a row, a model or a number is wrong; the message lists what there is.
    """
    return tuple(_read(BELOW, one, rows, models) for one in below) + tuple(
        _read(WORSE, one, rows, models) for one in worse
    )


def _read(option: str, text: str, rows: Collection[str], models: Sequence[str] | None) -> Wanted:
    target, equals, number = text.rpartition("=")
    what = "VALUE" if option == BELOW else "POINTS"
    if not equals:
        raise RecipeError(f"{option} {text}: write [MODEL:]ROW={what}, such as {option} {min(rows, default='row')}=50")
    name, _, row = target.strip().rpartition(":")
    if row not in rows:
        near = get_close_matches(row, rows, 1)
        ask = f" Do you mean {near[0]}?" if near else ""
        raise UnknownName(f"{option} {text}: no row is called {row!r}.{ask} The rows: {', '.join(rows)}")
    try:
        limit = float(number.strip().removesuffix("%"))
    except ValueError:
        limit = float("nan")
    if not isfinite(limit) or not 0 <= limit <= 100:
        raise RecipeError(f"{option} {text}: {what} is a number from 0 to 100, not {number.strip()!r}")
    model = _model(f"{option} {text}", name, models) if name and models is not None else ""
    return Wanted(row, model, limit, "below" if option == BELOW else "worse")


def _model(said: str, name: str, models: Sequence[str]) -> str:
    if name in models:
        return name
    ends = [one for one in models if one.endswith(name) and one[-len(name) - 1] in STARTS]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise RecipeError(f"{said}: {len(ends)} models end in {name!r}: {', '.join(ends)}. Write more of the name")
    raise UnknownName(f"{said}: no model is called {name!r}. The models: {', '.join(models)}")


def judged(wanted: Iterable[Wanted], rows: Iterable[Row], reference: str) -> tuple[Guard, ...]:
    """Judge each limit by the whole interval: kept, failed, or undecided because the limit lies inside.

    A limit without a model holds for every model that has a figure. In a row for which lower is better, `below` is a
    highest value; where neither side is better, `worse` limits the difference to both sides.

    Raises:
        RecipeError: the row or the model has no figure, with the reason.
    """
    found = {row.id: row for row in rows}
    return tuple(guard for one in wanted for guard in _guards(one, found.get(one.row), reference))


def _guards(wanted: Wanted, row: Row | None, reference: str) -> list[Guard]:
    if row is None:
        raise RecipeError(f"{wanted}: the row can't be measured here")
    found: dict[str, Interval] = {}
    if wanted.kind == "below":
        found = {name: one.figure for name, one in row.models.items() if one.figure}
    else:
        found = {one.of: one for one in row.differences if one.to == reference}
    if wanted.model:
        found = {name: one for name, one in found.items() if name == wanted.model}
    if not found:
        asked = [wanted.model] if wanted.model else list(row.models)
        if wanted.kind == "worse" and asked == [reference]:
            raise RecipeError(f"{wanted}: {reference} is the reference; name another model, or another reference")
        reasons = dict.fromkeys(
            why for name in (*asked, reference) if name in row.models and (why := row.models[name].why_not)
        )
        raise RecipeError(f"{wanted}: the row can't be measured: {'; '.join(reasons) or 'too few photographs'}")
    return [
        Guard(
            row=row.id,
            model=name,
            limit=wanted.limit,
            kind=wanted.kind,
            outcome=_outcome(wanted, row, one),
            value=one.value,
            low=one.low,
            high=one.high,
        )
        for name, one in found.items()
    ]


def _outcome(wanted: Wanted, row: Row, found: Interval) -> Literal["kept", "failed", "undecided"]:
    low, high = found.low, found.high
    if wanted.kind == "below" and row.better == "lower":
        low, high, limit = -high, -low, -wanted.limit
    elif wanted.kind == "below":
        limit = wanted.limit
    else:
        limit = -wanted.limit
        if row.better == "none":  # how far the difference is from 0, on either side
            low, high = -max(abs(low), abs(high)), -max(low, -high, 0.0)
    if high < limit:
        return "failed"
    return "kept" if low >= limit else "undecided"


def failed(guards: Iterable[Guard], strict: bool) -> bool:
    """Whether a limit is broken; if `strict`, whether one isn't surely kept."""
    return any(one.outcome == "failed" or (strict and one.outcome == "undecided") for one in guards)
