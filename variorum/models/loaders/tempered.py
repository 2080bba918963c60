"""Loader `tempered`: a classifier whose log probabilities are divided by one temperature, so that no answer changes.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.models.defended import LEAST, Combined, DefenceOptions, Part, defence, parts_of
from variorum.models.imagenet_classes import index_of, table
from variorum.models.table_entries import Entry
from variorum.pixels import UndecodableImage, decode
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.statistics import TEMPERATURES, at_edge, best_temperature


class TemperedOptions(DefenceOptions):
    """Options of `tempered`."""

    reads: ClassVar[str] = "pictures to fit the temperature on, not those under test, in a folder for each class"
    t: float | None = Field(default=None, ge=TEMPERATURES[0], le=TEMPERATURES[1])
    """The temperature that log probabilities are divided by; without it, the best one for the pictures of `from`."""


def load_tempered(entry: Entry, folder: Path | None, options: TemperedOptions, used: Mapping[str, Any]) -> Combined:
    """The model at a temperature. Raises RecipeError for what can't be fitted, and unless one way is given."""
    parts = parts_of(used, gradients=options.gradients)
    if (options.t is None) == (folder is None):
        raise RecipeError(f"{entry.name}: give one of t=NUMBER and from=FOLDER, {TemperedOptions.reads}")
    t: Any = options.t if folder is None else _fitted(parts[0], folder)
    said = "" if folder is None else f" fitted on {folder.name}" + ", an end of what is tried, so no fit" * at_edge(t)
    return Combined(parts, lambda logp: (logp[0] / t).log_softmax(-1), f"temperature {t:.4g}{said}.")


def _fitted(part: Part, folder: Path) -> float:
    logp, label, known = [], [], {name: place for place, name in enumerate(part.classes)}
    for file in sorted(one for one in folder.glob("*/*") if one.is_file()):
        kind = file.parent.name
        output = known.get(kind) if known else index_of(kind)
        try:
            image = decode(file.read_bytes())
        except UndecodableImage as error:
            raise RecipeError(f"tempered: a file in {cut(repr(kind))} is no picture: {error}") from None
        logp.append(np.log(np.maximum(np.asarray(part.ask([image]), np.float64), LEAST))[0])
        if output is None or (not known and len(logp[-1]) != len(table())):
            raise RecipeError(f"tempered: folder {cut(repr(kind))} is no class of {cut(part.name)}")
        label.append(logp[-1][output])
    if not logp:
        raise RecipeError(f"tempered: from={folder.name} has no pictures; it needs {TemperedOptions.reads}")
    return best_temperature(np.stack(logp), np.array(label))


TEMPERED = defence(
    load_tempered,
    TemperedOptions,
    "Its logits are divided by a temperature, which changes no answer (Guo et al., arXiv 1706.04599).",
)
