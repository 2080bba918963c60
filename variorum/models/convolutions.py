"""The convolutions of a network, read from its file of weights; the network is never run and no pickle is opened.

Files are ONNX, safetensors and PyTorch state dicts. An ONNX graph says what is a convolution, in which order, and how
many groups it has. A state dict has only names and shapes: every tensor of four dimensions counts as a convolution, so
transposed ones do too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.models.brought.tensors import read_state
from variorum.models.onnx import read_model
from variorum.models.pretrained import state_of
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Array, Singles

STATES = (".pth", ".pt", ".bin", ".safetensors")
PLACES = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Operators of ONNX, and which of their inputs has the weights."""
MOST_STEPS = 8
"""Nodes between stored weights and a convolution."""
LONGEST = 200
"""Letters of a layer's name."""
LARGEST = 2**31
"""Bytes of an ONNX file, by its format."""


class Convolution(NamedTuple):
    """The weights of one convolution.

    Attributes:
        layer: its name in the file.
        weights: `[out, in / groups, k, k]` float32.
        depth: its place among the convolutions of the network, 1 × 1 ones included: 0 for the first, 1 for the last.
        groups: how many it has; 0 where the file doesn't say.
        quantised: whether the weights are stored as integers; `weights` has what they stand for.
    """

    layer: str
    weights: Singles
    depth: float
    groups: int
    quantised: bool

    @property
    def depthwise(self) -> bool:
        """Return whether each filter sees one channel alone."""
        return self.groups > 1 and self.weights.shape[1] == 1


def read_convolutions(path: Path) -> tuple[Convolution, ...]:
    """All convolutions with square kernels in a file of weights, or in the files of a folder, from input to output.

    A folder may hold the same network in several forms: safetensors are read first of all, else ONNX, else state dicts.
    Weights that several convolutions share are there once.

    Raises:
        ModelUnavailable: nothing there is a file of one of the three kinds, or one can't be read.
    """
    files = [path] if path.is_file() else sorted(item for item in path.iterdir() if item.is_file())
    for form in ((".safetensors",), (".onnx",), STATES):
        if chosen := [file for file in files if file.suffix in form]:
            break
    else:
        raise ModelUnavailable(f"{path.name}: filters are read from .onnx, {', '.join(STATES)}; there is no such file")
    found = [item for file in chosen for item in (_of_graph(file) if file.suffix == ".onnx" else _of_state(file))]
    last = max(len(found) - 1, 1)
    return tuple(
        item._replace(layer=name, depth=place / last)
        for place, (item, name) in enumerate(zip(found, _names(item.layer for item in found), strict=True))
        if item.weights.shape[2] == item.weights.shape[3] and item.weights.size
    )


def _names(given: Iterable[str]) -> list[str]:
    """Names of layers that are printable, not too long, and each there once: the second `conv` is `conv (2)`."""
    found: dict[str, None] = {}
    for name in given:
        plain = "".join(letter if letter.isprintable() else "?" for letter in name[:LONGEST])
        numbered = chain([plain], (f"{plain} ({number})" for number in count(2)))
        found[next(one for one in numbered if one not in found)] = None
    return list(found)


