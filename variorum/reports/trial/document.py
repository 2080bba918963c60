"""The record of a trial, `trial.json`: one line per check, and what machine it was made on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from variorum.schemas.errors import RecipeError

FILE, PAGE, SHEETS = "trial.json", "trial.html", "sheets"
LARGEST = 2**24
"""Bytes of a record that is read."""
State = Literal["pass", "fail", "skipped"]
Name = Annotated[str, StringConstraints(max_length=2000)]

CHECKS = {
    "machine": "This machine",
    "load": "Weights, complete",
    "answer": "Known answer",
    "batches": "Alone, in a batch, shuffled, twice",
    "cpu": "Float32 on the CPU",
    "half": "Half precision and float32",
    "sweep": "Batch sizes and memory",
    "bare": "Recipe against bare model calls",
    "processes": "Two processes, one digest",
    "gpus": "Two GPUs, twice as fast",
    "kill": "Killed and resumed, one digest",
    "photographs": "Twelve photographs",
}
"""The checks in their order, with titles for people."""


class Strict(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(Strict):
    """One check.

    Attributes:
        check: which, a key of `CHECKS`.
        subject: aliases of one model, a recipe, or a part of the machine.
        state: how it ended; `skipped` if it can't be had here.
        said: the result or the reason, in a sentence.
        figures: what was measured.
        seconds: that it took.
        key: digest of what decides the result. A line that passed isn't repeated as long as its key is the same.
    """

    check: Name
    subject: Name
    state: State
    said: Annotated[str, StringConstraints(max_length=20_000)] = ""
    figures: dict[str, Any] = {}
    seconds: float = Field(default=0, ge=0)
    key: Name = ""


class Trial(Strict):
    """All lines of a trial.

    Attributes:
        format: of the record.
        profile: which table of models.
        machine: its GPU, or its processor.
        versions: of the libraries, by name.
        command: that makes the record again.
        lines: the checks in their order.
    """

    format: Literal[1] = 1
    profile: Name
    machine: Name
    versions: dict[str, str] = {}
    command: Name = ""
    lines: Annotated[tuple[Line, ...], Field(max_length=10_000)] = ()

    def count(self, state: State) -> int:
        """How many lines ended so."""
        return sum(line.state == state for line in self.lines)


def read_trial(folder: Path) -> Trial | None:
    """The record in a folder; None if there is none.

    Raises:
        RecipeError: the file isn't such a record.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        return Trial.model_validate(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        why = str(error).splitlines()[0]
        raise RecipeError(f"{path} isn't the record of a trial ({why}); give another folder with --out") from None


def write_trial(trial: Trial, folder: Path) -> None:
    """Write the record in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{FILE}.part"
    fresh.write_text(json.dumps(trial.model_dump(mode="json"), indent=1, allow_nan=False) + "\n", "utf-8")
    fresh.replace(folder / FILE)
