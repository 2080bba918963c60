"""Make a report's rows from the models' answers: values, intervals, differences, curves, and the pictures that tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from variorum.reports.profile import document, statistics
from variorum.reports.profile.differing import differing
from variorum.reports.profile.document import CurvePoint, Difference, Line, ModelValue, Value
from variorum.reports.profile.statistics import Draws
from variorum.schemas.canonical import derive_seed
from variorum.schemas.plot import FEWEST
from variorum.schemas.rows import Answers, Better, Figure, Kind
from variorum.schemas.suite import RowSpec
from variorum.statistics import few_interval, holm, mean_ratio, pulls, share_interval, widened

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

SMALL = f"no group has {statistics.LEAST_GROUP} photographs"
SCALES = (5, 10, 25, 50, 100)
"""Ends of the axis of a figure for which lower is better, in percent."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A row's question, and what the models answered.

    Attributes:
        spec: the row, as its suite has it.
        figure: what its figure is.
        answers: by name of the model; a model without any is told as not asked.
    """

    spec: RowSpec
    figure: Figure
    answers: Mapping[str, Answers]


def measure(asked: Sequence[Asked], models: Sequence[str], *, seed: int) -> tuple[document.Row, ...]:
    """Measure each row: values with 95 % intervals, differences for every reference, curves and twelve pictures.

    Args:
        asked: the rows in the order of the page.
        models: names of all models.
        seed: seed of the draws and of the flips.

    Returns:
        A row for each that was asked, in their order. A model without a figure has a reason instead.
    """
    seed = derive_seed(seed, "report")
    questions = [_Question(one, models, seed) for one in asked]
    pairs: list[dict[tuple[str, str], _Pair]] = [{} for _ in asked]
    for place in sorted(range(len(asked)), key=lambda place: questions[place].n):  # draws are kept for equal n
        questions[place].values()
        pairs[place] = questions[place].pairs()
    adjusted = {reference: _adjusted(pairs, reference) for reference in models}
    section, rows = "", []
    parents = {child.id: one.spec.id for one in asked for child in one.spec.under}
    for place, question in enumerate(questions):
        section = question.spec.section or section
        differences = tuple(
            pairs[place][min(of, to), max(of, to)].difference(of, to, adjusted[to][place, of], question.better)
            for to in models
            for of in models
            if of != to and (min(of, to), max(of, to)) in pairs[place]
        )
        rows.append(question.row(section, parents.get(question.spec.id, ""), differences, pairs[place].values()))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The difference of two models, `first` less `second`, as a share."""

    first: str
    value: float
    low: float
    high: float
    n: int
    p: float
    seen: float

    def difference(self, of: str, to: str, adjusted: float, better: Better) -> Difference:
        """The difference of one to the other in points, positive if better."""
        value, low, high = self.value, self.low, self.high
        if (of == self.first) == (better == "lower"):
            value, low, high = -value, -high, -low
        return Difference(
            of=of,
            to=to,
            value=percent(value),
            low=percent(low),
            high=percent(high),
            n=self.n,
            p=round(self.p, 6),
            holm=round(adjusted, 6),
            verdict=statistics.verdict(value, low, high, adjusted, better),
        )


def _adjusted(pairs: Sequence[Mapping[tuple[str, str], _Pair]], reference: str) -> dict[tuple[int, str], float]:
    """Holm's p of each row and model against the reference, over all rows."""
    tests = {
        (place, names[0] if names[1] == reference else names[1]): pair.p
        for place, row in enumerate(pairs)
        for names, pair in row.items()
        if reference in names
    }
    return dict(zip(tests, holm(np.array(list(tests.values()))).tolist(), strict=True))


