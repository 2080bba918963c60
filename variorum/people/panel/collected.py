"""Keep a panel's votes in a file that is never changed, which a recipe can name, and say how far the panel has come.

panels/<dataset>/<version>/<name>/votes-<hash>.parquet     the votes that count, at the time of asking
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import and_, case, func, or_, select

from variorum.machine.cache import cache_dir
from variorum.machine.retrying import hash_content
from variorum.people.panel.loading import question_keys
from variorum.people.panel.panel import Panel, folder_of, read_questions
from variorum.people.votes.ballots import counted
from variorum.people.votes.database import questions, reading, tasks
from variorum.people.votes.files import write_votes

DIGITS = 16
"""Digits of a content's hash in a file's name."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The progress of a panel. Tasks with known answers aren't counted, as everybody may be asked them at any time.

    Attributes:
        questions: their number.
        settled: those that have all their votes, and aren't part of a dispute.
        disputed: tasks that have all their votes, which differ, and wait for a discussion.
        votes: blind votes that are given on the questions.
    """

    questions: int
    settled: int
    disputed: int
    votes: int

    @property
    def share(self) -> float:
        """Settled questions by all of them, 1 if there are none."""
        return self.settled / self.questions if self.questions else 1.0

    def __str__(self) -> str:
        said = f"{self.settled:,} of {self.questions:,} questions are settled, with {self.votes:,} votes"
        return f"{said}; {self.disputed:,} pictures wait for a discussion" if self.disputed else said


def standing(panel: Panel) -> Standing:
    """Count a panel's progress. Raises StoreError or TemporaryError if its database can't be read."""
    mine = questions.c.panel == panel.key, tasks.c.why != "gold"
    of_task = and_(tasks.c.panel == questions.c.panel, tasks.c.task == questions.c.task)
    unsettled = or_(questions.c.open, tasks.c.disputed)
    counts = select(
        func.count(),
        func.coalesce(func.sum(case((unsettled, 0), else_=1)), 0),
        func.coalesce(func.sum(questions.c.votes), 0),
    )
    disputes = select(func.count()).where(tasks.c.panel == panel.key, tasks.c.disputed)
    with reading(panel.engine) as connection:
        number, settled, votes = connection.execute(counts.join_from(questions, tasks, of_task).where(*mine)).one()
        return Standing(number, int(settled), connection.scalar(disputes) or 0, int(votes))


def votes_of(panel: Panel) -> Any:
    """The votes that count, as `ballots.counted`, each with the `truth` that its question was published with.

    Raises:
        StoreError, TemporaryError: the database or the questions can't be read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    asked = read_questions(panel, panel.store)
    known = asked.filter(pc.and_(pc.equal(asked["why"], "gold"), pc.invert(asked["presumed"])))
    votes = counted(panel.engine, panel.key)
    at = pc.index_in(votes["question"], value_set=pa.array(question_keys(known), pa.string()))
    truth = pc.fill_null(known["truth"].combine_chunks().take(at.combine_chunks()), "")
    place = votes.schema.get_field_index("truth")
    return votes.set_column(place, votes.schema.field(place), truth)


def keep_votes(panel: Panel) -> Path:
    """Write the votes that count into the panel's folder, in a file named by its content.

    Returns:
        The file; for a store that isn't on this machine, this machine's copy of it.

    Raises:
        StoreError, TemporaryError: the database can't be read, or the store can't be written.
    """
    with panel.store.temporary(".parquet") as path:
        write_votes(votes_of(panel), path)
        name = f"votes-{hash_content(path)[:DIGITS]}.parquet"
        data = path.read_bytes()
    place = f"{folder_of(panel.record)}/{name}"
    panel.store.put_if_absent(place, data)
    if panel.store.local is None:
        kept = cache_dir() / "votes" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
    else:
        kept = panel.store.local / place
    with suppress(PermissionError):  # somebody else's, with the same votes
        kept.chmod(0o600)
    return kept
