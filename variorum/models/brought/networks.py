"""Bare PyTorch networks as models: of PyTorch itself, timm, torchvision and transformers.

A network takes one tensor of prepared pictures. Its preprocessing is its own where it tells: by timm's
`pretrained_cfg`, by the default weights of torchvision's builder, or by the image processor that lies beside a
transformers model. For any other network the usual one for ImageNet is assumed, at the size that the network names.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.models.brought.steps import USUAL, steps_of
from variorum.models.device import best_device, inference
from variorum.models.memory import running_out
from variorum.models.penultimate import Penultimate
from variorum.schemas.errors import ModelUnavailable, RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Pixels

ASSUMED = "assumed: the usual for ImageNet, as the model has none of its own"
SMALL = 128
"""Pixels below which the usual border around the crop is left out."""
SIZES = ("input_size", "image_size", "img_size")
"""Attributes by which a network names the side of its input."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The preprocessing of a network, and what else it says of itself.

    Attributes:
        prepare: from a PIL picture to `[C, H, W]`, an array or a tensor.
        told: the same as a sentence.
        classes: names of its outputs; empty if it has none.
    """

    prepare: Callable[[Any], Any]
    told: str
    classes: tuple[str, ...] = ()


def is_network(model: object) -> bool:
    """Return whether this is a module of PyTorch. Imports nothing: without PyTorch there is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def own_preprocessing(network: Any, processor: Any = None) -> Prepared:
    """What a network tells of its preprocessing; else what is assumed.

    Args:
        network: a module.
        processor: the image processor of transformers that belongs to it, if known.
    """
    inner = network
    for wrapper in ("_orig_mod", "module"):  # of torch.compile and DataParallel
        inner = getattr(inner, wrapper, inner) if is_network(getattr(inner, wrapper, None)) else inner
    found = _by_timm(inner) or _by_transformers(inner, processor) or _by_torchvision(inner)
    if found is not None:
        return found
    size = _size(inner)
    if size is None:
        steps = steps_of(USUAL)
    else:
        height, width = size
        side = min(size) if min(size) < SMALL else round(min(size) * 232 / 224)
        steps = steps_of(f"resize={side} crop={height}x{width} mean=imagenet std=imagenet")
    return Prepared(steps, steps.told(ASSUMED))


class NetworkScores:
    """From pictures to the outputs `[N, K]` of a network, without gradients.

    Args:
        network: takes `[N, C, H, W]`; gives a tensor, an object with `.logits`, or a tuple that begins with one.
        prepare: from a PIL picture to `[C, H, W]`.
        device: of its weights.
        dtype: of its input.
    """

    def __init__(self, network: Any, prepare: Callable[[Any], Any], device: Any, dtype: Any) -> None:
        self.network, self.prepare, self._device, self._dtype = network, prepare, device, dtype
        compiled = hasattr(network, "_orig_mod")  # hooks would compile it again
        self._asked = None if compiled else Penultimate(network, self._scores)

    def __call__(self, images: Sequence[Pixels]) -> Any:
        """The scores."""
        return self._asked.scores(images) if self._asked else self._scores(images)

    def embed(self, images: Sequence[Pixels]) -> Any:
        """The embeddings `[N, d]`, as `Penultimate` takes them, or None."""
        return self._asked.features(images) if self._asked else None

    def _scores(self, images: Sequence[Pixels]) -> Any:
        with inference():
            return scores_in(self.network(self._batch(images)))

    def _batch(self, images: Sequence[Pixels]) -> Any:
        import torch
        from PIL import Image

        batch = stacked([torch.as_tensor(self.prepare(Image.fromarray(image))) for image in images])
        return batch.to(self._device, self._dtype)


def network_scores(network: Any, prepare: Callable[[Any], Any], name: str) -> NetworkScores:
    """From pictures to the outputs `[N, K]` of somebody's network, in evaluation mode and without gradients.

    Args:
        network: as `NetworkScores` takes it; see `settled`.
        prepare: from a PIL picture to `[C, H, W]`.
        name: of the model, for errors.

    Raises:
        ModelUnavailable: it can't be copied, or doesn't fit into the GPU's memory.
    """
    network, device, dtype = settled(network, name)
    return NetworkScores(network, prepare, device, dtype)


def settled(network: Any, name: str) -> tuple[Any, Any, Any]:
    """A network in evaluation mode on the best device or its own GPU, that device, and the type of its numbers.

    The network itself isn't changed: where it is in training mode or on another device, a copy is taken.

    Raises:
        ModelUnavailable: it can't be copied, or doesn't fit into the GPU's memory.
    """
    import torch

    tensors = [*network.parameters(), *network.buffers()]
    device = tensors[0].device if tensors and tensors[0].device.type != "cpu" else torch.device(best_device())
    if any(part.training for part in network.modules()) or any(one.device.type != device.type for one in tensors[:1]):
        with running_out(f"model {name!r} doesn't fit"):
            try:
                network = copy.deepcopy(network).to(device).eval()
            except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                raise ModelUnavailable(
                    f"model {name!r} can't be copied ({type(error).__name__}: {str(error).partition(chr(10))[0]}); "
                    f"call its .eval() and .to({str(device)!r}) first"
                ) from error
    return network, device, next((one.dtype for one in tensors if one.is_floating_point()), torch.float32)


