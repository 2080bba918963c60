"""`torchvision:resnet50`, `torchvision:resnet50.IMAGENET1K_V2`, `torchvision:resnet18@FILE`: torchvision's classifiers.

Pictures are prepared by the transforms of the weights; a file of one's own has none, so those of the architecture's
default weights are taken (`torchvision:resnet18.IMAGENET1K_V1@FILE` names others).
"""

from __future__ import annotations

import difflib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from variorum.models.brought.found import Found, NotFetched
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.places import local
from variorum.models.brought.tensors import read_state, scores_of
from variorum.models.preprocessing import centre, normalised, sentence, shorter_side
from variorum.models.pretrained import state_of
from variorum.models.weights import tree_sha256
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.lookup import cut

log = logging.getLogger(__name__)

ENDINGS = (".safetensors", ".pth", ".pt")
SAFE_LOADING = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""Environment variable of PyTorch: torchvision's own builders don't pass `weights_only`."""
AMBIGUOUS = ("googlenet", "inception_v3")
"""Their builders may change the input, and a file of weights doesn't tell whether they do."""
_LOCK = threading.Lock()


def find(name: str, rest: str, *, fetch: bool) -> Found:
    """Resolve a name after `torchvision:`.

    Raises:
        RecipeError: no such architecture or weights.
        ModelUnavailable: the weights aren't here or can't be read.
    """
    which, at, file = rest.partition("@")
    architecture, _, tag = which.partition(".")
    weights = _weights(name, architecture, tag)
    if at:
        return _from_file(name, architecture, weights, local(file, name, "file"), chosen=bool(tag))
    path = _downloaded(name, weights, fetch=fetch)
    revision = f"sha256:{tree_sha256(path)}"

    def load() -> BroughtModel:
        from torchvision.models import get_model

        with state_of(path, f"the weights of torchvision's {which}"), _weights_only():
            network = get_model(architecture, weights=weights, progress=False)
        classes = tuple(map(str, weights.meta["categories"]))
        told = preset_told(weights.transforms(), f"transforms of {weights.name}")
        scores = scores_of(network, weights.transforms(), name)
        return BroughtModel(name, revision, classes, told, scores, len(classes), embed=scores.embed)

    return Found(name, f"torchvision:{architecture}.{weights.name}", revision, weights.url, path, load)


def _weights(name: str, architecture: str, tag: str) -> Any:
    """The member of an architecture's enum of weights; the default one without a tag."""
    import torchvision
    from torchvision.models import get_model_weights, list_models

    known = list_models(module=torchvision.models)
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, 3)
        hint = f"; did you mean {' or '.join(f'torchvision:{one}' for one in near)}?" if near else ""
        raise RecipeError(
            f"model {name!r}: torchvision {torchvision.__version__} has no classifier {cut(architecture)!r}{hint}"
        )
    enum = get_model_weights(architecture)
    tags = [one.name for one in enum if one.meta.get("categories")]
    if tag and tag not in tags:
        raise RecipeError(
            f"model {name!r}: {architecture} has no weights {cut(tag)!r} with classes; there are: {', '.join(tags)}"
        )
    return enum[tag] if tag else enum.DEFAULT


def _downloaded(name: str, weights: Any, *, fetch: bool) -> Path:
    """The weights in PyTorch's own cache, downloaded first if they don't exist, and checked by their name's hash."""
    import torch

    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    wanted = path.stem.rpartition("-")[2]
    if not path.is_file():
        if not fetch:
            raise NotFetched(f"{path} doesn't exist; it is downloaded when it is first used")
        log.warning("model %r: downloading %s", name, weights.url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), wanted, progress=False)
        except (OSError, RuntimeError) as error:
            raise ModelUnavailable(
                f"model {name!r}: {weights.url} can't be downloaded ({cut(str(error))}); where there is a network, "
                f"fetch it to {path}"
            ) from error
    if not tree_sha256(path).startswith(wanted):
        raise ModelUnavailable(f"model {name!r}: {path} is damaged: its hash isn't that in its name; delete it")
    return path


def _from_file(name: str, architecture: str, weights: Any, path: Path, *, chosen: bool) -> Found:
    if not path.name.endswith(ENDINGS):
        raise ModelUnavailable(f"model {name!r}: {path.name} must be one of {', '.join(ENDINGS)}, a state dict")
    if architecture in AMBIGUOUS:
        raise ModelUnavailable(
            f"model {name!r}: torchvision's {architecture} may change its input, which weights don't tell; "
            "bring it as module:FILE.py:NAME"
        )
    revision = f"sha256:{tree_sha256(path)};{architecture}.{weights.name}"

    def load() -> BroughtModel:
        from torchvision.models import get_model

        state = read_state(path, f"a state dict of torchvision's {architecture}")
        outputs = _outputs(name, architecture, path, state)
        with state_of(path, f"a state dict of torchvision's {architecture}"):
            network = get_model(architecture, weights=None, num_classes=outputs)
            network.load_state_dict(state)
        whose = f"transforms of {weights.name}" + ("" if chosen else ", as the file has none of its own")
        told = preset_told(weights.transforms(), whose)
        scores = scores_of(network, weights.transforms(), name)
        return BroughtModel(name, revision, (), told, scores, outputs, embed=scores.embed)

    return Found(name, f"torchvision:{architecture}@{path.name}", revision, str(path), path, load)


def _outputs(name: str, architecture: str, path: Path, state: Mapping[str, Any]) -> int:
    """Number of classes of a state dict: rows of the architecture's last layer, its head."""
    import torch
    from torchvision.models import get_model

    try:
        with torch.device("meta"):  # no memory, no drawing of random weights
            expected = get_model(architecture, weights=None).state_dict()
    except NotImplementedError:  # RegNets compute their widths with tensors
        expected = get_model(architecture, weights=None).state_dict()
    head = [key for key, value in expected.items() if key.endswith("weight") and value.shape[0] == 1000][-1]
    if head not in state:
        some = ", ".join(list(state)[:3]) or "none"
        raise ModelUnavailable(f"model {name!r}: {path} has no tensor {head!r} of {architecture}; it has {some}, …")
    if state[head].shape[1:] != expected[head].shape[1:]:  # or a small file could ask for a large network
        shapes = f"{list(state[head].shape)}; its second side must be {expected[head].shape[1]}"
        raise ModelUnavailable(f"model {name!r}: {path} has a tensor {head} of {architecture} of shape {shapes}")
    return int(state[head].shape[0])


@contextmanager
def _weights_only() -> Iterator[None]:
    """Make PyTorch refuse pickles of anything but tensors while a builder of torchvision loads its weights."""
    with _LOCK:
        before = os.environ.get(SAFE_LOADING)
        os.environ[SAFE_LOADING] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[SAFE_LOADING]
            else:
                os.environ[SAFE_LOADING] = before


def preset_told(preset: Any, whose: str) -> str:
    """Describe the transform of weights in a sentence; `whose` says of which."""
    side, crop, how = preset.resize_size[0], preset.crop_size[0], preset.interpolation.value
    return sentence(shorter_side(side, how), centre(crop, crop), normalised(preset.mean, preset.std), by=whose)
