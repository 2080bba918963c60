"""A panel as it is served: what the addresses of `app` do, with votes, tasks and pictures put together.

Nothing here says which label a picture was given, why a question is asked, or what others have answered, except in the
discussion, which shows only questions that have all their blind votes.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException

from variorum.arrays import Bools
from variorum.edition.ledgers import newest_ledger
from variorum.people.panel.collected import votes_of
from variorum.people.panel.dispatch import (
    Task,
    disputed,
    disputed_left,
    next_tasks,
    open_subjects,
    progress,
    release_task,
)
from variorum.people.panel.haste import FAST
from variorum.people.panel.kinds import ASKED, CATEGORIES, PROBLEMS, SEVERITIES, VEILED
from variorum.people.panel.panel import Panel, notes, read_questions
from variorum.people.panel.unsafe import category_names
from variorum.people.server.casting import Casting
from variorum.people.server.classes import Classes
from variorum.people.server.images import Pictures
from variorum.people.server.requests import Admit, Next, Pause, Skip, Votes, Withdraw
from variorum.people.votes.ballots import Result, cast, is_paused, pause, pause_panel, withdraw_all
from variorum.people.votes.reviewers import admit, join, waiting_by_secret
from variorum.schemas.errors import VariorumError
from variorum.schemas.verdict import Action
from variorum.schemas.vote import Vote, question_key

DISCUSSED = 20
"""Disputed tasks in one answer."""
DOUBTFUL: tuple[Action, ...] = ("withhold", "drop", "review", "relabel")
"""Verdicts on pictures that are no good examples of their class."""
HASTY = (
    "You answer within about a second, and so far your answers can't be told from guesses. Take the time to look; "
    "unclear is an answer too."
)
STOPPED = (
    "You are paused: you answer within about a second, and your answers can't be told from guesses. Talk to the "
    "organiser, who can let you go on."
)
MISFILED = "the vote names a question that isn't the one of its picture and subject; load the page again"
FORMATS: Mapping[str, tuple[str, str]] = {
    "parquet": (".parquet", "application/vnd.apache.parquet"),
    "csv": (".csv", "text/csv"),
    "label_studio": (".json", "application/json"),
}
"""What votes can be exported as: ending and media type."""

Answer = dict[str, Any]
"""JSON of an answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """A panel, its pictures and its classes.

    Attributes:
        panel: that is open.
        pictures: of its edition.
        classes: of its edition.
        categories: of unsafe pictures, by id their name and definition.
        pause_below: seconds for an answer; who is faster and no better than guessing is paused. 0 pauses nobody.
        _turn: those that write take turns. SQLite has one writer, and who waits for it there looks again after some
            time, so that a few wait long; a lock wakes the next one at once.
        _casting: writes votes.
    """

    panel: Panel
    pictures: Pictures
    classes: Classes
    categories: Mapping[str, str] = field(default_factory=dict)
    pause_below: float = 0.0
    _turn: AbstractContextManager[object] = field(default_factory=Lock)
    _casting: Casting = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_casting", Casting(self._write, self._turn))

    @classmethod
    def of(
        cls, panel: Panel, definitions: Mapping[str, str], pause_below: float = 0.0, *, afar: bool = False
    ) -> Served:
        """A panel that is open, with all that its pages need in memory; see `Pictures` for `afar`.

        Raises:
            StoreError: a table of the edition or the panel is damaged.
        """
        pictures = Pictures(panel.manifest, panel.store, afar=afar)
        asked = _are_in(pictures, read_questions(panel, panel.store)["id"])
        classes = Classes(pictures, definitions, asked, _judged(panel, pictures, DOUBTFUL))
        categories = category_names(newest_ledger(panel.manifest, panel.store)[1])
        return cls(panel, pictures, classes, categories, pause_below)

    @property
    def title(self) -> str:
        """Of the edition's card, or its name."""
        card = self.panel.manifest.recipe.get("card")
        title = card.get("title") if isinstance(card, Mapping) else None
        return title if isinstance(title, str) and title else self.panel.manifest.dataset

    @property
    def warning(self) -> str:
        """Return the warning of what people may not want to see in the pictures; `""` without a warning."""
        return self.panel.manifest.warning

    @property
    def blur(self) -> bool:
        """Return whether all pictures are blurred until somebody asks to see them."""
        return self.panel.record.settings.blur or bool(self.warning)

    def warm(self) -> None:
        """Find what the first requests need, so that nobody waits for it."""
        with suppress(VariorumError):  # whoever asks for it is told
            for kind in self.panel.record.settings.kinds:
                open_subjects(self.panel.engine, self.panel.key, "", kind)
            self._progress("")
            disputed_left(self.panel.engine, self.panel.key)
            self.classes.about(next(iter(self.classes.names), ""))
            if len(self.pictures):
                self.pictures.blurred(0) if self.blur else self.pictures.thumbnail(0)

    # ── reviewers ────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, name: str, *, again: bool = False, address: str = "", waiting: bool = False) -> tuple[str, str]:
        """Name and secret of a new reviewer, or a new secret of one; raises NameRefused. See `reviewers.join`."""
        with self._turn:
            return join(
                self.panel.engine, self.panel.key, name, time.time(), again=again, address=address, waiting=waiting
            )

    def waiting(self, secret: str) -> str | None:
        """Name of the person with this secret who has to be confirmed; None if there is none."""
        return waiting_by_secret(self.panel.engine, self.panel.key, secret)

    def me(self, reviewer: str) -> Answer:
        """Return what a page needs to know at first."""
        record = self.panel.record
        return {
            "panel": {
                "name": record.name,
                "edition": f"{record.dataset}@{record.version}",
                "title": self.title,
                "kinds": {kind: ASKED[kind].as_json(blur=self.blur) for kind in record.settings.kinds},
                "votes": record.settings.votes,
                "blur": self.blur,
                "warning": self.warning,
                "paused": is_paused(self.panel.engine, self.panel.key, reviewer),
            },
            "problems": [[name, text] for name, text in PROBLEMS.items()],
            "categories": [[name, *texts] for name, texts in CATEGORIES.items()],
            "severities": [[name, *texts] for name, texts in SEVERITIES.items()],
            "reviewer": reviewer,
            "progress": self._progress(reviewer),
            "discussion": disputed_left(self.panel.engine, self.panel.key),
        }

    def next(self, reviewer: str, asks: Next) -> Answer:
        """The next tasks of a reviewer, which are theirs for a while, without those of pictures that nobody sees."""
        shown, holding = list[tuple[Task, Answer]](), list(asks.holding)
        with self._turn:
            while found := next_tasks(
                self.panel.engine,
                self.panel.key,
                reviewer,
                number=asks.number - len(shown),
                holding=holding,
                kind=asks.kind,
                subject=asks.subject,
                now=time.time(),
                rng_seed=self.panel.record.settings.seed,
                gold=self.panel.record.settings.gold,
                resume=asks.resume,
            ):
                before = len(shown)
                shown += [(task, answer) for task in found if (answer := self._shown(task))]
                holding += [task.task for task in found]
                if len(shown) - before == len(found) or len(shown) == asks.number:
                    break
        if asks.mode == "grid":
            for task, _ in shown:
                if (row := self.pictures.row(task.id)) is not None:
                    self.pictures.prepare([row], blur=self.blur or task.kind in VEILED)
        return {"tasks": [answer for _, answer in shown], "progress": self._progress(reviewer)}

    def cast(self, reviewer: str, asks: Votes) -> Answer:
        """Keep votes. What a page files under another question than it names is refused, the others aren't."""
        votes, results = list[Any](), dict[int, Result]()
        for place, one in enumerate(asks.votes):
            vote = one.by(reviewer)
            mine = question_key(vote.kind, vote.id, vote.sha256, vote.subject)
            if one.question not in (None, "", mine):
                results[place] = Result(vote.vote, "refused", MISFILED)
            else:
                votes.append(vote)
        kept = iter(self._casting.cast(votes) if votes else ())
        every = [results[place] if place in results else next(kept) for place in range(len(asks.votes))]
        warning = self._haste(reviewer) if any(one.state == "kept" for one in every) else ""
        answer = {"results": [_result(one) for one in every], "progress": self._progress(reviewer)}
        return {**answer, "warning": warning} if warning else answer

    def _haste(self, reviewer: str) -> str:
        """Words for whoever presses keys without a look, who may be paused by rule; `""` for all others."""
        from variorum.people.panel.raters import hasty

        engine, key = self.panel.engine, self.panel.key
        found = hasty(engine, key, reviewer, max(FAST, self.pause_below))
        if found is None:
            return ""
        if not (found.sure and found.seconds < self.pause_below):
            return HASTY
        with self._turn:
            pause(engine, key, reviewer, True)
        return STOPPED

    def _write(self, votes: Sequence[Vote]) -> list[Result]:
        return cast(self.panel.engine, self.panel.key, votes, time.time(), classes=self.classes.names)

    def withdraw(self, reviewer: str, asks: Withdraw) -> Answer:
        """Take votes back, all that can be."""
        pairs = [(one.vote, one.by) for one in asks.votes]
        with self._turn:
            results = withdraw_all(self.panel.engine, self.panel.key, pairs, reviewer, time.time())
        return {"results": [_result(one) for one in results], "progress": self._progress(reviewer)}

    def skip(self, reviewer: str, asks: Skip) -> Answer:
        """Give a task back; it comes again later."""
        with self._turn:
            release_task(self.panel.engine, self.panel.key, reviewer, asks.task, time.time())
        return {}

    def subjects(self, reviewer: str, kind: str) -> Answer:
        """Classes with open questions for a reviewer, those with most first."""
        found = open_subjects(self.panel.engine, self.panel.key, reviewer, kind)
        return {"subjects": [[one, self._name(kind, one), number, self._phrase(kind, one)] for one, number in found]}

    def discussion(self, after: int) -> Answer:
        """Disputed tasks behind one, with all their votes."""
        shown = list[Answer]()
        while not shown and (found := disputed(self.panel.engine, self.panel.key, after=after, number=DISCUSSED)):
            shown = [answer for task in found if (answer := self._shown(task, votes=True))]
            after = found[-1].task
        return {
            "tasks": shown,
            "left": disputed_left(self.panel.engine, self.panel.key),
        }

    def _progress(self, reviewer: str) -> Mapping[str, Any]:
        return progress(self.panel.engine, self.panel.key, reviewer, time.time())

    def _shown(self, task: Any, *, votes: bool = False) -> Answer | None:
        """A task as the page gets it; None if its picture isn't the edition's."""
        row = self.pictures.row(task.id)
        if row is None or self.pictures.sha256(row) != task.sha256:
            return None
        boxed = task.kind == "box"
        picture = self.pictures.described(row, named=boxed)
        questions = list[Answer]()
        for one in task.questions:
            question: Answer = {
                "question": one.question,
                "subject": one.subject,
                "name": self._name(task.kind, one.subject, picture["objects"]),
                "phrase": self._phrase(task.kind, one.subject),
            }
            if task.kind == "copy":
                other = self.pictures.row(one.subject)
                question["other"] = None if other is None else self.pictures.described(other, alone=True)
            if boxed and (found := _object(picture["objects"], one.subject)):
                question["box"] = found["box"]
            if votes:
                question["votes"] = [_vote(vote) for vote in one.votes]
            questions.append(question)
        shown: list[Any] = [picture, picture["original"], *(one.get("other") for one in questions)]
        veiled = any(one["veiled"] for one in shown if one)
        return {"task": task.task, "kind": task.kind, "veiled": veiled, "picture": picture, "questions": questions}

    def _name(self, kind: str, subject: str, objects: Any = ()) -> str:
        if kind == "box":
            return str((_object(objects, subject) or {}).get("name", ""))
        names = {"label": self.classes.names, "unsafe": self.categories}.get(kind)
        return "" if names is None else names.get(subject, subject)

    def _phrase(self, kind: str, subject: str) -> str:
        """What the question calls a class; of other kinds of questions, the name."""
        return self.classes.phrase(subject) if kind == "label" else self._name(kind, subject)

    # ── the administrator ────────────────────────────────────────────────────────────────────────────────────────

    def admin(self) -> Answer:
        """Reviewers, coverage and agreement."""
        from variorum.people.panel.raters import agreement, coverage, raters

        engine, key, record = self.panel.engine, self.panel.key, self.panel.record
        return {
            "panel": {
                "name": record.name,
                "edition": f"{record.dataset}@{record.version}",
                "title": self.title,
                "votes": record.settings.votes,
                "counts": record.counts,
                "notes": notes(record, self.panel.manifest, self.panel.store),
                "paused": is_paused(engine, key),
            },
            "raters": [_plain(one) for one in raters(engine, key)],
            "coverage": _plain(coverage(engine, key, record.settings.gold)),
            "agreement": _plain(agreement(engine, key)),
        }

    def admit(self, asks: Admit) -> Answer:
        """Confirm or refuse somebody who waits."""
        if not admit(self.panel.engine, self.panel.key, asks.reviewer, asks.admitted):
            raise HTTPException(404, "nobody of this name waits")
        return {"admitted": asks.admitted}

    def pause(self, asks: Pause) -> Answer:
        """Stop or go on with a reviewer, or with the whole panel."""
        if asks.reviewer is None:
            found = pause_panel(self.panel.engine, self.panel.key, asks.paused)
        else:
            found = pause(self.panel.engine, self.panel.key, asks.reviewer, asks.paused)
        if not found:
            raise HTTPException(404, "there is no such reviewer")
        return {"paused": asks.paused}

    def export(self, form: str) -> tuple[bytes, str, str]:
        """The votes that count as the content of a file, with a name for it and its media type."""
        from variorum.people.votes.files import write_votes

        if form not in FORMATS:
            raise HTTPException(400, f"votes are exported as {', '.join(FORMATS)}")
        ending, kind = FORMATS[form]
        with tempfile.TemporaryDirectory(prefix="variorum-votes-") as folder:  # which nobody else can read
            path = Path(folder) / f"votes{ending}"
            write_votes(votes_of(self.panel), path)
            data = path.read_bytes()
        record = self.panel.record
        return data, f"votes-{record.dataset}-{record.version}-{record.name}{ending}", kind


