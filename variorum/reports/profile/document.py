"""Content of `report.json`: everything that the page and the Markdown say. No date, host or path is in it.

Values are in percent, differences in percentage points, both rounded to two decimals.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from variorum.schemas.rows import Better, Kind

Verdict = Literal["better", "worse", "perhaps better", "perhaps worse", "same", "differs", "perhaps differs", ""]
"""▲ ▼ △ ▽ ≈ ◆ ◇; `""` in reports of earlier versions, for few photographs."""


class Part(BaseModel):
    """A part of a report: no other fields, and nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SuiteName(Part):
    """The suite that the rows come from."""

    name: str
    version: str
    digest: str
    profile: str


class Photographs(Part):
    """The source photographs of all editions."""

    n: int
    classes: int
    source: str = ""
    """As it was named: the last part of its path."""
    left_out: dict[str, int] = {}
    """By reason, how many more there were."""


class Model(Part):
    """A model under test."""

    name: str
    short: str
    """What lanes call it: the shortest end of its name that no other model has, or the defences of the only model."""
    pin: str
    """Hash of the weights and the preprocessing; `""` for a function without a revision, which is asked each time."""
    weights: str = ""
    """Twelve digits of the hash of the weights."""
    parameters: int | None = None
    outputs: int
    preprocessing: str
    trained_on: str = ""
    """As its authors say; `""` if they don't."""
    defence: str = ""
    """Of a defended model, what the defence does, and the paper that broke it if one did."""
    warning: str = ""
    """Such as that it seems to answer by chance on the originals."""


class EditionFacts(Part):
    """An edition that was asked about."""

    key: str
    """What rows call it."""
    name: str
    """`imagenet_e@3.0.0-r1`."""
    digest: str
    pictures: int
    photographs: int


class Interval(Part):
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Value(Interval):
    """A model's value in a row."""

    floor: float | None = None
    says: tuple[str, ...] = ()
    """`at chance`, `at its floor`, `perhaps trained on it`."""


class ModelValue(Part):
    """A model's value, or why there is none."""

    figure: Value | None = None
    why_not: str = ""


class Difference(Interval):
    """A model less the reference, over the photographs that both answered; positive is better unless better is none.

    Attributes:
        of: name of the model.
        to: name of the reference.
        n: number of photographs that both answered.
        p: by sign flips of the photographs' differences, or from the draws for a `whole` or a `least`.
        holm: adjusted for all rows and models of the page with this reference.
        verdict: which mark the page shows.
    """

    of: str
    to: str
    n: int
    p: float
    holm: float
    verdict: Verdict


class CurvePoint(Interval):
    """A point of a curve."""

    n: int


class Line(Part):
    """A model's curve: a point at each place; None where it has none."""

    model: str
    series: str = ""
    """Value of the second axis, if there is one."""
    points: tuple[CurvePoint | None, ...]


class Curve(Part):
    """Values along an axis, such as severity."""

    by: str
    at: tuple[float | str, ...]
    lines: tuple[Line, ...]


class Said(Part):
    """What a model answered to a picture."""

    model: str
    answer: str
    p_label: float | None
    right: bool


class Picture(Part):
    """One of the pictures on which the models differ most."""

    edition: str
    """Key of the edition."""
    id: str
    photograph: str
    column: str
    label: str
    said: tuple[Said, ...]


class Row(Part):
    """One question, put to every model."""

    id: str
    title: str
    section: str
    under: str = ""
    """Id of the row that it stands below; `""` for a row of its own."""
    edition: str
    of: str
    measure: str
    kind: Kind
    unit: Literal["%"] = "%"
    better: Better
    scale: float = 100
    """End of the axis, where it isn't 100."""
    n: int = 0
    """Photographs."""
    pictures_each: str = ""
    """Such as `4 edits each`, `15 kinds × 5`."""
    note: str = ""
    chance: float | None = None
    seen: float | None = None
    """Points of difference that so many photographs show with power .8; the mean over the models."""
    broken_by: str = ""
    models: dict[str, ModelValue] = {}
    differences: tuple[Difference, ...] = ()
    """For every choice of the reference, so that the page can change it without a script."""
    curve: Curve | None = None
    gap: str = "probability of the label"
    """What the pictures' `p_label` is."""
    pictures: tuple[Picture, ...] = ()


class NotMeasured(Part):
    """A row that can't be measured."""

    id: str
    title: str
    why_not: str
    way_out: str


class Guard(Part):
    """A limit that `--fail-below` or `--fail-worse` set, and how it ended."""

    row: str
    model: str
    limit: float
    kind: Literal["below", "worse"]
    outcome: Literal["kept", "failed", "undecided"]
    value: float
    low: float
    high: float


class Limit(Part):
    """A sentence about what the report doesn't say, with a heading."""

    title: str
    text: str


class Work(Part):
    """What was asked of the models."""

    pictures: int
    answers: int
    draws: int
    votes: int = 0


class Report(Part):
    """A whole report."""

    format: Literal[1] = 1
    suite: SuiteName
    photographs: Photographs
    models: tuple[Model, ...] = Field(min_length=1, max_length=10)
    reference: str
    editions: tuple[EditionFacts, ...]
    work: Work
    rows: tuple[Row, ...]
    not_measured: tuple[NotMeasured, ...] = ()
    guards: tuple[Guard, ...] = ()
    limits: tuple[Limit, ...] = ()
    command: str
    """How to make it again."""
    credits: tuple[str, ...] = ()
    """Authors and licences of the photographs that the page shows."""
    lead: tuple[Annotated[str, Field(max_length=500)], ...] = ()
    """A sentence for each model but the reference: where it is better, worse, and can't be told apart."""
