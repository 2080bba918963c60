"""A leaderboard as data: models on one edition, in order, with intervals. `leaderboard.json` holds it."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from variorum.edition.editions import read_beside
from variorum.edition.records import BadRecord, parse, to_json
from variorum.edition.store import Store
from variorum.reports.figures import TOO_FEW, Row, Shown, fixed, markdown, paired_originals, table_cell
from variorum.reports.results import EditionName, Figures, Interval, Method, ModelFacts, Name, Note, Part
from variorum.schemas.fields import Count, whole
from variorum.schemas.manifest import Manifest
from variorum.schemas.plot import FEWEST
from variorum.schemas.sample import is_baseline

log = logging.getLogger(__name__)

FILE = "leaderboard.json"
RULE = (
    "Ranked by accuracy over the edits, averaged over the variants without baselines; where an edition has no edits, "
    "by accuracy on the originals. Ties are ordered by name."
)
NOT_RUN = "not run here"
BY_CHANCE = "at chance"
DOUBT = "?"
"""Marks such a model in a table of text, where there is little room."""
UNLIKELY = 0.05
"""Probability below which a number of right answers isn't taken for an accident."""
MODEST = 0.25
"""Part of the way from chance to always right that a model in working order is taken to reach on originals."""
TIE = "≈"
"""Marks a model whose distance to the best may be chance: its interval includes 0."""
MOST = 5_000
"""Models of a leaderboard."""


def by_chance(right: int, n: int, classes: int) -> bool:
    """Return whether a model's answers on originals look like guesses.

    Guessing must explain as many right answers, and a modest model mustn't give as few: exact binomial tests. So a few
    photographs of a hard set say nothing.
    """
    from scipy.special import bdtr

    chance = 1 / max(classes, 1)
    if not n or chance == 1:
        return False
    guessed = 1 - float(bdtr(right - 1, n, chance)) if right else 1.0
    return guessed > UNLIKELY and float(bdtr(right, n, chance + MODEST * (1 - chance))) < UNLIKELY


def chance_warning(name: str, right: int, n: int, classes: int) -> str:
    """The line about a model that is right on so few originals; `""` if that doesn't look like guesses."""
    if not by_chance(right, n, classes):
        return ""
    return (
        f"{name} is right on {right} of {n} originals, and chance is {100 / classes:.2g} %: are its classes in order, "
        f"is its preprocessing right, is it trained?"
    )


class Entry(Part):
    """A model's place.

    Attributes:
        rank: from 1.
        model: its name, revision and preprocessing.
        scored: number of pictures whose label is one of its classes.
        figures: computed from its answers.
        photographs: number of those of which an original and an edit were scored, or an edit alone where there are no
            originals; the figures over edits are over these. None in a file of an earlier version.
        behind: how much better the best model is, over the pictures that both were scored on; None for the best, and
            where there is no such picture.
        brought: whether the answers come from a file that was made elsewhere, so that nobody ran the model here.
    """

    rank: Annotated[int, Field(ge=1, le=MOST, strict=True)]
    model: ModelFacts
    scored: Count
    figures: Figures
    photographs: Count | None = None
    behind: Interval | None = None
    brought: bool = False

    @property
    def ties(self) -> bool:
        """Return whether the distance to the best may be chance."""
        return self.behind is not None and self.behind.low <= 0 <= self.behind.high

    @property
    def original_accuracy(self) -> float | None:
        """Accuracy on the originals that the edits are compared with: averaged over the variants, as the edits' is.

        It minus the accuracy over the edits is the average drop. Without edits it is the accuracy on all originals.
        """
        found = paired_originals({name: self.figures.variants[name].original_accuracy for name in self.averaged})
        return self.figures.original_accuracy if found is None else found

    @property
    def averaged(self) -> list[str]:
        """The edits that the averages are over."""
        found = self.figures.variants
        return [name for name in self.figures.averaged or found if name in found and not is_baseline(name)]

    @property
    def few(self) -> int | None:
        """The number of photographs that are too few for its figures to be shown; None if they are enough."""
        numbers = [self.figures.n, *(self.figures.variants[name].n for name in self.averaged)]
        alone = self.figures.original_accuracy is None
        least = min([*numbers[alone:], *([] if self.photographs is None else [self.photographs])], default=FEWEST)
        return least if least < FEWEST else None

    @property
    def remarks(self) -> list[str]:
        """What readers should know of this model, in a few words each."""
        return [*([NOT_RUN] if self.brought else []), *([BY_CHANCE] if self.by_chance else [])]

    @property
    def by_chance(self) -> bool:
        """Return whether its answers on the originals look like guesses."""
        return self.right is not None and by_chance(self.right, self.figures.n, self.model.classes)

    @property
    def right(self) -> int | None:
        """The number of originals with a right answer; None without originals."""
        share = self.figures.original_accuracy
        return None if share is None else round(share * self.figures.n / 100)


