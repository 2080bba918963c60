"""ONNX files that want to read other files, through any part of a model."""

from __future__ import annotations

import onnx
import pytest
from google.protobuf.internal.encoder import _VarintBytes
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from variorum.models import onnx as module
from variorum.models.brought import find
from variorum.models.onnx import open_session, read_model
from variorum.schemas.errors import ModelUnavailable

SECRET = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def elsewhere(name="hidden"):
    """Eight bytes that lie in the file `secret8` of the working folder."""
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "secret8", "offset": "0", "length": "8"}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def inside(name="inside", dims=(), value=(1,), kind=TensorProto.BOOL):
    return helper.make_tensor(name, kind, dims, value)


def graph(nodes, *, name="g", inputs=(), outputs=("y",), kind=TensorProto.UINT8, **more):
    results = [helper.make_tensor_value_info(one, kind, None) for one in outputs]
    return helper.make_graph(list(nodes), name, list(inputs), results, **more)


def constant(tensor, output="y"):
    return helper.make_node("Constant", [], [output], name=f"made_{output}", value=tensor)


def branch(name, nodes, **more):
    return graph(nodes, name=name, outputs=(f"{name}_y",), **more)


def cases():
    """What each way of hiding is called, and the model."""
    copy = helper.make_node("Identity", ["hidden"], ["y"])
    other = branch("other", [constant(inside(dims=[8], value=range(8), kind=TensorProto.UINT8), "other_y")])
    sparse = onnx.SparseTensorProto(
        values=elsewhere(), indices=inside("at", [8], range(8), TensorProto.INT64), dims=[8]
    )
    cond = constant(inside(), "cond")
    once = constant(inside("once", (), [1], TensorProto.INT64), "once")
    body = helper.make_graph(
        [
            constant(elsewhere(), "step"),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("step", TensorProto.UINT8, [8]),
        ],
    )
    secret = helper.make_function("local", "Secret", [], ["z"], [constant(elsewhere(), "z")], OPSETS)
    a_list = helper.make_node("Constant", [], ["y"], name="listed")
    a_list.attribute.add(name="values", type=onnx.AttributeProto.TENSORS).tensors.append(elsewhere())
    graphs = {
        "an initializer": graph([copy], initializer=[elsewhere()]),
        "a sparse initializer": graph([copy], sparse_initializer=[sparse]),
        "an attribute": graph([constant(elsewhere())]),
        "a sparse attribute": graph([helper.make_node("Constant", [], ["y"], name="s", sparse_value=sparse)]),
        "a list of tensors": graph([a_list]),
        "a branch's constant": graph(
            [
                cond,
                helper.make_node(
                    "If",
                    ["cond"],
                    ["y"],
                    then_branch=branch("then", [constant(elsewhere(), "then_y")]),
                    else_branch=other,
                ),
            ]
        ),
        "a branch's initializer": graph(
            [
                cond,
                helper.make_node(
                    "If",
                    ["cond"],
                    ["y"],
                    then_branch=branch(
                        "then", [helper.make_node("Identity", ["hidden"], ["then_y"])], initializer=[elsewhere()]
                    ),
                    else_branch=other,
                ),
            ]
        ),
        "a loop": graph([once, cond, helper.make_node("Loop", ["once", "cond"], ["y"], body=body)]),
        "a function": graph([helper.make_node("Secret", [], ["y"], domain="local")]),
    }
    for name, one in graphs.items():
        functions = [secret] if name == "a function" else []
        yield name, helper.make_model(one, opset_imports=OPSETS, functions=functions, ir_version=9)
    training = onnx.ModelProto.FromString(PLAIN.SerializeToString())
    training.training_info.add().algorithm.CopyFrom(graph([constant(elsewhere())]))
    yield "training", training


X = helper.make_tensor_value_info("x", TensorProto.UINT8, [8])
PLAIN = helper.make_model(
    graph([helper.make_node("Identity", ["x"], ["y"])], inputs=[X]),
    ir_version=9,
    opset_imports=[helper.make_opsetid("", 18)],
)
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
CASES = dict(cases())


