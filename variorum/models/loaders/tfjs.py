"""Graph models of TensorFlow.js as ONNX, for ONNX Runtime.

Only inference graphs of convolutional networks are covered: those of the nodes in `tfjs_nodes.NODES`.
"""

from __future__ import annotations

from pathlib import Path

from variorum.models.loaders.tfjs_graph import read_graph
from variorum.models.loaders.tfjs_nodes import NODES, OnnxGraph
from variorum.schemas.errors import ModelUnavailable

OPSET, IR = 18, 9
"""Versions of ONNX's operators and file format."""


def to_onnx(folder: Path) -> bytes:
    """The ONNX model of the graph model in a folder, with its input and outputs under their own names.

    Raises:
        ModelUnavailable: there is no graph model, or it has nodes of another kind.
    """
    from onnx.helper import make_graph, make_model, make_opsetid

    graph = read_graph(folder)
    made = OnnxGraph(graph.constants)
    for node in graph.nodes:
        if node.op not in NODES:
            raise ModelUnavailable(f"{folder.name}: the node {node.name} is a {node.op}, which isn't converted yet")
        try:
            NODES[node.op](made, node)
        except (LookupError, TypeError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            raise ModelUnavailable(f"{folder.name}: {node.op} {node.name} can't be converted ({why})") from error
    outputs = [made.output(name) for name in graph.outputs]
    model = make_graph(made.nodes, folder.name, made.inputs, outputs, made.initializers)
    content: bytes = make_model(model, opset_imports=[make_opsetid("", OPSET)], ir_version=IR).SerializeToString()
    return content
