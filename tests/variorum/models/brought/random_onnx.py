"""Tiny ONNX graphs with random weights; their scores mean nothing."""

from __future__ import annotations

import numpy as np

WIDTH = 5
"""Outputs."""


def export(path, *, layout="NCHW", dtype="float", batch=None, side=32):
    """Write a graph with random weights from pictures to five scores, without PyTorch: mean colour times a matrix."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16}[dtype]
    shape = [batch or "n", 3, side, side] if layout == "NCHW" else [batch or "n", side, side, 3]
    axes = numpy_helper.from_array(np.asarray([2, 3] if layout == "NCHW" else [1, 2], np.int64), "axes")
    matrix = np.random.default_rng(4).normal(size=(3, WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["floats", "axes"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "matrix"], ["scores"]),
        ],
        "mean_colour",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch or "n", WIDTH])],
        [axes, numpy_helper.from_array(matrix, "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return matrix
