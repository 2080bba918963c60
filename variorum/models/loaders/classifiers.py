"""Loaders `image_classification` and `grey_cnn`: classifiers, and the encoder or adversary in the same network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from pydantic import Field

from variorum.models.device import best_device, inference
from variorum.models.gradients import Differentiable
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.penultimate import Penultimate, once
from variorum.models.preprocessing import centre, normalised, sentence, shorter_side, stretched
from variorum.models.pretrained import load_pretrained, one_error, state_of
from variorum.models.roles import Encoder
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles


# ── image_classification: transformers ───────────────────────────────────────────────────────────────────────────────

IMAGENET_CLASSES = 1000


class ImageClassificationOptions(StrictModel):
    """Options of `image_classification`."""

    batch: int = 8
    gradients: bool = False
    """Makes it an adversary."""
    temperature: float = Field(default=1.0, ge=1, le=3)
    """Of a vision transformer: what the scores of its attention are divided by, so that one patch gets less of it."""


def load_image_classification(
    entry: Entry, folder: Path, options: ImageClassificationOptions, _used: Mapping[str, Any]
) -> ImageClassification | Differentiable:
    """The ImageNet-1k classifier or adversary of a folder written by transformers' `save_pretrained`.

    Raises:
        ModelUnavailable: the folder has no classifier as safetensors, one without 1000 classes, or with a temperature
            one without attention.
    """
    processor, model = read_image_classification(folder, entry)
    if model.config.num_labels != IMAGENET_CLASSES:
        raise ModelUnavailable(
            f"{entry.name} has {model.config.num_labels} classes; a classifier needs ImageNet's {IMAGENET_CLASSES}"
        )
    if options.temperature != 1 and not soften(model, options.temperature):
        raise ModelUnavailable(f"{entry.name} has no attention with a plain scale; leave out the option temperature")
    classifier = ImageClassification(processor, model, options.batch)
    if options.gradients:
        return Differentiable(model.requires_grad_(False), central(processor, model.device), classifier)
    return classifier


def soften(model: Any, temperature: float) -> int:
    """Divide the scores of all attention by a temperature (Gu, Tresp & Qin, ECCV 2022, arXiv 2111.10659).

    Returns:
        The number of attention layers, of transformers or timm, that have a scale.
    """
    found = 0
    for module in model.modules():
        name = "scale" if hasattr(module, "fused_attn") else "scaling"  # timm's, transformers'
        if isinstance(getattr(module, name, None), float):
            setattr(module, name, getattr(module, name) / temperature)
            found += 1
            if name == "scale":
                module.fused_attn = False  # which has a scale of its own
    return found


def read_image_classification(folder: Path, entry: Entry | None = None) -> tuple[Any, Any]:
    """Processor, and network on the best device, of a folder written by transformers' `save_pretrained`.

    Args:
        folder: with both.
        entry: has the dtype; float32 without one.

    Raises:
        ModelUnavailable: the folder has no classifier as safetensors, lacks some of its weights, or needs code of its
            own.
    """
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    with one_error(folder, "an image processor"):
        processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if type(processor).__name__ == "TimmWrapperImageProcessor":
        processor = TimmProcessor(processor)
    kind = AutoModelForImageClassification
    model = load_pretrained(kind, folder, entry, may_lack=("*.mask_token",), trust_remote_code=False)
    return processor, model.to(best_device()).eval()


class ImageClassification:
    """A `roles.Classifier` that resizes and normalises as the checkpoint's processor says.

    Attributes:
        classes: empty, which stands for ImageNet's order.
        preprocessing: a sentence for cards.
    """

    def __init__(self, processor: Any, model: Any, batch: int) -> None:
        self._processor = processor
        self._model = model
        self._batch = batch
        self.classes: tuple[str, ...] = ()
        self.preprocessing = told_by(processor)
        self._asked = Penultimate(model, self._logits)

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, 1000]` in ImageNet index order, which is the order of these checkpoints' labels."""
        return self._both(images)[0]

    def features(self, images: Sequence[Pixels]) -> Singles | None:
        """Embeddings `[N, d]`: what the last linear layer gets; None if that doesn't give the logits."""
        return self._both(images)[1]

    @once
    def _both(self, images: Sequence[Pixels]) -> tuple[Singles, Singles | None]:
        probabilities, embeddings = [np.zeros((0, IMAGENET_CLASSES), np.float32)], []
        for start in range(0, len(images), self._batch):
            batch = images[start : start + self._batch]
            probabilities.append(self.logits(batch).softmax(-1).cpu().numpy())
            embeddings.append(self.embed(batch))  # of the same pass
        gives = embeddings and embeddings[0] is not None
        found = np.concatenate([part.cpu().numpy() for part in embeddings]) if gives else None
        return np.concatenate(probabilities), found

    def embed(self, images: Sequence[Pixels]) -> Any:
        """Embeddings `[N, d]` of one batch, a float32 tensor, or None."""
        return self._asked.features(images)

    def logits(self, images: Sequence[Pixels]) -> Any:
        """Logits `[N, K]` of one batch, a float32 tensor."""
        return self._asked.scores(images)

    def _logits(self, images: Sequence[Pixels]) -> Any:
        writable = [np.require(image, requirements="W") for image in images]  # PyTorch warns of others
        inputs = self._processor(images=writable, return_tensors="pt", input_data_format="channels_last")
        with inference():
            pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
            return self._model(pixel_values=pixels).logits.float()


