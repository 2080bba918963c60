"""The filters of convolutional networks, a sample for each layer: a sheet of them to look at, and their weights.

After CNN Filter DB (Gavrikov & Keuper, CVPR 2022, arXiv 2203.15331), which describes trained networks by their 3 × 3
filters. Weights are read from files and networks are never run.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.machine.retrying import changed
from variorum.models.convolutions import Convolution, read_convolutions
from variorum.models.weights import tree_sha256, untouched
from variorum.pixels import encode_png
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import ClassInfo, Context, Source, Use
from variorum.schemas.errors import ModelUnavailable, SourceError
from variorum.schemas.sample import Failure, Sample, source_id
from variorum.sources.tables.filter_sheets import sheet

if TYPE_CHECKING:
    from variorum.arrays import Singles

T = TypeVar("T")
FILTERS = "filters.npy"
"""The member with a layer's filters: `[n, k²]` float32, all of the first output channel first."""
DRAWN = "dataDrivenMedia"
"""A term of IPTC's vocabulary DigitalSourceType: a picture that a program makes of data."""
LARGEST = 11
"""Side of a filter."""


class Network(NamedTuple):
    """A network's layers that become samples, with the sha256 of its weights and their licence."""

    name: str
    sha256: str
    licence: str
    layers: tuple[Convolution, ...]