def _of_state(path: Path) -> list[Convolution]:
    state = read_state(path, "a file of weights")
    names = sorted(state, key=_natural) if path.suffix == ".safetensors" else list(state)
    found: list[Convolution] = []
    for name in names:
        tensor = state[name]
        if tensor.ndim != 4 or not (tensor.is_floating_point() or tensor.is_quantized):
            continue
        with state_of(path, "a file of weights that can be read"):  # some kinds of numbers can't be turned into others
            weights = _singles((tensor.dequantize() if tensor.is_quantized else tensor.float()).numpy())
        groups = 0
        if weights.shape[1] == 1:  # a first layer with one input is that of a grey picture, a later one is depthwise
            groups = len(weights) if found else 1
        found.append(Convolution(name.removesuffix(".weight"), weights, 0.0, groups, bool(tensor.is_quantized)))
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `block.2` before `block.10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _of_graph(path: Path) -> list[Convolution]:
    if path.stat().st_size >= LARGEST:
        raise ModelUnavailable(f"{path.name} isn't an ONNX file: those have less than 2 GiB")
    graph = read_model(path, path.name).graph
    try:
        return list(_Graph(graph).convolutions())
    except LookupError:  # an operator without its inputs, or numbers of an unknown kind
        raise ModelUnavailable(f"{path.name} isn't valid ONNX") from None
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ModelUnavailable(f"{path.name} has a layer whose weights can't be read: {cut(str(error))}") from None


class _Graph:
    """The stored tensors of an ONNX graph, and the nodes between them and the convolutions."""

    def __init__(self, graph: Any) -> None:
        self._nodes = graph.node
        self._stored: Mapping[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        self._maker: Mapping[str, Any] = {name: node for node in graph.node for name in node.output}

    def convolutions(self) -> Iterator[Convolution]:
        seen: set[str] = set()
        for node in self._nodes:
            place = PLACES.get(node.op_type)
            if place is None or len(node.input) <= place or node.input[place] in seen:
                continue
            found = self._weights(node, place)
            if found is None or found[0].ndim != 4:  # computed from a picture, or a 1-D or 3-D convolution
                continue
            seen.add(node.input[place])
            name = node.input[place] if node.input[place] in self._stored else node.name or node.output[0]
            groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
            weights, quantised = found
            groups = groups if 1 <= groups <= max(len(weights), 1) else 0
            yield Convolution(name.removesuffix(".weight"), _singles(weights), 0.0, groups, quantised)

    def _weights(self, node: Any, place: int) -> tuple[Array, bool] | None:
        if node.op_type == "QLinearConv":
            return self._scaled(node.input[3], node.input[4], node.input[5], 0)
        if node.op_type == "ConvInteger":
            zero = node.input[3] if len(node.input) > 3 else ""
            name = node.input[1]
            # ONNX Runtime's quantiser names the scale so; it lies in a later node
            named = (f"{name.removesuffix('_quantized')}_scale", f"{name}_scale")
            return self._scaled(name, next((one for one in named if one in self._stored), ""), zero, 0)
        return self._value(node.input[1], MOST_STEPS)

    def _value(self, name: str, steps: int) -> tuple[Array, bool] | None:
        """Return the value of a name, and whether it was stored as integers; None if it isn't stored."""
        if name in self._stored:
            return _numbers(self._stored[name]), False
        node = self._maker.get(name)
        if node is None or not steps:
            return None
        if node.op_type == "Constant":
            value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
            return None if value is None else (_numbers(value), False)
        if node.op_type in ("Identity", "Cast"):
            return self._value(node.input[0], steps - 1)
        if node.op_type == "DequantizeLinear":
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            zero = node.input[2] if len(node.input) > 2 else ""
            return self._scaled(node.input[0], node.input[1], zero, axis)
        return None

    def _scaled(self, name: str, scale: str, zero: str, axis: int) -> tuple[Array, bool] | None:
        """Integers that are stored, times their scale."""
        found = [self._value(one, MOST_STEPS) if one else None for one in (name, scale, zero)]
        if found[0] is None:
            return None
        values = found[0][0].astype(np.float32)
        factor, offset = (
            _along(one[0].astype(np.float32), values.shape, axis) if one is not None else np.float32(default)
            for one, default in zip(found[1:], (1, 0), strict=True)
        )
        return (values - offset) * factor, True


def _numbers(tensor: Any) -> Array:
    """A stored tensor. Raises ValueError if its numbers don't fit it."""
    from onnx import numpy_helper

    if any(length < 0 for length in tensor.dims):
        raise ValueError(f"{tensor.name} has a negative length")
    found: Array = numpy_helper.to_array(tensor)
    return found


def _along(values: Array, shape: Sequence[int], axis: int) -> Array:
    """One number for all, or one for each place along an axis, in a shape that broadcasts; raises ValueError else."""
    if values.size == 1:
        return values.reshape(())
    if not -len(shape) <= axis < len(shape) or values.size != shape[axis]:
        raise ValueError(f"{values.size} scales or zero points for weights of {list(shape)}")
    return values.reshape([-1 if place == axis % len(shape) else 1 for place in range(len(shape))])


def _singles(weights: Array) -> Singles:
    """As float32. What is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(weights, np.float32)
