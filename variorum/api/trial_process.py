"""Does parts of a trial in a process of its own: answers on the CPU, and builds that are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from variorum.api.trial_calls import Question, caller
from variorum.machine.programs import python
from variorum.runners.processes import DEVICES
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.recipe import Recipe

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from variorum.api.trial_process import main; main(json.loads(sys.argv[2]))"
)
ON_CPU = 1
"""Pictures that are computed on the CPU."""
PATIENCE = 1800
"""Seconds that they may take."""


def start(work: Mapping[str, Any], errors: IO[bytes], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that does some work of `main`, as the leader of a process group; its errors go into a file."""
    return subprocess.Popen(  # noqa: S603 - this interpreter and this module
        python("-c", PROGRAM, json.dumps(sys.path), json.dumps(work)),
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )


def answers_on_cpu(profile: str, alias: str, question: Question) -> list[Any]:
    """A model's answers to the first pictures, on the CPU in float32, from a process without a GPU.

    Raises:
        ModelUnavailable: the process failed, or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, said = Path(folder) / "asked.npz", Path(folder) / "said.npz"
        np.savez(asked, *question.images[:ON_CPU])
        work = {"do": "answer", "profile": profile, "alias": alias, "asked": str(asked), "said": str(said)}
        with tempfile.TemporaryFile() as errors:
            process = start({**work, "guidance": question.guidance, "steps": question.steps}, errors, {DEVICES: ""})
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise ModelUnavailable(f"the CPU hasn't answered within {PATIENCE // 60} minutes") from None
            finally:
                process.kill()
                process.wait()
            if process.returncode:
                raise ModelUnavailable(f"the CPU gave no answer: {last_line(errors)}")
        return _loaded(said)


def last_line(errors: IO[bytes]) -> str:
    """The last line of a process's errors."""
    errors.seek(0)
    text = errors.read().decode(errors="replace")
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it ended without a word")


def main(work: Mapping[str, Any]) -> None:
    """Do what `work` says: answer on this device in float32, or build an edition."""
    if work["do"] == "answer":
        from variorum.stages.job import models

        images = [np.asarray(image, np.uint8) for image in _loaded(Path(work["asked"]))]
        question = Question(images, work["steps"], work["guidance"])
        model = models(work["profile"]).get_as(work["alias"], "float32")
        answers = caller(model, question)(range(len(images)))
        np.savez(work["said"], *answers)
    else:
        from variorum.pipeline import build
        from variorum.stages.job import Job

        build(Job(Recipe.parse(work["recipe"]), work["store"], work["profile"]))


def _loaded(path: Path) -> list[Any]:
    """The arrays of a file in their order; texts as texts."""
    with np.load(path, allow_pickle=False) as file:
        found = [file[f"arr_{number}"] for number in range(len(file.files))]
    return [one.item() if one.dtype.kind == "U" else one for one in found]
