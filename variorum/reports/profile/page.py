"""The page of a report: one HTML file to look at, print and send on. It needs no server, no network and no script.

The reference that the models are compared with is chosen by radio buttons, and the style shows what belongs to it: the
page holds the differences for every choice. A script does no more than open all rows.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from variorum.reports.figures import fixed, seen
from variorum.reports.one_file import breaking, one_file
from variorum.reports.profile import drawing
from variorum.reports.profile.document import Difference, Model, Picture, Report, Row, Said, Value
from variorum.reports.profile.words import MARKS, lead, marks

FEW = 4
"""Models up to which each has a lane in a row that is closed, and a mark on the line below a picture."""
ORIGINALS = ".originals"
"""End of the figure that stands in a model's card."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
VERDICTS = {"same": "can’t be told apart", "": "too few photographs for a verdict"}
"""Words for the verdicts that don't say it themselves."""
CODE = re.compile(r"(`[^`]+`|(?<!\S)--[a-z][a-z-]*)")
"""What is code in a sentence."""
SIGNS = {"kept": "✓", "failed": "✗", "undecided": "?"}
WEBP = b"RIFF"
"""What a WebP begins with."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A model in a row.

    Attributes:
        number: of the model.
        model: the model.
        value: its figure; None if there is none.
        why_not: then why.
        end: whether it is the best or the worst of the row; where neither is better, the highest or the lowest.
        differences: to each reference that it can be compared with, by the number of the reference.
    """

    number: int
    model: Model
    value: Value | None
    why_not: str
    end: bool
    differences: Mapping[int, Difference]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one or more models said to a picture."""

    text: str
    right: bool
    models: Sequence[int]


def page(report: Report, thumbnails: Mapping[tuple[str, str], bytes]) -> bytes:
    """Render the page. The same report and pictures give the same bytes.

    Args:
        report: everything that it says.
        thumbnails: JPEG or WebP by key of the edition and id of the sample, as `thumbnails.thumbnails` makes them; a
            picture without one is told by its label alone.
    """
    from markupsafe import Markup

    numbers = {model.name: number for number, model in enumerate(report.models)}
    points = drawing.half([one for row in report.rows for one in row.differences])

    def drawn(of: Any) -> Any:
        return lambda *values, **more: Markup(of(*values, **more))  # noqa: S704 - numbers, and texts that are escaped

    def curves(row: Row) -> list[tuple[str, str]]:
        if row.curve is None:
            return []
        found = drawing.curves(row.curve, numbers, row.scale, row.chance)
        return [(name, Markup(svg)) for name, svg in found]  # noqa: S704 - as above

    return one_file(
        "profile",
        images="data:",
        report=report,
        title=title(report),
        few=FEW,
        numbers=numbers,
        reference=numbers.get(report.reference, 0),
        points=points,
        families=list(_families(report)),
        beneath=sum(bool(row.under) for row in report.rows),
        original=next((row for row in report.rows if row.of.endswith(ORIGINALS) and not row.under), None),
        editions={one.key: one for one in report.editions},
        leads=_leads(report),
        lanes=lambda row: _lanes(row, report, numbers),
        answers=lambda picture: _answers(picture, numbers),
        picture=lambda one: _source(thumbnails.get((one.edition, one.id), b"")),
        mark=MARKS.__getitem__,
        verdict=lambda one: VERDICTS.get(one, one),
        marks=marks(report.rows),
        lower={row.id for row in report.rows if row.better == "lower"},
        p=lambda value: "< 0.001" if value < 0.001 else f"{value:.3f}",
        listed=lambda counts: ", ".join(f"{number:,} {why}" for why, number in counts.items()),
        sign=SIGNS.__getitem__,
        fixed=lambda value: fixed(value, 1).replace("-", "−"),
        signed=_signed,
        whole=lambda number: f"{number:,}",
        counted=counted,
        quoted=shlex.quote,
        place=drawing.place,
        axis=drawing.axis,
        name=lambda text: Markup("<bdi>{}</bdi>").format(breaking(text)),
        shapes=drawn(drawing.shapes),
        marker=drawn(drawing.marker),
        track=drawn(drawing.track),
        ticks=drawn(drawing.ticks),
        difference=drawn(drawing.difference),
        curves=curves,
        odds=lambda picture: Markup(  # noqa: S704 - numbers
            drawing.odds([(numbers[one.model], one.p_label, one.right) for one in _with_odds(picture, numbers)])
        ),
        likely=lambda picture: [(one.model, round(100 * one.p_label)) for one in _with_odds(picture, numbers)],
        every=lambda lanes: [(lane.number, lane.value.value) for lane in lanes if lane.value],
        spread=_spread,
        bold=_bold,
        coded=_coded,
        command=_lines(report.command),
        millions=_millions,
    ).encode()


def title(report: Report) -> str:
    """The question that the page answers: `How three classifiers hold up on your 96 photographs`."""
    detectors = bool(report.rows) and all(row.of.startswith("detection") for row in report.rows)
    what = "detector" if detectors else "classifier" if all(one.outputs for one in report.models) else "model"
    number = len(report.models)
    who = f"{NUMBERS[number]} {what}{'s' if number > 1 else ''}"
    whose = "your " if report.photographs.source else ""
    return f"How {who} hold{'s' if number == 1 else ''} up on {whose}{counted(report.photographs.n, 'photograph')}"


def counted(number: int, what: str) -> str:
    """A number with its noun: `1 photograph`, `1,200 photographs`, `24 classes`."""
    ending = "" if number == 1 else "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{ending}"


def _families(report: Report) -> Iterator[tuple[str, Row, list[Row]]]:
    """Each row with its section, where a new one begins, and with the rows below it."""
    section = ""
    for row in report.rows:
        if not row.under:
            new = row.section if row.section != section else ""
            section = row.section or section
            yield new, row, [one for one in report.rows if one.under == row.id]


def _leads(report: Report) -> list[list[tuple[int, str]]]:
    """By number of the reference, the sentence about each other model with that model's number."""
    found = []
    for number, model in enumerate(report.models):
        said = report.lead if model.name == report.reference else lead(report.rows, report.models, model.name)
        others = [one for one in range(len(report.models)) if one != number]
        found.append(list(zip(others, said, strict=False)))
    return found


