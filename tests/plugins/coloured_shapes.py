"""A folder of coloured shapes, and labelers in files that call colours unsafe and log their calls.

No picture is unsafe in any way; a colour stands in for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LABELER = '''
"""Calls pictures of a colour unsafe, and logs each call."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from variorum.schemas.component import Context
from variorum.schemas.errors import TemporaryError
from variorum.schemas.safety import Labeler, Opinion, Shown


class Colours(Labeler):
    """The share of a channel, for each of its categories."""

    speaks: tuple[str, ...] = ("blue",)

    def scored(self) -> tuple[str, ...]:
        return self.speaks

    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        log = Path(os.environ["LOG_OF_CALLS"])
        calls = log.read_text().count("\\n") if log.exists() else 0
        if calls == int(os.environ.get("DIES_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        if calls == int(os.environ.get("FAILS_AT", "-1")):
            raise TemporaryError("the network is gone")
        found = []
        for image in shown.pictures:
            share = image.reshape(-1, 3).mean(axis=0) / 255
            found.append(Opinion({name: float(share["red green blue".split().index(name)]) for name in self.speaks}))
        with log.open("a") as file:
            file.write(f"{self.called} {[int(image.sum()) for image in shown.pictures]}\\n")
        return found
'''
CATEGORIES = [
    {"id": "red", "name": "red", "definition": "a shape that is red"},
    {"id": "green", "name": "green", "definition": "a shape that is green"},
    {"id": "blue", "name": "blue", "definition": "a shape that is blue", "axis": "policy"},
]


def shapes(folder: Path, number: int, seed: int = 0) -> Path:
    """Squares of a colour on a grey ground, no two alike, in a folder."""
    rng = np.random.default_rng(seed)
    (folder / "shapes").mkdir(parents=True)
    for place in range(number):
        image = rng.integers(0, 40, (32, 32, 3), dtype=np.uint8)
        image[..., place % 3] = 250 - place
        Image.fromarray(image).save(folder / "shapes" / f"{place:03}.png")
    return folder


def recipe(folder: Path, labelers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A recipe that labels the shapes; a labeler's `name` is the file's unless it is given."""
    (folder / "colours.py").write_text(LABELER)
    return {
        "dataset": "shapes",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(folder / "shapes")},
        "curate": [
            {
                "name": "safety",
                "categories": CATEGORIES,
                "labelers": [{"name": str(folder / "colours.py"), **one} for one in labelers],
                **more,
            },
            {
                "name": "policy",
                "rules": [
                    {
                        "when": [{"column": "safety.flag", "equals": True}],
                        "action": "withhold",
                        "reason": "unsafe",
                    },
                    {
                        "when": [
                            {"column": "safety.needs_human", "equals": True},
                            {"column": "safety.p.blue", "at_least": 0.3},
                        ],
                        "action": "review",
                        "reason": "unclear",
                    },
                ],
            },
        ],
    }