@pytest.fixture
def at_the_secret(tmp_path, monkeypatch):
    """The working folder has a file that no model may read."""
    (tmp_path / "secret8").write_bytes(SECRET)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_no_part_of_a_model_reads_another_file(at_the_secret, name):
    content = CASES[name].SerializeToString()
    with pytest.raises(ModelUnavailable, match=r"m keeps weights in another file \(the tensor 'hidden' of the "):
        read_model(content, "m")


def test_the_node_is_named(at_the_secret, tmp_path):
    (tmp_path / "a.onnx").write_bytes(CASES["a branch's constant"].SerializeToString())
    with pytest.raises(ModelUnavailable, match=r"a\.onnx keeps .* \(the tensor 'hidden' of the node 'made_then_y'\)"):
        find(f"onnx:{tmp_path / 'a.onnx'}")


def places(message: Message, found: list[Message]) -> list[Message]:
    """All messages in a message."""
    found.append(message)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                places(part, found)
    return found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_tensor_anywhere_is_found(data):
    """A tensor in another file is put into a random field, below random further ones."""
    model = onnx.ModelProto()
    at, deep = model, 0
    while not isinstance(at, TensorProto):
        fields = [field for field in at.DESCRIPTOR.fields if field.message_type and leads_to_a_tensor(field, deep)]
        field = data.draw(st.sampled_from(fields))
        value = getattr(at, field.name)
        at, deep = value if isinstance(value, Message) else value.add(), deep + 1
    mark = data.draw(st.sampled_from(["location", "entries"]))
    if mark == "location":
        at.data_location = TensorProto.EXTERNAL
    else:
        at.external_data.add(key="location", value="secret8")
    with pytest.raises(ModelUnavailable, match="in another file"):
        read_model(model.SerializeToString(), "m")


def leads_to_a_tensor(field, deep, seen=()):
    """Whether tensors can lie below a field; from a certain depth on, only shortly below."""
    kind = field.message_type
    if kind.full_name == TensorProto.DESCRIPTOR.full_name:
        return True
    if kind.full_name in seen or len(seen) > max(3, 40 - deep):
        return False
    return any(leads_to_a_tensor(one, deep, (*seen, kind.full_name)) for one in kind.fields if one.message_type)


def test_deep_models_end_in_one_line():
    nested = b""
    for _ in range(200):
        for field in (6, 5, 1):  # a graph in an attribute of a node
            nested = bytes([field << 3 | 2]) + _VarintBytes(len(nested)) + nested
    nested = bytes([7 << 3 | 2]) + _VarintBytes(len(nested)) + nested
    with pytest.raises(ModelUnavailable, match="m can't be opened as ONNX"):
        read_model(nested, "m")


def test_the_runtimes_own_format_is_refused():
    """Bytes that are ONNX to protobuf, but that ONNX Runtime takes for its own format."""
    content = b"\x7a\x7fXXORTM".ljust(129, b"X") + PLAIN.SerializeToString()
    read_model(content, "m")
    open_session(content, 1, "m")


def test_without_cuda_a_model_for_the_best_device_runs_on_the_cpu(monkeypatch, caplog):
    import onnxruntime

    made = graph([constant(inside(dims=[2], value=[3, 4], kind=TensorProto.UINT8))])
    content = helper.make_model(made, opset_imports=OPSETS, ir_version=9).SerializeToString()
    monkeypatch.setattr(module, "has_driver", lambda: True)
    assert open_session(content, 1, "quiet", "best").run(None, {})[0].tolist() == [3, 4]
    assert caplog.records == []  # the package for CPUs has nothing to complain of
    offered = onnxruntime.get_available_providers()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [module.CUDA, *offered])
    assert open_session(content, 1, "a model", "best").run(None, {})[0].tolist() == [3, 4]
    assert "a model runs on the CPU, as ONNX Runtime can't use the GPU: " in caplog.text
    assert open_session(content, 1, "pinned to the CPU").get_providers() == ["CPUExecutionProvider"]
    assert len(caplog.records) == 1
