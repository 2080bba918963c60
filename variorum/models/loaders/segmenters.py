"""Loaders `u2net` and `sam`: the salient object of a picture."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from pydantic import Field

from variorum.machine.prefetch import batched
from variorum.models.device import best_device, float32, inference
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import Device, open_session, read_model
from variorum.models.pretrained import state_of
from variorum.models.roles import Segmentation, Segmenter
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Pixels, Singles


# ── u2net ────────────────────────────────────────────────────────────────────────────────────────────────────────────

SIDE = 256
"""Of the input, pixels. The published 320 takes 1.6 times as long and finds large objects less often whole."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOW, HIGH = 0.27, 0.73
"""Sigmoids of the logits -1 and 1, between which segment-anything measures stability."""


class U2NetOptions(StrictModel):
    """Options of `u2net`."""

    threads: int = 1
    """Of one session; pictures are spread over processes instead."""
    device: Device = "cpu"
    """`best`: a CUDA device, with the package onnxruntime-gpu."""


def load_u2net(entry: Entry, file: Path, options: U2NetOptions, _used: Mapping[str, Any]) -> U2Net:
    """The segmenter of an `.onnx` file, whose input becomes SIDE pixels wide and high."""
    model = read_model(file, entry.name)
    for size in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        size.dim_value = SIDE
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return U2Net(open_session(model.SerializeToString(), options.threads, entry.name, options.device))


class U2Net:
    """A `roles.Segmenter`: U²-Net on ONNX Runtime (Qin et al., arXiv 2005.09007).

    It finds what stands out, without a prompt or a class. Pictures go through one by one, so a mask depends on its
    picture alone.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """One segmentation per picture; `score` is NaN, as the network gives none."""
        return [self._segment(image) for image in images]

    def _segment(self, image: Pixels) -> Segmentation:
        raw = self._session.run(None, {self._input: _u2net_input(image)})[0][0, 0]
        low, high = float(raw.min()), float(raw.max())
        if high <= low:
            return Segmentation(np.zeros(image.shape[:2], np.float32), float("nan"), 0.0)
        mask = cv2.resize((raw - low) / (high - low), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return Segmentation(mask.astype(np.float32), float("nan"), stability(mask, LOW, HIGH))


def _u2net_input(image: Pixels) -> Singles:
    shrinks = min(image.shape[:2]) >= SIDE
    x = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    x = x.astype(np.float32) / max(int(x.max()), 1)
    x = (x - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


def stability(values: Array, low: float, high: float) -> float:
    """IoU of a mask cut at `low` and at `high`, segment-anything's stability score; 0 if nothing is above `low`.

    The one mask contains the other, so it is a ratio of areas.
    """
    wide = np.count_nonzero(values > low)
    return np.count_nonzero(values > high) / wide if wide else 0.0


U2NET = Loader(revision=2, make=load_u2net, options=U2NetOptions, packages=("onnxruntime",), obstacle=no_obstacle)


# ── sam ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class SamOptions(StrictModel):
    """Options of `sam`."""

    architecture: Literal["vit_b", "vit_l", "vit_h"]
    batch: int = Field(default=2, ge=1)
    """Pictures that are encoded together, which takes 2.4 to 3.2 GiB each. Fewer are padded to this number, so a mask
    depends on its picture alone."""


def load_sam(entry: Entry, file: Path, options: SamOptions, used: Mapping[str, Any]) -> Sam:
    """The segmenter of an original checkpoint; the entry uses the model that finds the object's box."""
    import torch
    from segment_anything import sam_model_registry

    if len(used) != 1:
        raise ModelUnavailable(f"{entry.name}: loader sam uses one model, that finds the object; name it in `uses`")
    (salience,) = used.values()
    model = sam_model_registry[options.architecture]()
    with state_of(file, f"a checkpoint of {options.architecture}"):
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return Sam(model.to(best_device()).eval(), salience, options.batch)


class Sam:
    """A `roles.Segmenter`: Segment Anything (Kirillov et al., arXiv 2304.02643).

    SAM segments precisely what a prompt points at, but doesn't know what a picture is of. A salience model does: the
    bounding box of its mask is the prompt. Of SAM's three masks the one with the best predicted IoU is kept.

    Args:
        model: segment-anything's `Sam`.
        salience: finds the object's box.
        batch: pictures that are encoded together.
    """

    def __init__(self, model: Any, salience: Segmenter, batch: int = 2) -> None:
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(model)
        self._predictor.transform.target_length = model.image_encoder.img_size
        self._salience = salience
        self._batch = batch
        self._lock = threading.Lock()  # the predictor holds the picture

    def __call__(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """One segmentation per picture; `score` is SAM's predicted IoU. The mask is empty if nothing is salient."""
        found = [Segmentation(np.zeros(image.shape[:2], np.float32), float("nan"), 0.0) for image in images]
        boxes = [bounding_box(salient.mask > 0.5) for salient in self._salience(images)]
        prompted = [(place, box) for place, box in enumerate(boxes) if box is not None]
        for part in batched(prompted, self._batch):
            with self._lock:
                encoded = self._encoded([images[place] for place, _ in part])
                for (place, box), one in zip(part, encoded, strict=False):
                    found[place] = self._segment(images[place], box, one)
        return found

    def _encoded(self, images: Sequence[Pixels]) -> Any:
        """What the picture encoder makes of a batch of pictures, shrunk and padded as `SamPredictor` does it."""
        import torch

        model, inputs = self._predictor.model, []
        for image in images:
            pixels = torch.from_numpy(self._predictor.transform.apply_image(image)).permute(2, 0, 1)
            inputs.append(model.preprocess(pixels.to(model.device)))
        inputs += inputs[-1:] * (self._batch - len(images))
        with inference():
            return model.image_encoder(torch.stack(inputs))

    def _segment(self, image: Pixels, box: Singles, encoded: Any) -> Segmentation:
        predictor = self._predictor
        predictor.features, predictor.original_size, predictor.is_image_set = encoded[None], image.shape[:2], True
        predictor.input_size = predictor.transform.get_preprocess_shape(
            *image.shape[:2], predictor.transform.target_length
        )
        with float32():
            logits, scores, _ = predictor.predict(box=box, multimask_output=True, return_logits=True)
        best = int(np.argmax(scores))
        mask = 1 / (1 + np.exp(-np.clip(logits[best], -30, 30)))
        return Segmentation(mask.astype(np.float32), float(scores[best]), stability(logits[best], -1.0, 1.0))


def bounding_box(mask: Bools) -> Singles | None:
    """`[left, top, right, bottom]` in pixels, right and bottom inclusive; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)


SAM = Loader(
    revision=2, make=load_sam, options=SamOptions, packages=("segment-anything", "torch"), obstacle=no_obstacle
)
