"""Reads published panel data: reviewed mistakes of a model, and people's labels of pictures with several objects.

The formats are those of github.com/google-research/imagenet-mistakes (Apache-2.0), published with Vasudevan et al.
2022, "When does dough become a bagel?", arXiv 2205.04596.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from variorum.schemas.errors import SourceError

Category = Literal[
    "fine_grained",  # the two classes are closely related
    "fine_grained_oov",  # the object has no class; the nearest one was predicted
    "spurious_correlation",  # the prediction follows the usual context
    "non_prototypical",  # an unusual example of the class
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
    """A prediction that the panel called wrong: the predicted class, the kind of mistake and its severity."""

    prediction: int
    category: Category
    severity: Severity


@dataclass(frozen=True, slots=True)
class PanelLabels:
    """A panel's result for one picture: class ids that are right, wrong, or unclear.

    Leave `problematic` pictures out of any measure, and don't use an unclear label as a negative in training.
    """

    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    unclear: tuple[str, ...]
    problematic: bool


def read_mistakes(path: Path) -> dict[str, Mistake]:
    """Picture to mistake, from `vit3b_mistakes.json` and similar files; both spellings of out-of-vocabulary are merged.

    Raises:
        SourceError: file missing or unreadable, or an entry of another form.
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
    """Picture to labels, and the pictures with major mistakes (ImageNet-M), from `human_accuracy_v3.0.0.json`.

    Raises:
        SourceError: file missing, unreadable or of another form.
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
        raise SourceError(f"{path}: holds a {type(found).__name__}, not an object with pictures as keys")
    return found