class _Model:
    """One model's answers over the photographs and columns of its row."""

    def __init__(self, answers: Answers, kind: Kind, photographs: Sequence[str], columns: Sequence[str]) -> None:
        self._answers, self._kind = answers, kind
        rows, self._inside = _places(answers.photographs, photographs)
        chosen, place = _places(answers.columns, columns)
        self._chosen = chosen, place
        self.tops, self.bottoms = (np.zeros((len(photographs), len(columns))) for _ in range(2))
        if answers.top is not None and answers.bottom is not None and len(chosen):
            self.tops[np.ix_(self._inside, place)] = answers.top[np.ix_(rows, chosen)]
            self.bottoms[np.ix_(self._inside, place)] = answers.bottom[np.ix_(rows, chosen)]
        self._lender: Ints | None = None
        if answers.lender is not None:
            self._lender = np.full(self.tops.shape, -1)
            self._lender[np.ix_(self._inside, place)] = answers.lender[np.ix_(rows, chosen)]
        self.answered: Bools = np.asarray((self.bottoms > 0).any(axis=1))
        if kind == "whole":
            self.answered[self._inside] = True
        self.draws: Floats = np.zeros(0)

    def ratios(self, mask: Bools) -> tuple[Floats, Floats]:
        """Tops and bottoms of the photographs in the mask; of a `least`, of groups that are large enough."""
        if mask.all():
            tops, bottoms = self.tops, self.bottoms
        else:
            tops, bottoms = self.tops * mask[:, None], self.bottoms * mask[:, None]
        if self._kind == "least":
            large = (bottoms > 0).sum(axis=0) >= statistics.LEAST_GROUP
            return tops * large, bottoms * large
        return tops, bottoms

    def value(self, mask: Bools) -> float:
        """The value over the photographs in the mask, a share."""
        if self._kind == "whole":
            return self._of(mask.astype(np.float64))
        tops, bottoms = self.ratios(mask)
        return float(self.figure(tops.sum(axis=0), bottoms.sum(axis=0)))

    def wider(
        self,
        ratios: tuple[Floats, Floats],
        less: tuple[Floats, Floats] | None = None,
        columns: Sequence[int] | slice = slice(None),
    ) -> float:
        """How many times wider an interval is because photographs share lenders, of these ratios or of a difference."""
        if self._lender is None or self._kind != "share":
            return 1.0
        pull, weight = pulls(*ratios)
        if less is not None:
            less_pull, less_weight = pulls(*less)
            pull, weight = pull - less_pull, (weight + less_weight) / 2
        lender = self._lender[:, columns]
        source = np.broadcast_to(np.arange(len(lender))[:, None], lender.shape)
        return widened(pull.ravel(), weight.ravel(), source.ravel(), lender.ravel())

    def drawn(self, draws: Draws, mask: Bools) -> Floats:
        """The value in each draw of the photographs in the mask."""
        if self._kind == "whole" and self.has_columns:
            return _mean(self.drawn_by(draws, mask))
        if self._kind == "whole":
            return np.array([self._of(counts * mask) for counts in draws.first(statistics.WHOLE_DRAWS)])
        return self.figure(*self.sums(draws, mask))

    def sums(self, draws: Draws, mask: Bools) -> tuple[Floats, Floats]:
        """Tops and bottoms in each draw of the photographs in the mask, `[draws, V]` each."""
        tops, bottoms = self.ratios(mask)
        sums = draws.sums(np.hstack([tops, bottoms]))
        return sums[:, : tops.shape[1]], sums[:, tops.shape[1] :]

    def figure(self, tops: Floats, bottoms: Floats) -> Floats:
        """The figure of sums `[…, V]`."""
        return (statistics.least_ratio if self._kind == "least" else mean_ratio)(tops, bottoms)

    @property
    def has_columns(self) -> bool:
        """Whether a `whole` has values by column."""
        return self._answers.whole_by is not None

    def by(self, counts: Floats) -> Floats:
        """Values of a `whole` by column, `[V]`."""
        assert self._answers.whole_by is not None
        rows, place = self._chosen
        found = np.full(self.tops.shape[1], np.nan)
        found[place] = self._answers.whole_by(counts[self._inside])[rows]
        return found

    def drawn_by(self, draws: Draws, mask: Bools) -> Floats:
        """Values of a `whole` by column in each draw of the photographs in the mask, `[draws, V]`."""
        return np.array([self.by(counts * mask) for counts in draws.first(statistics.WHOLE_DRAWS)])

    def _of(self, counts: Floats) -> float:
        if self.has_columns:
            return float(_mean(self.by(counts)[None])[0])
        assert self._answers.whole is not None
        return float(self._answers.whole(counts[self._inside]))