def _lanes(row: Row, report: Report, numbers: Mapping[str, int]) -> list[Lane]:
    """The models of a row in the report's order."""
    values = {name: one.figure for name, one in row.models.items() if one.figure is not None}
    order = sorted(values, key=lambda name: values[name].value)
    ends = {*order[:1], *order[-1:]}
    lanes = []
    for model in report.models:
        one = row.models.get(model.name)
        known = {numbers[each.to]: each for each in row.differences if each.of == model.name and each.to in numbers}
        why_not = (one.why_not if one else "") or "not asked"
        value = values.get(model.name)
        lanes.append(Lane(numbers[model.name], model, value, why_not, model.name in ends, known))
    return lanes


def _answers(picture: Picture, numbers: Mapping[str, int]) -> list[Answer]:
    """What the models said: the right answer first, and models that said the same together."""
    groups: dict[tuple[bool, str], list[Said]] = {}
    for one in picture.said:
        if one.model in numbers:
            groups.setdefault((not one.right, "" if one.right else one.answer), []).append(one)
    return [
        Answer(text, not wrong, [numbers[one.model] for one in said]) for (wrong, text), said in sorted(groups.items())
    ]


def _with_odds(picture: Picture, numbers: Mapping[str, int]) -> list[Any]:
    """The models whose probability of the label is known; the reference, which is first, is drawn over the others."""
    return [one for one in reversed(picture.said) if one.p_label is not None and one.model in numbers]


def _source(data: bytes) -> str:
    """A thumbnail as the address that a page holds it by; `""` for none."""
    kind = "webp" if data.startswith(WEBP) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}" if data else ""


def _signed(value: float) -> str:
    """A difference with its sign: `+4.2`, `−4.2`, `0.0`."""
    text = fixed(value, 1)
    return text.replace("-", "−") if value < 0 or text == "0.0" else f"+{text}"


def _spread(lanes: Sequence[Lane]) -> str:
    """`10 models, 33.2 to 72.1`."""
    values = sorted(lane.value.value for lane in lanes if lane.value)
    return f"{counted(len(values), 'model')}, {fixed(values[0], 1)} to {fixed(values[-1], 1)}" if values else ""


def _millions(parameters: int) -> str:
    """`25.6 M`, or the number itself where it is small."""
    return f"{parameters / 1e6:.1f} M" if parameters >= 100_000 else f"{parameters:,}"


def _bold(sentence: str, name: str) -> Any:
    """A sentence with the name that it begins with in bold."""
    from markupsafe import Markup

    if not sentence.startswith(name):
        return sentence
    return Markup("<b><bdi>{}</bdi></b>{}").format(breaking(name), f" {seen(sentence[len(name) :])}".replace("  ", " "))


def _coded(text: str) -> Any:
    """A sentence with options, and what stands between backticks, as code."""
    from markupsafe import Markup, escape

    parts = CODE.split(seen(text))
    found = [
        Markup("<code>{}</code>").format(part.strip("`")) if odd % 2 else escape(part) for odd, part in enumerate(parts)
    ]
    return Markup("").join(found)


def _lines(command: str) -> list[Any]:
    """A command as lines, one for each option."""
    from markupsafe import escape

    try:
        words = shlex.split(command.replace("\\\n", " "))
    except ValueError:
        return [seen(command)]
    lines = [""]
    for word in words:
        if word.startswith("--"):
            lines.append("  ")
        lines[-1] += f"{'' if lines[-1].isspace() or not lines[-1] else ' '}{shlex.quote(seen(word))}"
    return [escape(line) for line in " \\\n".join(lines).splitlines()]