class TimmProcessor:
    """timm's transforms behind transformers' wrapper, called as other image processors are."""

    def __init__(self, wrapper: Any) -> None:
        facts = wrapper.data_config
        self._wrapper = wrapper
        self.crop_size = dict(zip(("height", "width"), facts["input_size"][1:], strict=True))
        self.image_mean, self.image_std = facts["mean"], facts["std"]

    def __call__(self, images: Sequence[Pixels], **_facts: Any) -> Any:
        """`pixel_values` `[N, 3, side, side]` of RGB pictures."""
        from PIL import Image

        return self._wrapper([Image.fromarray(image) for image in images], return_tensors="pt")

    def told(self) -> str:
        """The transforms in a sentence."""
        from variorum.models.brought.timm import config_told

        return config_told(self._wrapper.data_config)


def told_by(processor: Any) -> str:
    """Describe an image processor of transformers in a sentence."""
    from PIL import Image

    if isinstance(processor, TimmProcessor):
        return processor.told()

    facts = processor.to_dict()
    size, steps = facts.get("size") or {}, []
    side = size.get("shortest_edge")
    how = Image.Resampling(facts.get("resample") or 0).name.lower()
    if not facts.get("do_resize", True):
        pass
    elif side and facts.get("crop_pct") and side < 384:  # ConvNeXt's processor stretches from 384 on
        steps += [shorter_side(int(side / facts["crop_pct"]), how), centre(side, side)]
    elif side and facts.get("crop_pct"):
        steps.append(stretched(side, side, how))
    elif side:
        steps.append(shorter_side(side, how))
    elif "height" in size:
        steps.append(stretched(size["height"], size["width"], how))
    if facts.get("do_center_crop"):
        crop = facts.get("crop_size") or size
        steps.append(centre(crop.get("height", side or 0), crop.get("width", side or 0)))
    if facts.get("do_normalize") and facts.get("do_rescale", True):
        steps.append(normalised(facts["image_mean"], facts["image_std"]))
    return sentence(*steps, by=type(processor).__name__)


def central(processor: Any, device: Any) -> Callable[[Any], Any]:
    """The central square of tensors in [0, 1], at the size and normalisation of a checkpoint's processor."""
    import torch
    from torch.nn import functional

    size = processor.crop_size if getattr(processor, "crop_size", None) else processor.size
    wanted = int(size.get("height") or size["shortest_edge"])
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (processor.image_mean, processor.image_std)
    )

    def prepare(pictures: Any) -> Any:
        height, width = pictures.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        crop = pictures[..., top : top + side, left : left + side]
        seen = functional.interpolate(crop, (wanted, wanted), mode="bicubic", antialias=side > wanted)
        return (seen - mean) / std

    return prepare


IMAGE_CLASSIFICATION = Loader(
    revision=1,
    make=load_image_classification,
    options=ImageClassificationOptions,
    packages=("transformers", "torch"),
    role=lambda options: "adversary" if options.gradients else "classifier",
    steers={"gradients": True},
)


# ── grey_cnn: small grey pictures ────────────────────────────────────────────────────────────────────────────────────

WEIGHTS = "model.fp16.safetensors"


class GreyCNNOptions(StrictModel):
    """Options of `grey_cnn`."""

    classes: tuple[str, ...]
    """Class ids in the order of the network's outputs."""
    size: int
    """Side of the input in pixels."""
    batch: int = 64
    output: Literal["probabilities", "embedding", "gradients"] = "probabilities"
    """`embedding` makes it an encoder: the input of the last, linear layer. `gradients` makes it an adversary."""