class _Question:
    """A row while it is measured."""

    def __init__(self, asked: Asked, models: Sequence[str], seed: int) -> None:
        self.spec, self.figure, self.models, self.seed = asked.spec, asked.figure, models, seed
        self.better: Better = asked.spec.better or asked.figure.better
        self.kind = asked.figure.kind
        self.whole = self.kind == "whole"
        self.why_not = {name: _why_not(asked.answers.get(name), asked) for name in models}
        self.answers = {name: asked.answers[name] for name in models if not self.why_not[name]}
        self.columns = list(
            dict.fromkeys(
                column for one in self.answers.values() for column in one.columns if _counts(column, self.spec.variants)
            )
        )
        every = sorted({photograph for one in self.answers.values() for photograph in one.photographs})
        models_in = [_Model(one, self.kind, every, self.columns) for one in self.answers.values()]
        union: Bools = np.any([np.zeros(len(every), bool), *(one.answered for one in models_in)], axis=0)
        kept = [photograph for photograph, inside in zip(every, union, strict=True) if inside]
        self.said = {name: _Model(one, self.kind, kept, self.columns) for name, one in self.answers.items()}
        self.n = len(kept)
        for name, one in list(self.said.items()):
            n, fewest = int(one.answered.sum()), max(self.spec.fewest, FEWEST)
            if n < fewest:
                self._without(name, f"too few photographs: {n}, and {fewest} are needed")
            elif np.isnan(one.value(one.answered)):
                self._without(name, "its answers give no figure" if self.kind != "least" else SMALL)
        self.found: dict[str, Value] = {}
        self.axes = [self._axis(axis) for axis in self.spec.curve]
        self.at = _in_order([self.axes[0].get(column) for column in self.columns]) if self.axes else []
        self.lines: list[Line] = []

    def _without(self, name: str, reason: str) -> None:
        self.why_not[name] = reason
        del self.said[name]

    @cached_property
    def draws(self) -> Draws:
        return Draws(max(self.n, 1), self.seed)

    def values(self) -> None:
        """Measure each model's value and curve, with their intervals."""
        for name, one in self.said.items():
            value, n = one.value(one.answered), int(one.answered.sum())
            if self.whole:
                by = one.drawn_by(self.draws, one.answered) if one.has_columns and self.at else None
                one.draws = one.drawn(self.draws, one.answered) if by is None else _mean(by)
                self.lines += [] if by is None else self._lines(name, (by, np.isfinite(by).astype(np.float64)))
                floor = self._floor(name, None)
            else:
                sums = one.sums(self.draws, one.answered)
                one.draws = one.figure(*sums)
                self.lines += self._lines(name, sums)
                floor = self._floor(name, sums)
            if not self.whole and statistics.none_or_all(value):
                n = self._alike(one, round(value))
                low, high = share_interval(round(value) * n, n)
            else:
                low, high = statistics.interval(self.kind, value, one.draws, n)
                if self.kind == "share":
                    ratios = one.ratios(one.answered)
                    low, high = _stretched(value, few_interval(*ratios, False, (low, high)), one.wider(ratios))
            low, high = max(low, 0.0), min(high, 1.0)
            self.found[name] = Value(
                value=percent(value),
                low=percent(low),
                high=percent(high),
                floor=None if floor is None else percent(floor),
                says=self._says(floor, self.answers[name].floor, low, high),
            )

    def _alike(self, one: _Model, value: float) -> int:
        """Photographs of a share that is 0 or 1; of a `least`, those of the smallest group with that share."""
        if self.kind != "least":
            return int(one.answered.sum())
        tops, bottoms = one.ratios(one.answered)
        alike = bottoms.any(axis=0) & np.isclose(tops.sum(axis=0), value * bottoms.sum(axis=0))
        return int((bottoms > 0).sum(axis=0)[alike].min())

    def _says(self, floor: float | None, told: float | None, low: float, high: float) -> tuple[str, ...]:
        """Which words stand at a value: whether its interval reaches chance or its floor."""
        if self.spec.chance != "none" and told is not None:
            return ("at chance",) if low <= told <= high or (self.better == "higher" and low <= told) else ()
        if floor is None:
            return ()
        reached = high >= floor if self.kind == "least" or self.better == "higher" else low <= floor
        return ("at its floor",) if reached else ()

    def _floor(self, name: str, sums: tuple[Floats, Floats] | None) -> float | None:
        """The floor: as told for a `whole`; of a `least`, the least group that equal groups would show on average."""
        if self.whole:
            return self.answers[name].floor if self.spec.chance == "none" else None
        if self.kind != "least" or sums is None:
            return None
        one = self.said[name]
        tops, bottoms = one.ratios(one.answered)
        groups = bottoms.any(axis=0)
        tops, bottoms, (top, bottom) = tops[:, groups], bottoms[:, groups], (part[:, groups] for part in sums)
        shares = np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0)
        equal = shares - tops.sum(axis=0) / bottoms.sum(axis=0) + tops.sum() / bottoms.sum()
        return float(np.clip(equal.min(axis=1).mean(), 0, 1))

    def pairs(self) -> dict[tuple[str, str], _Pair]:
        """Compare any two models over the photographs that both answered."""
        both: dict[tuple[str, str], tuple[Bools, float, Floats]] = {}
        for names in combinations(sorted(self.said), 2):
            one, other = (self.said[name] for name in names)
            mask = one.answered & other.answered
            value = one.value(mask) - other.value(mask)
            if mask.sum() >= FEWEST and not np.isnan(value):
                both[names] = mask, value, self._over(one, mask) - self._over(other, mask)
        if self.kind in ("whole", "least"):
            p = [statistics.draws_p(value, draws) for _, value, draws in both.values()]
        else:
            ratios = [[self.said[name].ratios(mask) for name in names] for names, (mask, _, _) in both.items()]
            p = statistics.swap_p([(*one, *other) for one, other in ratios], self.seed)
        return {names: self._pair(names, *parts, found) for (names, parts), found in zip(both.items(), p, strict=True)}

    def _pair(self, names: tuple[str, str], mask: Bools, value: float, draws: Floats, p: float) -> _Pair:
        """The difference of two models, `p` as if no photographs shared a lender."""
        n = int(mask.sum())
        one, other = (self.said[name].ratios(mask) for name in names)
        wider = self.said[names[0]].wider(one, other)
        if wider > 1:
            p = max(p, statistics.draws_p(value / wider, value / wider + draws - value))
        low, high = _stretched(value, self._ends(one, other, n, value, draws), wider)
        seen = wider * statistics.seen(draws, n)
        return _Pair(names[0], value, max(low, -1.0), min(high, 1.0), n, p, seen)

    def _ends(
        self, one: tuple[Floats, Floats], less: tuple[Floats, Floats], n: int, value: float, draws: Floats
    ) -> tuple[float, float]:
        """The interval of a difference over `n` photographs that share nothing."""
        low, high = statistics.interval(self.kind, value, draws, n)
        (top, bottom), (other, same) = one, less
        if self.kind == "share" and np.array_equal(bottom, same):
            low, high = few_interval(top - other, bottom, True, (low, high))
        elif not self.whole and high - low < 1e-12:  # all photographs differ alike, as where all are right
            reach = share_interval(0, n)[1]
            low, high = value - reach, value + reach
        return low, high

    def _over(self, one: _Model, mask: Bools) -> Floats:
        return one.draws if np.array_equal(mask, one.answered) else one.drawn(self.draws, mask)

    def row(
        self, section: str, under: str, differences: tuple[Difference, ...], pairs: Iterable[_Pair]
    ) -> document.Row:
        """The row as the report has it."""
        wide = [one.seen for one in pairs if one.seen > 0]
        ends = [end for one in self.found.values() for end in (one.high, one.floor or 0)]
        floors = [floor for name in self.found if (floor := self.answers[name].floor) is not None]
        return document.Row(
            id=self.spec.id,
            title=self.spec.title,
            section=section,
            under=under,
            edition=self.spec.edition,
            of=self.spec.of,
            measure=self.figure.measure,
            kind=self.kind,
            better=self.better,
            scale=next((one for one in SCALES if one >= max(ends, default=0)), 100) if self.better == "lower" else 100,
            n=self.n,
            pictures_each=self._pictures_each(),
            gap=self.figure.gap,
            note="; ".join(dict.fromkeys(one.note for one in self.answers.values() if one.note)),
            chance=percent(max(floors)) if floors and self.spec.chance != "none" else None,
            seen=percent(float(np.mean(wide))) if wide else None,
            models={name: ModelValue(figure=self.found.get(name), why_not=self.why_not[name]) for name in self.models},
            differences=differences,
            curve=document.Curve(by=self.spec.curve[0], at=tuple(self.at), lines=tuple(self.lines))
            if self.lines
            else None,
            pictures=differing(
                self.spec.edition, {name: one for name, one in self.answers.items() if name in self.said}, self.columns
            ),
        )

    def _pictures_each(self) -> str:
        totals = [self._pictures(name) / one.answered.sum() for name, one in self.said.items() if one.bottoms.any()]
        if not totals:
            return ""
        each = max(totals)
        return (
            f"{each:.0f} picture{'s' * (round(each) != 1)} each"
            if abs(each - round(each)) < 0.005
            else f"{each:.1f} pictures each"
        )

    def _pictures(self, name: str) -> float:
        """Number of a model's pictures: different ones, as far as they are told; an episode asks for one many times."""
        answers = self.answers[name]
        if answers.pictures is None:
            return float(self.said[name].bottoms.sum())
        kept = np.isin(answers.columns, self.columns)[answers.pictures.column]
        return len({sample for sample, inside in zip(answers.pictures.ids, kept.tolist(), strict=True) if inside})

    def _axis(self, axis: str) -> dict[str, float | str | None]:
        """Place of each column on an axis."""
        return {
            column: place
            for one in self.answers.values()
            for column, place in zip(one.columns, one.axes.get(axis, ()), strict=False)
        }

    def _lines(self, name: str, sums: tuple[Floats, Floats]) -> Iterator[Line]:
        """A model's lines: one, or one for each place on the second axis."""
        if not self.at:
            return
        one, along, *across = self.said[name], *(list(map(axis.get, self.columns)) for axis in self.axes)
        for series in _in_order(across[0]) if across else [None]:
            yield Line(
                model=name,
                series="" if series is None else _text(series),
                points=tuple(
                    self._point(
                        one,
                        sums,
                        [
                            column
                            for column, found in enumerate(along)
                            if found == place and (series is None or across[0][column] == series)
                        ],
                    )
                    for place in self.at
                ),
            )

    def _point(self, one: _Model, sums: tuple[Floats, Floats], columns: Sequence[int]) -> CurvePoint | None:
        tops, bottoms = one.tops[:, columns], one.bottoms[:, columns]
        n = int(bottoms.any(axis=1).sum())
        if n < FEWEST:
            return None
        if self.whole:
            value = float(_mean(one.by(one.answered.astype(np.float64))[None, columns])[0])
            if np.isnan(value):
                return None
            low, high = statistics.interval("whole", value, _mean(sums[0][:, columns]), n)
            return CurvePoint(value=percent(value), low=percent(max(low, 0)), high=percent(min(high, 1)), n=n)
        value = float(mean_ratio(tops.sum(axis=0), bottoms.sum(axis=0)))
        if statistics.none_or_all(value):
            low, high = share_interval(round(value) * n, n)
        else:
            ends = statistics.percentile(mean_ratio(*(part[:, columns] for part in sums)), n)
            low, high = _stretched(value, ends, one.wider((tops, bottoms), columns=columns))
        return CurvePoint(value=percent(value), low=percent(max(low, 0)), high=percent(min(high, 1)), n=n)


