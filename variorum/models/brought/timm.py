"""`timm:resnet50.a1_in1k`, `timm:hf-hub:owner/name`, `timm:local-dir:FOLDER`: classifiers of the library timm.

Pictures are prepared by timm's own evaluation transform with the model's data config, at its training size. Weights are
read from safetensors files only.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from variorum.models.brought.found import Found
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.places import local, need, read_config, snapshot
from variorum.models.brought.tensors import scores_of
from variorum.models.download import PICKLES
from variorum.models.preprocessing import centre, normalised, sentence, shorter_side, stretched
from variorum.models.pretrained import state_of
from variorum.models.weights import tree_sha256
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.lookup import cut

IMAGENET = 1000
WEIGHTS = "model.safetensors"


def find(name: str, rest: str, *, fetch: bool) -> Found:
    """Resolve a name after `timm:`.

    Raises:
        RecipeError: no such architecture or weights.
        ModelUnavailable: timm isn't installed, or the weights aren't here or can't be read.
    """
    need("timm", name)
    kind, _, place = rest.partition(":")
    if kind == "local-dir":
        folder = local(place, name, "folder")
        if problem := _lacks(folder):
            raise ModelUnavailable(f"model {name!r}: {folder}: {problem}")
        revision = f"sha256:{tree_sha256(folder)}"
        return Found(
            name, f"timm:{folder.name}", revision, str(folder), folder, lambda: _from_folder(name, folder, revision)
        )
    if kind == "hf-hub":
        folder, commit = snapshot(place, name, ("config.json", WEIGHTS), _lacks, fetch=fetch)
        repo, revision = place.partition("@")[0], f"git:{commit}"
        return Found(
            name, f"timm:{repo}", revision, f"{repo} at {commit}", folder, lambda: _from_folder(name, folder, revision)
        )
    if ":" in rest:
        raise RecipeError(f"model {name!r}: after timm: give a name of timm, hf-hub:owner/name or local-dir:FOLDER")
    return _from_registry(name, rest, fetch)


def _from_registry(name: str, rest: str, fetch: bool) -> Found:
    import timm

    architecture, _, tag = rest.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), 3)
        hint = f"; did you mean {' or '.join(f'timm:{one}' for one in near)}?" if near else ""
        raise RecipeError(f"model {name!r}: timm {timm.__version__} has no architecture {cut(architecture)!r}{hint}")
    tags = [one.partition(".")[2] for one in timm.list_models(f"{architecture}.*", pretrained=True)]
    config = timm.models.get_pretrained_cfg(rest) if not tag or tag in tags else None
    if config is None or not config.hf_hub_id:
        known = ", ".join(tags)
        raise RecipeError(
            f"model {name!r}: timm {timm.__version__} has {f'no weights {cut(tag)!r}' if tag else 'no weights'} for "
            f"{architecture}" + (f"; there are: {known}" if known else "; bring your own with timm:local-dir:FOLDER")
        )
    if config.num_classes < 2:
        raise RecipeError(f"model {name!r} has no classes: it returns features; take weights of a classifier")
    repo = config.hf_hub_id
    folder, commit = snapshot(repo, name, ("config.json", WEIGHTS), _lacks, fetch=fetch)
    revision = f"git:{commit}"

    def load() -> BroughtModel:
        file = folder / WEIGHTS
        with state_of(file, f"the weights of timm's {rest}"):
            network = timm.create_model(rest, pretrained=True, pretrained_cfg_overlay={"file": str(file)})
        return _brought(name, revision, network)

    return Found(name, f"timm:{repo}", revision, f"{repo} at {commit}", folder, load)


def _lacks(folder: Path) -> str:
    """Name what a folder lacks to be one that `timm.models.save_for_hf` or `push_to_hf_hub` wrote with safetensors."""
    if not (folder / "config.json").is_file():
        return "it has no config.json, which timm.models.save_for_hf writes"
    if (folder / WEIGHTS).is_file():  # timm takes it before any other
        return ""
    pickles = [file.name for file in sorted(folder.iterdir()) if file.name.endswith(PICKLES)]
    why = (
        f"its {pickles[0]} is a pickle, and loading one runs whatever code is in it" if pickles else "it has no weights"
    )
    return f"{why}; it needs {WEIGHTS}, which timm.models.save_for_hf(…, safe_serialization=True) writes"


def _from_folder(name: str, folder: Path, revision: str) -> BroughtModel:
    import timm
    import torch

    read_config(folder, name)
    with state_of(folder, "a model of timm"):
        held = (folder / WEIGHTS).stat().st_size
        with torch.device("meta"), suppress(NotImplementedError, RuntimeError):  # some can't be built without memory
            drawn = timm.create_model(f"local-dir:{folder}", pretrained=False)
            if (wanted := sum(one.numel() for one in drawn.parameters())) > held:
                raise ValueError(f"its config.json describes {wanted} numbers, but {WEIGHTS} has {held} bytes")
        return _brought(name, revision, timm.create_model(f"local-dir:{folder}", pretrained=True))


def _brought(name: str, revision: str, network: Any) -> BroughtModel:
    from timm.data import create_transform, resolve_model_data_config

    outputs, config = int(network.num_classes), resolve_model_data_config(network)
    if outputs != network.pretrained_cfg["num_classes"]:  # timm would leave the last layer random
        raise ModelUnavailable(
            f"model {name!r}: its config.json says {network.pretrained_cfg['num_classes']} classes in one place and "
            f"{outputs} in another; write it with timm.models.save_for_hf"
        )
    if outputs < 2:
        raise ModelUnavailable(f"model {name!r} has no classes: it returns features; take weights of a classifier")
    if config["input_size"][0] != 3:
        raise ModelUnavailable(f"model {name!r} takes {config['input_size'][0]} channels; pictures are RGB")
    scores = scores_of(network, create_transform(**config), name)
    classes = class_names(network.pretrained_cfg, outputs)
    return BroughtModel(name, revision, classes, config_told(config), scores, outputs, embed=scores.embed)


def class_names(config: Mapping[str, Any], outputs: int) -> tuple[str, ...]:
    """The names that the config gives; else the wnids of a larger ImageNet of this size; else none."""
    from timm.data import ImageNetInfo
    from timm.data.imagenet_info import infer_imagenet_subset

    names = config.get("label_names")
    if isinstance(names, Mapping):  # by index, which JSON makes text
        ordered = {int(index): str(label) for index, label in names.items() if str(index).isdecimal()}
        names = [ordered[index] for index in range(outputs)] if set(ordered) == set(range(outputs)) else None
    if names and len(names) == outputs:
        return tuple(map(str, names))
    subset = None if outputs == IMAGENET else infer_imagenet_subset({"num_classes": outputs})
    return tuple(ImageNetInfo(subset).label_names()) if subset else ()


def config_told(config: Mapping[str, Any]) -> str:
    """Describe the evaluation transform of a data config in a sentence."""
    height, width = config["input_size"][1:]
    scaled = [math.floor(side / config["crop_pct"]) for side in (height, width)]
    how, mode = config["interpolation"], config["crop_mode"]
    resize = {
        "squash": stretched(scaled[0], scaled[1], how),
        "border": f"longer side to {max(scaled)} px ({how}), padded with the mean",
    }.get(mode, shorter_side(min(scaled), how))
    return sentence(resize, centre(height, width), normalised(config["mean"], config["std"]), by="timm's transform")