class LeftOut(Part):
    """A file that isn't in the leaderboard, and why."""

    file: Name
    why: Note


class Leaderboard(Part):
    """Models on one edition, the best first."""

    format: Annotated[Literal[1], BeforeValidator(whole)] = 1
    edition: EditionName
    pictures: Count
    method: Method
    entries: Annotated[tuple[Entry, ...], Field(max_length=MOST)]
    left_out: Annotated[tuple[LeftOut, ...], Field(max_length=MOST)] = ()

    def to_bytes(self) -> bytes:
        """The content of `leaderboard.json`."""
        return to_json(self) + b"\n"

    def variants(self) -> list[str]:
        """The variants of all models, in the order of the first that has them."""
        return list(dict.fromkeys(name for entry in self.entries for name in entry.figures.variants))

    def warnings(self) -> list[str]:
        """A line for each model that seems to answer by chance."""
        return [
            chance_warning(entry.model.name, entry.right or 0, entry.figures.n, entry.model.classes)
            for entry in self.entries
            if entry.by_chance
        ]

    def edits(self) -> list[str]:
        """The variants without baselines."""
        return [name for name in self.variants() if not is_baseline(name)]

    def baselines(self) -> list[str]:
        """The variants that edits are compared with, such as `plate`, which has no object."""
        return [name for name in self.variants() if is_baseline(name)]

    @property
    def with_drops(self) -> bool:
        """Return whether some model was scored on originals, so that there are drops."""
        return any(entry.figures.original_accuracy is not None for entry in self.entries)

    def notes(self) -> list[str]:
        """Notes for readers: the rule, the marks, and what is missing."""
        said = [RULE]
        if any(entry.figures.average_drop for entry in self.entries):
            said.append(
                f"Drop is accuracy on the originals minus accuracy on the edits, in percentage points. All three are "
                f"over the same photographs{self._photographs()}, averaged over the variants."
            )
        if len(self.entries) > 1:
            said.append(
                f"Behind is the distance to the best model over the same pictures, in percentage points. {TIE} marks a "
                f"distance that may be chance, because its interval includes 0."
            )
        if any(entry.figures.average_drop or entry.behind for entry in self.entries):
            said.append(
                f"Brackets are {100 * self.method.confidence:g} % intervals over the photographs: bootstrap, and exact "
                "where fewer than ten tell."
            )
        if any(entry.few is not None for entry in self.entries) or self._short():
            said.append(f"No figure of fewer than {FEWEST} photographs is shown, only their number.")
        if short := self._short():
            said.append(f"Averages leave out what fewer photographs have: {', '.join(short)}.")
        if self.entries and all(entry.figures.original_accuracy is None for entry in self.entries):
            said.append("The edition has no originals with a label, so there are accuracies and no drops.")
        said += [
            f"{entry.model.name} was scored on {entry.scored} of {self.pictures} pictures; the labels of the others "
            f"are none of its classes."
            for entry in self.entries
            if entry.scored < self.pictures
        ]
        if any(entry.brought for entry in self.entries):
            said.append(
                f"Models marked as {NOT_RUN} have answers from files that were made elsewhere. Their figures fit these "
                f"answers; whether the model gave them, nobody has checked."
            )
        unknown = [entry.model.name for entry in self.entries if not entry.model.revision]
        if unknown:
            said.append(f"Models of unknown revision: {', '.join(unknown)}.")
        return said

    def _short(self) -> list[str]:
        """Edits that are in no model's average."""
        averaged = {name for entry in self.entries for name in entry.averaged}
        return [name for name in self.edits() if name not in averaged]

    def _photographs(self) -> str:
        """How many, if all models were scored on the same number of photographs and edits."""
        numbers = {
            (entry.photographs, sum(one.n for name, one in entry.figures.variants.items() if not is_baseline(name)))
            for entry in self.entries
        }
        photographs, edits = next(iter(numbers))
        return f", {photographs} with {edits} edits" if len(numbers) == 1 and photographs else ""