def _stretched(value: float, ends: tuple[float, float], wider: float) -> tuple[float, float]:
    low, high = ends
    return value - wider * (value - low), value + wider * (high - value)


def _mean(values: Floats) -> Floats:
    """Mean of values `[…, V]` over the columns that have one; NaN without any."""
    there = np.isfinite(values)
    return mean_ratio(np.where(there, values, 0), there.astype(np.float64))


def _places(names: Sequence[str], among: Sequence[str]) -> tuple[Ints, Ints]:
    """Indices of the names that are among others, and their indices there."""
    places = {name: place for place, name in enumerate(among)}
    rows = [row for row, name in enumerate(names) if name in places]
    return np.array(rows, np.int64), np.array([places[names[row]] for row in rows], np.int64)


def _why_not(answers: Answers | None, asked: Asked) -> str:
    if answers is None:
        return "not asked"
    if answers.why_not:
        return answers.why_not
    if (asked.figure.kind != "whole" or answers.whole_by) and not any(
        _counts(column, asked.spec.variants) for column in answers.columns
    ):
        return f"no picture of this kind: {', '.join(asked.spec.variants)}" if asked.spec.variants else "no answers"
    return ""


def _counts(column: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(column, pattern) for pattern in patterns)


def _in_order(places: Sequence[float | str | None]) -> list[float | str]:
    """Places on an axis, each once: numbers in order, texts in the order of the columns."""
    once = list(dict.fromkeys(place for place in places if place is not None))
    numbers = [place for place in once if not isinstance(place, str)]
    return sorted(numbers) if len(numbers) == len(once) else once


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def percent(share: float) -> float:
    """A share in percent, rounded to two decimals; 0 has no sign."""
    return round(100 * float(share), 2) + 0.0