class CnnFilters(Source):
    """Layers of networks whose filters have one of the sizes in `kernels`, network by network, from input to output.

    A network without such a layer is a row with the reason `no_filters`, and a layer with weights that are infinite or
    no numbers is one with the reason `not_finite`. There are no classes.
    """

    location: ClassVar[frozenset[str]] = frozenset({"files"})

    models: tuple[str, ...] = ("classifier_gate", "classifier_small", "classifier", "segmenter")
    """Aliases of models, or names of models that a user brings, such as `torchvision:resnet50`."""
    files: tuple[Path, ...] = ()
    """Further files of weights: ONNX, safetensors, or PyTorch state dicts."""
    kernels: tuple[int, ...] = Field(default=(3, 5), min_length=1)
    """Sides of the filters that are read."""

    @field_validator("kernels")
    @classmethod
    def _sizes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if odd := [side for side in value if not 2 <= side <= LARGEST]:
            raise ValueError(f"{odd[0]} isn't a side of 2 to {LARGEST} weights")
        if len(set(value)) < len(value):
            raise ValueError("each size must be there once")
        return value

    @model_validator(mode="after")
    def _some(self) -> CnnFilters:
        if not self.models and not self.files:
            raise ValueError("give models or files")
        names = [*self.models, *(file.name for file in self.files)]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"{twice} is there twice")
        if odd := next((file.name for file in self.files if not file.name.isprintable()), ""):
            raise ValueError(f"the name {odd!r} isn't printable text; rename that file")
        return self

    def uses(self) -> list[Use]:
        """Return the models."""
        return [Use(alias) for alias in self.models]

    def pin(self, ctx: Context) -> str:
        """Digest of the models' pins and of the files."""
        pins: list[Json] = [[alias, ctx.models.pin(alias)] for alias in self.models]
        files: list[Json] = [[file.name, self._sha256(file)] for file in self.files]
        return digest([pins, files])

    def size(self, ctx: Context) -> int:
        """Number of layers, and of networks without one.

        Raises:
            SourceError: there is no layer at all, or weights can't be read.
        """
        found = self._numbers(ctx)
        if not any(found.values()):
            sizes = ", ".join(f"{side} x {side}" for side in self.kernels)
            raise SourceError(
                f"cnn_filters: no layer of {', '.join(found)} has filters of {sizes}; name "
                "other models, or other kernels"
            )
        return sum(max(1, number) for number in found.values())

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """None."""
        return ()

    def place(self) -> str:
        """The models and files."""
        return " ".join([self.component_name(), *self.models, *(str(file.absolute()) for file in self.files)])

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Layers, a Failure `no_filters` for a network without any, and `not_finite` for a layer with odd numbers."""
        places = [
            (network, layer)
            for network in self._networks(ctx)
            for layer in (range(len(network.layers)) if network.layers else (None,))
        ]
        for network, layer in places[start:stop]:
            yield _missing(network, self.kernels) if layer is None else _pictured(network, network.layers[layer])

    def _networks(self, ctx: Context) -> list[Network]:
        """All networks; each is read once."""
        licences = {alias: ctx.models.licence(alias) for alias in self.models}
        return [
            Network(name, sha256, licences.get(name, "unknown"), layers)
            for name, (sha256, layers) in self._each(self._layers, ctx).items()
        ]

    def _numbers(self, ctx: Context) -> dict[str, int]:
        """Number of layers of each network by its name, counted once for its content."""

        def count(path: Path) -> int:
            key = digest(["cnn_filters", self.revision, path.suffix, tree_sha256(path), [*self.kernels]])
            return int(ctx.memo(key, lambda: {"layers": np.array(len(self._layers(path)[1]))})["layers"])

        return self._each(count, ctx)

    def _each(self, read: Callable[[Path], T], ctx: Context) -> dict[str, T]:
        """Call a function with each network's weights, which are verified first; by the network's name."""
        try:
            found = {alias: ctx.models.read_weights(alias, read) for alias in self.models}
            for file in self.files:
                self._sha256(file)
                with untouched(file):
                    found[file.name] = read(file)
        except ModelUnavailable as error:
            raise SourceError(f"cnn_filters: {error}") from None
        return found

    @cached_property
    def _read(self) -> dict[tuple[Path, str], tuple[Convolution, ...]]:
        """Layers by path and sha256."""
        return {}

    @cached_property
    def _pins(self) -> dict[Path, str]:
        """sha256 of each file when it was first looked at."""
        return {}

    def _sha256(self, file: Path) -> str:
        """sha256 of a file. Raises SourceChanged if it was another one before."""
        found = _hashed(file)
        if self._pins.setdefault(file, found) != found:
            raise changed(file, "other content")
        return found

    def _layers(self, path: Path) -> tuple[str, tuple[Convolution, ...]]:
        """Return sha256 and layers."""
        sha256 = tree_sha256(path)
        if (path, sha256) not in self._read:
            found = read_convolutions(path)
            self._read[path, sha256] = tuple(item for item in found if item.weights.shape[2] in self.kernels)
        return sha256, self._read[path, sha256]


def _hashed(file: Path) -> str:
    if not file.is_file():
        raise SourceError(f"cnn_filters: {file} isn't a file")
    try:
        return tree_sha256(file)
    except ModelUnavailable as error:
        raise SourceError(f"cnn_filters: {error}") from None


def _pictured(network: Network, layer: Convolution) -> Sample | Failure:
    outputs, inputs, side, _ = layer.weights.shape
    odd = layer.weights.size - int(np.isfinite(layer.weights).sum())
    if odd:
        detail = f"{odd} of {layer.weights.size} weights are infinite or no numbers"
        return _failure(network, "not_finite", detail, layer.layer)
    filters: Singles = np.ascontiguousarray(layer.weights.reshape(-1, side * side), np.float32)
    member = io.BytesIO()
    np.save(member, filters, allow_pickle=False)
    metadata: dict[str, Json] = {
        "alias": network.name,
        "sha256": network.sha256,
        "layer": layer.layer,
        "depth_norm": round(layer.depth, 6),
        "groups": layer.groups or None,
        "depthwise": layer.depthwise,
        "n": len(filters),
        "outputs": outputs,
        "inputs": inputs,
        "kernel": side,
        "quantised": layer.quantised,
    }
    return Sample(
        _id(network, layer.layer),
        encode_png(sheet(filters, side)),
        origin=f"{network.name} {layer.layer}",
        licence=network.licence,
        extras={FILTERS: member.getvalue()},
        photograph=network.sha256,
        metadata=metadata,
        digital_source_type=DRAWN,
    )


def _missing(network: Network, kernels: tuple[int, ...]) -> Failure:
    sizes = ", ".join(f"{side} x {side}" for side in kernels)
    return _failure(network, "no_filters", f"no convolution has filters of {sizes}")


def _failure(network: Network, reason: str, detail: str, layer: str = "") -> Failure:
    return Failure(
        _id(network, layer),
        "",
        "ineligible",
        reason,
        origin=f"{network.name} {layer}".strip(),
        licence=network.licence,
        detail=detail,
        photograph=network.sha256,
    )


def _id(network: Network, layer: str) -> str:
    """Of a layer, or of a network if `layer` is empty."""
    key = f"{network.name} {network.sha256}"
    return source_id("cnn_filters", f"{key} {layer}" if layer else key)