def read_leaderboard(manifest: Manifest, store: Store) -> Leaderboard | None:
    """The leaderboard beside the manifest; None if there is none of this edition. A damaged one is only logged."""
    data = read_beside(manifest, FILE, store)
    if data is None:
        return None
    try:
        found = parse(data, Leaderboard)
    except BadRecord as error:
        log.warning("%s of %s@%s isn't shown: %s", FILE, manifest.dataset, manifest.version, error)
        return None
    return found if found.edition.digest == manifest.digest() else None


def render_leaderboard(manifest: Manifest, store: Store) -> str:
    """The leaderboard beside the manifest as a part of the card; `""` if no model has results."""
    board = read_leaderboard(manifest, store)
    return f"\n{to_markdown(board, level=3)}" if board and board.entries else ""


# ── as text ──────────────────────────────────────────────────────────────────────────────────────────────────────────

HEAD = ("model", "originals", "edits", "drop", "behind")


def standing(board: Leaderboard) -> Shown:
    """The main table."""
    rows: list[Row] = [
        (
            f"{entry.rank}. {entry.model.name}"
            + (f" ({NOT_RUN})" if entry.brought else "")
            + (f" {DOUBT}" if entry.by_chance else ""),
            *(
                (
                    fixed(entry.original_accuracy, 1),
                    fixed(entry.figures.accuracy, 1),
                    ends(entry.figures.average_drop),
                    f"{TIE if entry.ties else ''} {ends(entry.behind)}".strip() if entry.rank > 1 else "",
                )
                if entry.few is None
                else (f"{TOO_FEW} ({entry.few})", "", "", "")
            ),
        )
        for entry in board.entries
    ]
    return Shown(f"Leaderboard: {board.edition.name}, accuracy in %", HEAD, rows)


def by_variant(board: Leaderboard) -> Shown:
    """Each edit's drop, or accuracy where there are no originals, for each model."""
    names, drops = board.edits(), board.with_drops
    rows: list[Row] = []
    for entry in board.entries:
        found = [entry.figures.variants.get(name) for name in names]
        cells = [None if one is None else one.shown(drops) for one in found]
        rows.append((entry.model.name, *(fixed(cell, 1) for cell in cells)))
    return Shown("Drop by variant, pp" if drops else "Accuracy by variant, %", ("model", *names), rows)


def by_baseline(board: Leaderboard) -> Shown | None:
    """Accuracy on all originals and on the baselines; None if this says no more than the main table."""
    names = board.baselines()
    if not names and all(entry.original_accuracy == entry.figures.original_accuracy for entry in board.entries):
        return None
    rows: list[Row] = [
        (
            entry.model.name,
            fixed(entry.figures.original_accuracy if entry.figures.n >= FEWEST else None, 1),
            *(fixed(one.shown(False) if (one := entry.figures.variants.get(name)) else None, 1) for name in names),
        )
        for entry in board.entries
    ]
    return Shown("Baselines: accuracy, %", ("model", "all originals", *names), rows)


def ends(item: Interval | None) -> str:
    """`5.2 [3.1, 7.4]`; – for None."""
    return "–" if item is None else f"{item.value:.1f} [{item.low:.1f}, {item.high:.1f}]"


def short_revision(model: ModelFacts) -> str:
    """A revision without the model's name, its hash cut to twelve digits: `sha256:0123456789ab`; `unknown` for none."""
    own = model.revision.removeprefix(f"{model.name}@")
    head, colon, tail = own.partition("+")[0].rpartition(":")
    return f"{head}{colon}{tail[:12]}" if own else "unknown"


def to_markdown(board: Leaderboard, *, level: int = 1) -> str:
    """The leaderboard as Markdown; text from files is escaped."""
    main, parts = standing(board), by_variant(board)
    lines = [f"{'#' * level} {table_cell(main.title)}", "", markdown(main.head, main.rows), ""]
    for one in (parts if len(parts.head) > 1 else None, by_baseline(board)):
        if one is not None:
            lines += [f"{'#' * (level + 1)} {one.title}", "", markdown(one.head, one.rows), ""]
    models = [
        (entry.model.name, short_revision(entry.model), entry.model.classes, entry.model.preprocessing or "–")
        for entry in board.entries
    ]
    lines += [
        f"{'#' * (level + 1)} Models",
        "",
        markdown(("model", "revision", "classes", "preprocessing"), models),
        "",
    ]
    lines += [f"- {table_cell(note)}" for note in (*board.warnings(), *board.notes())]
    lines += [f"- Left out: {table_cell(one.file)}: {table_cell(one.why)}" for one in board.left_out]
    return "\n".join(lines) + "\n"
