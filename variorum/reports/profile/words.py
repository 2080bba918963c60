"""Say in words what a report finds, what its marks mean and what it doesn't say, for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from variorum.reports.profile.document import Limit, Model, Report, Row, Verdict

MARKS: Mapping[Verdict, str] = {
    "better": "▲",
    "worse": "▼",
    "perhaps better": "△",
    "perhaps worse": "▽",
    "same": "≈",
    "differs": "◆",
    "perhaps differs": "◇",
    "": "",
}
"""The mark of each verdict."""
MEANT: Mapping[str, tuple[tuple[Verdict, ...], str]] = {
    "▲ ▼": (
        ("better", "worse"),
        "better, worse: holds after correction for looking at so many rows (Holm, 5 % in the whole table).",
    ),
    "△ ▽": (
        ("perhaps better", "perhaps worse"),
        "the interval leaves out zero, but among so many rows one such is expected by chance.",
    ),
    "≈": (("same",), "can’t be told apart with these photographs; that isn’t “equal”."),
    "◆": (("differs",), "differs, where neither side is better."),
    "◇": (("perhaps differs",), "as △, where neither side is better."),
}
SAID: Mapping[str, tuple[Verdict, ...]] = {
    "better at": ("better",),
    "worse at": ("worse",),
    "different at": ("differs",),
    "perhaps different at": ("perhaps better", "perhaps worse", "perhaps differs"),
}
MOST_TITLES = 6
LONGEST = 500
EDITED = (
    "accuracy_drop.edits",
    "corruption_error.",
    "translation_consistency.",
    "shape_bias.",
    "retrieval_robustness.",
)
"""What figures over edited pictures begin with."""


def marks(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """Explain the marks: `(mark, meaning)` of those that stand beside a row."""
    given = {one.verdict for row in rows for one in row.differences}
    return tuple((mark, meaning) for mark, (verdicts, meaning) in MEANT.items() if given.intersection(verdicts))


def lead(report_rows: Sequence[Row], models: Sequence[Model], reference: str) -> tuple[str, ...]:
    """Say a sentence for each model but the reference: where it is better, worse, and can't be told apart.

    Rows below another row aren't counted.
    """
    rows = [row for row in report_rows if not row.under]
    return tuple(_sentence(rows, model, reference) for model in models if model.name != reference)


def _sentence(rows: Sequence[Row], model: Model, reference: str) -> str:
    found = [
        (row.title, one.verdict)
        for row in rows
        for one in row.differences
        if one.of == model.name and one.to == reference and one.verdict
    ]
    same = sum(verdict == "same" for _, verdict in found)
    if not found:
        return f"{model.short} can’t be compared: no row has enough photographs that both models answered."
    if same == len(found):
        where = f"any of {same} rows" if same > 1 else "the only row"
        return f"{model.short} can’t be told apart in {where}."
    told = [f"in {same} of {len(found)} rows it can’t be told apart"] if same else []
    sentence = ""
    for most in (MOST_TITLES, 3, 0):
        said = [f"{word} {_where(titles, most)}" for word, titles in _sorted_out(found)]
        sentence = f"{model.short} is {'; '.join([*said, *told])}."
        if len(sentence) <= LONGEST:
            return sentence
    return f"{sentence[: LONGEST - 1]}…"


def _sorted_out(found: Iterable[tuple[str, Verdict]]) -> Iterator[tuple[str, list[str]]]:
    """Words for the verdicts, each with the titles of its rows."""
    found = list(found)
    for word, verdicts in SAID.items():
        if titles := [_inside(title) for title, verdict in found if verdict in verdicts]:
            yield word, titles


def _where(titles: Sequence[str], most: int) -> str:
    """The titles; beyond `most` of them, only how many more there are."""
    if not most:
        return f"{len(titles)} row{'s' * (len(titles) > 1)}"
    return _listed(titles if len(titles) <= most else [*titles[:most], f"{len(titles) - most} more"])


def _inside(title: str) -> str:
    """A title inside a sentence: abbreviations keep their capitals."""
    return title if title[1:2].isupper() or title[1:2].isdigit() else title[:1].lower() + title[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def limits(report: Report) -> tuple[Limit, ...]:
    """Say what the report doesn't say, each sentence only where it applies."""
    return tuple(_limits(report))


def _limits(report: Report) -> Iterator[Limit]:
    rows, models, photographs = report.rows, report.models, report.photographs
    classes = f" of {photographs.classes:,} classes" if photographs.classes > 1 else ""
    yield Limit(
        title="Nothing about other photographs.",
        text=f"{photographs.n:,} photographs{classes}, chosen by whoever made the folder. Intervals cover chance in "
        "drawing such photographs, not a biased choice.",
    )
    if len(rows) > 1:
        yield Limit(
            title="No overall score.",
            text="A model that wins ten rows and loses one may be the worse one for you: which row counts is yours to "
            "say, with --fail-below.",
        )
    verdicts = {one.verdict for row in rows for one in row.differences}
    widths = sorted(row.seen for row in rows if row.seen is not None)
    if "same" in verdicts and widths:
        points = widths[len(widths) // 2]
        about = f"{points:.0f}" if points >= 1 else f"{points:.1f}"
        yield Limit(
            title="≈ is not “as good as”.",
            text=f"With {photographs.n:,} photographs a difference of less than about {about} "
            f"point{'s' * (about != '1')} is rarely seen; each row tells its own number.",
        )
    if any(row.kind == "bound" for row in rows):
        yield Limit(
            title="Certificates are lower bounds.",
            text="They hold at their radius and error, for the smoothed model, against what they certify.",
        )
    if any(row.of.startswith("adaptive_accuracy.") for row in rows):
        text = "So what is right under attack is an upper bound."
        yield Limit(title="A stronger attack may find more.", text=text)
    unknown = [model.short for model in models if not model.trained_on]
    stated = len(unknown) < len(models)
    yield Limit(
        title="Perhaps seen in training.",
        text="Whether your photographs were among a model’s training pictures "
        + (
            f"isn’t known for {_listed(unknown)}{', and is only stated for the others' if stated else ''}."
            if unknown
            else "is only stated by the models’ authors."
        ),
    )
    if any(row.of.startswith(EDITED) for row in rows):
        yield Limit(
            title="Edits are not the world.",
            text="An edited photograph is a picture that nobody took. Rows from one technique share its artefacts.",
        )