def stacked(prepared: Sequence[Any]) -> Any:
    """Prepared pictures as one array, or one tensor if they are tensors.

    Raises:
        RecipeError: they have different sizes.
    """
    if len(sizes := {tuple(one.shape) for one in prepared}) > 1:
        shown = " and ".join(str(list(one)) for one in sorted(sizes)[:2])
        raise RecipeError(
            f"the prepared pictures have different sizes, such as {shown}; let the preprocessing give them one: "
            f"resize=32x32, or resize=232 crop=224"
        )
    if callable(getattr(prepared[0], "detach", None)):
        import torch

        return torch.stack(list(prepared))
    return np.stack(list(prepared))


def scores_in(output: Any) -> Any:
    """The scores in what a network returned; anything unknown as it is, which is then described."""
    import torch

    output = getattr(output, "logits", output)
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    if isinstance(output, tuple | list) and output and isinstance(output[0], torch.Tensor) and output[0].ndim > 1:
        output = output[0]
    return output.float() if isinstance(output, torch.Tensor) else output


def state_digest(network: Any) -> str:
    """Identify a network's weights: 32 hexadecimal digits of a sha256 over the names and numbers of its state."""
    import torch

    found = sha256(repr(type(network)).encode())
    for name, value in network.state_dict().items():
        if isinstance(value, torch.Tensor):
            found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            found.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return found.hexdigest()[:32]


def _size(network: Any) -> tuple[int, int] | None:
    """Height and width of the input as a network names them: a number, two, or three with the channels first."""
    for name in SIZES:
        value = getattr(network, name, None)
        if value is None:
            value = getattr(getattr(network, "config", None), name, None)
        sides = [value] * 2 if isinstance(value, int) else list(value) if isinstance(value, tuple | list) else []
        sides = sides[1:] if len(sides) == 3 and sides[0] in (1, 3) else sides
        if len(sides) == 2 and all(isinstance(side, int) and 1 <= side <= 8192 for side in sides):
            return sides[0], sides[1]
    return None


def _by_timm(network: Any) -> Prepared | None:
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)
    if not isinstance(config, Mapping) or "mean" not in config or importlib.util.find_spec("timm") is None:
        return None
    from timm.data import create_transform, resolve_model_data_config

    from variorum.models.brought.timm import class_names, config_told

    data = resolve_model_data_config(network)
    if data["input_size"][0] != 3:
        return None
    outputs = getattr(network, "num_classes", 0)
    classes = class_names(config, outputs) if outputs == config.get("num_classes") else ()
    return Prepared(create_transform(**data), config_told(data), classes)


def _by_transformers(network: Any, processor: Any) -> Prepared | None:
    transformers = sys.modules.get("transformers")
    if transformers is None or not isinstance(network, transformers.PreTrainedModel):
        return None
    from variorum.models.brought.hf import class_names
    from variorum.models.loaders.classifiers import told_by

    classes = class_names(network.config.id2label)
    folder = Path(str(network.name_or_path or ""))
    if processor is None and (folder / "preprocessor_config.json").is_file():
        kind = transformers.AutoImageProcessor
        processor = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if processor is None:
        height, width = _size(network) or (224, 224)
        steps = steps_of(f"resize={height}x{width} mean=imagenet std=imagenet")
        return Prepared(steps, steps.told(ASSUMED), classes)
    return Prepared(partial(_processed, processor), told_by(processor), classes)


def _processed(processor: Any, image: Any) -> Any:
    pixels = np.array(image)
    return processor(images=[pixels], return_tensors="pt", input_data_format="channels_last")["pixel_values"][0]


def _by_torchvision(network: Any) -> Prepared | None:
    """The transforms of the default weights of the builder that makes such a network.

    A network doesn't tell which weights it has; the sentence says whose transforms are taken.
    """
    module = type(network).__module__
    if not module.startswith("torchvision.models."):
        return None
    from variorum.models.brought.torchvision import preset_told

    name = _builder(network, module)
    if not name:
        return None
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    whose = f"transforms of torchvision's default weights for {name}, {weights.name}; the network doesn't tell its own"
    return Prepared(weights.transforms(), preset_told(weights.transforms(), whose))


def _builder(network: Any, module: str) -> str:
    """Name of the builder of torchvision that makes networks of these shapes, its last layer aside; `""` for none."""
    import torch
    import torchvision
    from torchvision.models import get_model_builder, list_models

    state = {name: value.shape for name, value in network.state_dict().items()}
    best, matched = "", 0
    for name in list_models(module=torchvision.models):
        builder = get_model_builder(name)
        if builder.__module__ != module:
            continue
        try:
            with warnings.catch_warnings(), torch.device("meta"):  # no memory, no drawing of random weights
                warnings.simplefilter("ignore")  # on how it would be initialised
                expected = builder(weights=None).state_dict()
        except NotImplementedError:  # RegNets compute their widths with tensors
            return ""
        body = {
            key: value.shape
            for key, value in expected.items()
            if not key.lower().startswith("aux") and value.shape[:1] != (1000,)
        }
        if len(body) > matched and all(state.get(key) == shape for key, shape in body.items()):
            best, matched = name, len(body)
    return best
