"""`hf:owner/name`, `hf:owner/name@COMMIT`, `hf:FOLDER`: image classifiers of the library transformers.

The processor and the network are the library's own; weights are safetensors, and no code of a repository is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from variorum.models.brought.found import Found
from variorum.models.brought.model import BATCH, BroughtModel
from variorum.models.brought.places import local, read_config, read_json, snapshot
from variorum.models.download import PICKLES
from variorum.models.loaders.classifiers import ImageClassification, read_image_classification
from variorum.models.memory import running_out
from variorum.models.weights import tree_sha256
from variorum.schemas.errors import ModelUnavailable

FILES = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
)


def find(name: str, rest: str, *, fetch: bool) -> Found:
    """Resolve a name after `hf:`: a folder if there is one with that path, else a repository of the Hub.

    Raises:
        RecipeError: it can't be a repository's name.
        ModelUnavailable: it isn't here, or isn't a classifier of transformers.
    """
    if os.path.exists(rest) or rest.startswith((".", "/", "~")):
        folder = local(rest, name, "folder")
        if problem := _lacks(folder):
            raise ModelUnavailable(f"model {name!r}: {folder}: {problem}")
        label, revision, location = folder.name, f"sha256:{tree_sha256(folder)}", str(folder)
    else:
        folder, commit = snapshot(rest, name, FILES, _lacks, fetch=fetch)
        label, revision = rest.partition("@")[0], f"git:{commit}"
        location = f"{label} at {commit}"
    return Found(name, f"hf:{label}", revision, location, folder, lambda: _load(name, folder, revision))


def _lacks(folder: Path) -> str:
    """Name what a folder lacks of what `save_pretrained` of a classifier and its processor writes; `""` if nothing."""
    for file in FILES[:2]:
        if not (folder / file).is_file():
            return f"it has no {file}, which save_pretrained of the model and of its image processor write"
    if (folder / "model.safetensors").is_file():
        return ""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = read_json(index, str(folder)).get("weight_map")
        missing = (
            [part for part in {*parts.values()} if not (folder / str(part)).is_file()]
            if isinstance(parts, Mapping)
            else [""]
        )
        return f"it lacks parts of its weights, such as {missing[0]!r}" if missing else ""
    pickles = [file.name for file in sorted(folder.iterdir()) if file.name.endswith(PICKLES)]
    why = (
        f"its {pickles[0]} is a pickle, and loading one runs whatever code is in it" if pickles else "it has no weights"
    )
    return f"{why}; it needs model.safetensors, which save_pretrained writes"


def _load(name: str, folder: Path, revision: str) -> BroughtModel:
    config = read_config(folder, name)
    if "auto_map" in config:
        raise ModelUnavailable(
            f"model {name!r}: it needs code of its repository, which isn't run; bring it as module:FILE.py:NAME"
        )
    with running_out(f"model {name!r} doesn't fit"):
        processor, model = read_image_classification(folder)
    known = ImageClassification(processor, model, BATCH)
    classes = class_names(model.config.id2label)
    return BroughtModel(
        *(name, revision, classes, known.preprocessing, known.logits, model.config.num_labels), embed=known.embed
    )


def class_names(labels: Mapping[int, str]) -> tuple[str, ...]:
    """Names of the classes in the order of the outputs; empty if they are LABEL_0 and so on."""
    names = tuple(str(labels[index]) for index in sorted(labels))
    return () if all(re.fullmatch(r"LABEL_\d+", one) for one in names) else names
