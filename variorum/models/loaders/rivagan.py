"""Loaders `rivagan` and `rivagan_decoder`: a watermark of 32 bits by two small networks.

Zhang et al., Robust Invisible Video Watermarking with Attention, arXiv 1909.01285. The encoder looks where a picture
hides a bit well and adds it there; the decoder averages over all pixels. Both are convolutional and take pictures of
any size. They see blue first, as in the package that the weights come from. Pictures go through one by one, which costs
no time on a CPU, so the result depends on its picture alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.onnx import open_session
from variorum.models.roles import PayloadReader
from variorum.models.table_entries import Entry, StrictModel
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels, Singles

BITS = 32
THRESHOLD = 0.52
"""The decoder's output is near 0 or 1; above this it is read as 1, as in the package invisible-watermark."""


class RivaganOptions(StrictModel):
    """Options of both."""

    threads: int = Field(default=1, ge=1)
    """Of one session; pictures are spread over processes instead."""


# ── rivagan_decoder ──────────────────────────────────────────────────────────────────────────────────────────────────


def load_decoder(entry: Entry, file: Path, options: RivaganOptions, _used: Mapping[str, Any]) -> RivaganDecoder:
    """The decoder of an `.onnx` file. Raises ModelUnavailable if it isn't one."""
    session = open_session(file, options.threads, entry.name)
    _require(file, session, {"frame"})
    return RivaganDecoder(session)


class RivaganDecoder:
    """A `roles.PayloadReader`."""

    bits = BITS

    def __init__(self, session: Any) -> None:
        self._session = session

    def read(self, images: Sequence[Pixels]) -> Singles:
        """`[N, 32]`: positive for a 1; near -1.04 or 0.96 in a marked picture, beyond them in places without detail."""
        rows = [self._session.run(["output"], {"frame": _frame(image)})[0] for image in images]
        found = np.concatenate(rows) if rows else np.zeros((0, BITS), np.float32)
        return np.asarray(2 * (found - THRESHOLD), np.float32)


# ── rivagan ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def load_rivagan(entry: Entry, file: Path, options: RivaganOptions, used: Mapping[str, Any]) -> Rivagan:
    """The encoder of an `.onnx` file with the decoder that the entry uses. Raises ModelUnavailable if it isn't one."""
    if len(used) != 1:
        raise ModelUnavailable(f"{entry.name}: loader rivagan uses one model, the decoder; name it in `uses`")
    session = open_session(file, options.threads, entry.name)
    _require(file, session, {"frame", "data"})
    (decoder,) = used.values()
    return Rivagan(session, decoder)


class Rivagan:
    """A `roles.PayloadNetwork`: Zhang et al., Robust Invisible Video Watermarking with Attention, arXiv 1909.01285."""

    bits = BITS

    def __init__(self, session: Any, decoder: PayloadReader) -> None:
        self._session = session
        self._decoder = decoder

    def embed(self, images: Sequence[Pixels], payloads: Bools) -> list[Pixels]:
        """Each picture with its payload `[N, 32]`, rounded; the package cuts fractions off, which costs 1.9 dB."""
        return [self._embed(image, row) for image, row in zip(images, payloads, strict=True)]

    def _embed(self, image: Pixels, payload: Bools) -> Pixels:
        inputs = {"frame": _frame(image), "data": np.asarray(payload, np.float32)[None]}
        marked = self._session.run(["output"], inputs)[0][0, ::-1, 0].transpose(1, 2, 0)
        return np.ascontiguousarray(np.rint((np.clip(marked, -1, 1) + 1) * 127.5).astype(np.uint8))

    def read(self, images: Sequence[Pixels]) -> Singles:
        """`[N, 32]`: positive for a 1."""
        return self._decoder.read(images)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _frame(image: Pixels) -> Singles:
    """A picture as a film of one frame, `[1, 3, 1, H, W]` in [-1, 1]."""
    x = image[..., ::-1].astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None, :, None])


def _require(file: Path, session: Any, inputs: set[str]) -> None:
    found = {item.name for item in session.get_inputs()}
    if found != inputs or "output" not in {item.name for item in session.get_outputs()}:
        names = ", ".join(sorted(found))[:200]
        raise ModelUnavailable(f"{file} isn't the network meant: its inputs are {names}, not {sorted(inputs)}")


def _loader(make: Any) -> Loader:
    return Loader(revision=1, make=make, options=RivaganOptions, packages=("onnxruntime",), obstacle=no_obstacle)


RIVAGAN = _loader(load_rivagan)
RIVAGAN_DECODER = _loader(load_decoder)
