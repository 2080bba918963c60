"""Published panel data: a model's reviewed mistakes, and people's labels of pictures that show several things.

The formats are those of github.com/google-research/imagenet-mistakes (Apache-2.0), which goes with Vasudevan et al.
2022, "When does dough become a bagel?", arXiv 2205.04596.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from schemas.errors import SourceError

Category = Literal[
    "fine_grained",  # both classes are close kin
    "fine_grained_oov",  # what is shown has no class; the nearest one was predicted
    "spurious_correlation",  # the prediction follows what usually stands beside it
    "non_prototypical",  # an unusual specimen
    "fine_grained_multi_label",
]
Severity = Literal["major", "minor", "borderline"]

SEVERITIES: Mapping[str, Severity] = {"major": "major", "minor": "minor", "borderline": "borderline"}
SPELLINGS: Mapping[str, Category] = {
    "fine-grained error": "fine_grained",
    "fine-grained error with oov": "fine_grained_oov",
    "fine-grained with oov": "fine_grained_oov",
    "spurious correlation": "spurious_correlation",
    "non-prototypical": "non_prototypical",
    "fine-grained with multilabel options": "fine_grained_multi_label",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A prediction that the panel called wrong: the class predicted, the kind of mistake, how bad it is."""

    prediction: int
    category: Category
    severity: Severity


@dataclass(frozen=True, slots=True)
class PanelLabels:
    """What a panel settled on one picture: class ids that are right, wrong or not to be settled.

    `problematic` pictures are left out of any measure; an unclear label is never a negative for training.
    """

    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    unclear: tuple[str, ...]
    problematic: bool


def read_mistakes(path: Path) -> dict[str, Mistake]:
    """Picture to mistake, from `vit3b_mistakes.json` and its like; both spellings of out-of-vocabulary are one.

    Raises:
        SourceError: no such file, or an entry of another form.
    """
    found = {}
    for picture, entry in _read(path).items():
        try:
            category = SPELLINGS[str(entry["failure category"]).strip().lower()]
            severity = SEVERITIES[str(entry["failure severity"]).strip().lower()]
            found[picture] = Mistake(int(entry["top_prediction"]), category, severity)
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(
                f"{path}: {picture}: {error} is missing or unknown; an entry has top_prediction, failure category "
                f"({', '.join(SPELLINGS)}) and failure severity ({', '.join(SEVERITIES)})"
            ) from None
    return found


def read_panel_labels(path: Path) -> tuple[dict[str, PanelLabels], list[str]]:
    """Picture to labels, and the pictures of the slice of major mistakes, from `human_accuracy_v3.0.0.json`.

    Raises:
        SourceError: no such file, or one of another form.
    """
    whole = _read(path)
    try:
        problematic = set(whole["problematic_images"])
        labels = {
            picture: PanelLabels(
                tuple(entry.get("correct", ())),
                tuple(entry.get("wrong", ())),
                tuple(entry.get("unclear", ())),
                picture in problematic,
            )
            for picture, entry in whole["initial_annots"].items()
        }
        return labels, [str(picture) for picture in whole["imagenet_m"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{path}: {error}; it needs initial_annots (picture to correct, wrong, unclear), problematic_images, "
            "imagenet_m"
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} can't be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise SourceError(f"{path}: holds a {type(found).__name__}, not an object with a picture a key")
    return found