def load_grey_cnn(
    _entry: Entry, folder: Path, options: GreyCNNOptions, _used: Mapping[str, Any]
) -> GreyCNN | GreyCNNEncoder | Differentiable:
    """The classifier, encoder or adversary of a folder with `model.fp16.safetensors`."""
    from safetensors.torch import load_file

    module = network(len(options.classes))
    with state_of(folder / WEIGHTS, "a state dict of the grey network"):
        module.load_state_dict(load_file(folder / WEIGHTS))
    if options.output == "embedding":
        return GreyCNNEncoder(module.eval(), options)
    classifier = GreyCNN(module.eval(), options)
    if options.output == "probabilities":
        return classifier
    return Differentiable(module.requires_grad_(False), grey_tensors(options.size), classifier, options.classes)


def network(classes: int) -> Any:
    """The PyTorch module: grey pictures `[N, 1, 28, 28]` in [-1, 1] to logits `[N, classes]`.

    Three resolutions (14, 7 and 3 pixels), the last one averaged; 242 000 parameters for ten classes.
    """
    from torch import nn

    def stage(before: int, after: int, side: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU()]

    return nn.Sequential(
        *stage(1, 32, 5, 2),
        *stage(32, 64, 3, 1),
        nn.MaxPool2d(2),
        *stage(64, 128, 3, 1),
        nn.MaxPool2d(2),
        *stage(128, 128, 3, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, classes),
    )


class GreyCNN:
    """A `roles.Judge`; colour is ignored, other sizes are resized.

    Attributes:
        classes: ids in the order of its outputs.
        preprocessing: a sentence for cards.
    """

    def __init__(self, module: Any, options: GreyCNNOptions) -> None:
        self._module = module
        self._options = options
        self.classes = options.classes
        self.preprocessing = sentence("grey", stretched(options.size, options.size, "area"), "values x / 127.5 - 1")

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, K]` in the order of `classes`."""
        return self._parts(images)[0]

    def features(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, 128]`, non-negative: what the last layer gets."""
        return self._parts(images)[1]

    @once
    def _parts(self, images: Sequence[Pixels]) -> tuple[Singles, Singles]:
        classes = len(self.classes)
        both = outputs(self._both, self._options, images, classes + self._module[-1].in_features)
        return both[:, :classes].copy(), both[:, classes:].copy()

    def _both(self, batch: Any) -> Any:
        import torch

        embedding = self._module[:-2](batch)  # without dropout and the linear layer
        return torch.cat([self._module[-2:](embedding).softmax(-1), embedding], 1)


class GreyCNNEncoder(Encoder):
    """A `roles.Encoder`; colour is ignored, other sizes are resized."""

    def __init__(self, module: Any, options: GreyCNNOptions) -> None:
        self._module = module[:-2]  # without dropout and the linear layer
        self._options = options
        self._width = module[-1].in_features

    @once
    def __call__(self, images: Sequence[Pixels]) -> Singles:
        """Embeddings `[N, 128]`, non-negative."""
        return outputs(self._module, self._options, images, self._width)


def outputs(run: Callable[[Any], Any], options: GreyCNNOptions, images: Sequence[Pixels], width: int) -> Singles:
    """A module's outputs `[N, width]` for all pictures, computed in batches."""
    import torch

    parts = []
    for start in range(0, len(images), options.batch):
        batch = np.stack([grey_input(image, options.size) for image in images[start : start + options.batch]])
        with inference():
            parts.append(run(torch.from_numpy(batch)).numpy())
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


def grey_input(image: Pixels, size: int) -> Singles:
    """`[1, size, size]` in [-1, 1] from an RGB picture, stretched to a square if it isn't one."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape != (size, size):
        grey = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.float32)[None] / np.float32(127.5) - np.float32(1)


def grey_tensors(size: int) -> Callable[[Any], Any]:
    """`grey_input` of RGB tensors `[N, 3, H, W]` in [0, 1], differentiable: the grey isn't rounded to whole levels."""
    from torch.nn import functional

    def prepare(pictures: Any) -> Any:
        grey = sum(weight * pictures[:, [channel]] for channel, weight in enumerate((0.299, 0.587, 0.114)))
        if grey.shape[2:] != (size, size):
            grey = functional.interpolate(grey, (size, size), mode="area")
        return grey * 2 - 1

    return prepare


GREY_CNN = Loader(
    revision=1,
    make=load_grey_cnn,
    options=GreyCNNOptions,
    packages=("safetensors", "torch"),
    obstacle=no_obstacle,
    role=lambda options: {"embedding": "encoder", "gradients": "adversary"}.get(options.output, "classifier"),
    steers={"output": "gradients"},
)
