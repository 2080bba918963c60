"""Reading graph models of TensorFlow.js: a JSON file with its weights beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Array

MOST_BYTES = 2**30
"""Of a graph or its weights."""


class Node(NamedTuple):
    """A node of the graph. Inputs that only order the execution are left out."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attr: Mapping[str, Any]


class Graph(NamedTuple):
    """A graph model.

    Attributes:
        nodes: those that the outputs need, each after its inputs; constants are not among them.
        constants: by name.
        outputs: their names.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    outputs: tuple[str, ...]


def read_graph(folder: Path) -> Graph:
    """The graph model of a folder with one JSON file and the files of weights that it names.

    Raises:
        ModelUnavailable: it has none, or the weights are shorter or longer than the JSON file says.
    """
    try:
        (file,) = folder.glob("*.json")
        model = json.loads(file.read_bytes())
        nodes = [_node(fields) for fields in model["modelTopology"]["node"]]
        outputs = tuple(_plain(name) for name in model["signature"]["outputs"])
        constants = dict(_weights(folder, model["weightsManifest"]))
        return Graph(tuple(_needed(nodes, outputs)), constants, outputs)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelUnavailable(f"{folder} has no graph model of TensorFlow.js ({why})") from error


def _node(fields: Mapping[str, Any]) -> Node:
    inputs = [_plain(name) for name in fields.get("input", ()) if not name.startswith("^")]
    return Node(fields["name"], fields["op"], tuple(inputs), fields.get("attr", {}))


def _plain(name: str) -> str:
    """A tensor's name; the first output of a node has the node's own."""
    return name.removesuffix(":0")


def _needed(nodes: Sequence[Node], outputs: Sequence[str]) -> Iterator[Node]:
    """The nodes that the outputs need, each after its inputs, without constants."""
    by_name = {node.name: node for node in nodes}
    state: dict[str, bool] = {}  # False: being visited
    stack = [name.split(":")[0] for name in reversed(outputs)]
    while stack:
        node = by_name[stack[-1]]
        below = [name.split(":")[0] for name in node.inputs]
        if node.name in state:
            stack.pop()
            if not state[node.name]:
                state[node.name] = True
                if node.op != "Const":
                    yield node
            continue
        state[node.name] = False
        if any(state.get(name) is False for name in below):
            raise ValueError(f"{node.name} is part of a cycle")
        stack += [name for name in reversed(below) if name not in state]


def _weights(folder: Path, manifest: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Array]]:
    for group in manifest:
        paths = [folder / name for name in group["paths"]]
        if any(path.parent != folder or path.name in ("", "..") for path in paths):
            raise ValueError("weights must lie beside the JSON file")
        if sum(path.stat().st_size for path in paths) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MiB of weights")
        data, at = b"".join(path.read_bytes() for path in paths), 0
        for item in group["weights"]:
            stored = np.dtype(item.get("quantization", item)["dtype"].replace("bool", "?")).newbyteorder("<")
            count = math.prod(item["shape"])
            if at + count * stored.itemsize > len(data):
                raise ValueError(f"the weights end before {item['name']}")
            values = np.frombuffer(data, stored, count, at).reshape(item["shape"])
            at += values.nbytes
            yield item["name"], _dequantised(values, item)
        if at != len(data):
            raise ValueError(f"{len(data)} bytes of weights, but {at} are listed")


def _dequantised(values: Array, item: Mapping[str, Any]) -> Array:
    """Whole numbers of 8 or 16 bits are `scale * value + min`; half precision only widens."""
    how = item.get("quantization", {})
    if "scale" in how:
        real = values * np.float32(how["scale"]) + np.float32(how["min"])
        values = real if item["dtype"] == "float32" else np.rint(real)
    return values.astype(item["dtype"])