def _plain(value: Any) -> Any:
    """A value of dataclasses, mappings and numbers as JSON, with null for what isn't a number."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _vote(vote: Any) -> Answer:
    """A vote as the discussion shows it."""
    names = ("reviewer", "answer", "category", "severity", "reason", "comment")
    return {name: getattr(vote, name) for name in names}


def _result(result: Result) -> Answer:
    return {"vote": result.vote, "state": result.state, "why": result.why}


def _object(objects: Any, subject: str) -> Any:
    number = int(subject) if subject.isascii() and subject.isdigit() and len(subject) < 7 else -1
    return objects[number] if 0 <= number < len(objects) else None


def _are_in(pictures: Pictures, ids: Any) -> Bools:
    """Return which pictures are among some ids, `[pictures]`."""
    mine = np.array(ids.unique().to_pylist(), dtype=np.bytes_) if len(ids) else np.zeros(0, "S1")
    found: Bools = np.isin(pictures.ids, mine)
    return found


def _judged(panel: Panel, pictures: Pictures, actions: Sequence[Action]) -> Bools:
    """Return which pictures have a verdict with one of these actions in the edition's newest ledger, `[pictures]`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from variorum.edition.verdicts import read_verdicts

    _, ledger = newest_ledger(panel.manifest, panel.store)
    if ledger is None:
        return np.zeros(len(pictures), bool)
    said = read_verdicts(ledger.verdicts, panel.store)
    return _are_in(pictures, said.filter(pc.is_in(said["action"], value_set=pa.array(actions)))["id"])
