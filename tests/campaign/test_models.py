"""Hostile model files"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from scene import FORKS

ROOM = 1 << 30
"""Bytes by which a process may grow beyond what its libraries take."""
PATIENCE = 90
"""Seconds for a model to be refused, or to answer."""
Write = Callable[[Path], str]
"""Writes a model into a folder; returns its name after the folder's, or the way and the folder."""


def tried(name: str, folder: Path, told: Connection) -> None:
    """In a process of its own: load a model and ask it, in little more memory than the libraries take."""
    import numpy as np
    import onnxruntime  # noqa: F401
    import timm  # noqa: F401
    import torch  # noqa: F401
    import torchvision  # noqa: F401
    from transformers import AutoModelForImageClassification  # noqa: F401

    from variorum.models import onnx as sessions
    from variorum.models.brought import find
    from variorum.models.brought import onnx as graphs
    from variorum.schemas.errors import VariorumError

    os.chdir(folder)
    graphs.LONGEST, sessions.MOST_MEMORY = 20, ROOM // 2
    os.environ["VARIORUM_CACHE"] = str(folder / "cache")
    Path("/proc/self/clear_refs").write_text("5")  # what was most so far is forgotten
    before = memory("VmHWM")
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + 8 * ROOM,) * 2)
    said, kind = "", "answered"
    try:
        find(name)([np.zeros((32, 32, 3), np.uint8)] * 2)
    except VariorumError as error:
        said, kind = str(error), "refused"
    except BaseException as error:
        said, kind = f"{type(error).__name__}: {error}", "raised"
    told.send((kind, said, memory("VmHWM") - before))


def memory(which: str) -> int:
    """Bytes that this process has, or had at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(which))


def outcome(name: str, folder: Path) -> tuple[str, str, int]:
    """What becomes of a model: refused, answered, raised, hangs or died; what is said; and the bytes that it took."""
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=tried, args=(name, folder, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(PATIENCE) else ("hangs", "", 0)
    except EOFError:
        process.join(9)
        found = ("died", f"exit code {process.exitcode}", 0)
    process.kill()
    process.join()
    return found


class Payload:
    """A pickle that leaves a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


# ── safetensors ──────────────────────────────────────────────────────────────────────────────────────────────────────


def tensors(header: bytes | dict[str, Any], data: bytes = bytes(64), length: int | None = None) -> Write:
    """A safetensors file with this header."""
    said = header if isinstance(header, bytes) else json.dumps(header).encode()

    def write(folder: Path) -> str:
        (folder / "w.safetensors").write_bytes(struct.pack("<Q", len(said) if length is None else length) + said + data)
        return f"torchvision:resnet18@{folder}/w.safetensors"

    return write


def tensor(start: int = 0, stop: int = 64, shape: tuple[int, ...] = (16,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


SAFETENSORS = {
    "length of 2^63": tensors(b"{}", length=1 << 63),
    "length of 2^64-1": tensors(b"{}", length=(1 << 64) - 1),
    "header of 100 MB of spaces": tensors(b"{" + b" " * 100_000_000 + b"}"),
    "header of 90 MB of names": tensors(b"{" + b",".join(b'"%d":1' % n for n in range(8_000_000)) + b"}"),
    "overlapping": tensors({"a": tensor(0, 64), "b": tensor(0, 64)}),
    "a hole": tensors({"a": tensor(0, 16, (4,)), "b": tensor(32, 64, (8,))}),
    "offsets beyond the end": tensors({"a": tensor(0, 1 << 40, (1 << 38,))}),
    "offsets backwards": tensors({"a": tensor(64, 0)}),
    "negative offsets": tensors({"a": tensor(-64, 0)}),
    "another dtype than its bytes": tensors({"fc.weight": tensor(dtype="F64")}),
    "no dtype": tensors({"fc.weight": tensor(dtype="PY")}),
    "shape that overflows": tensors({"fc.weight": tensor(0, 0, (1 << 62, 1 << 62, 4))}, b""),
    "two billion classes of none": tensors({"fc.weight": tensor(0, 0, (1 << 31, 0))}, b""),
    "a million classes of none": tensors({"fc.weight": tensor(0, 0, (1 << 21, 0))}, b""),
    "empty sides": tensors({"fc.weight": tensor(0, 0, (0, 1 << 60))}, b""),
    "the same name twice": tensors(b'{"fc.weight":%s,"fc.weight":%s}' % ((json.dumps(tensor()).encode(),) * 2)),
    "deep JSON": tensors(b'{"a":' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}"),
    "no object": tensors(b"[]"),
    "not UTF-8": tensors(b'{"\xff":1}'),
    "metadata that is no text": tensors({"__metadata__": {"a": [1]}, "fc.weight": tensor()}),
}


# ── PyTorch ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def state(content: Callable[[Path], bytes], name: str = "w.pt") -> Write:
    """A PyTorch file with this content."""

    def write(folder: Path) -> str:
        (folder / name).write_bytes(content(folder))
        return f"torchvision:resnet18@{folder}/{name}"

    return write


def archive(members: Callable[[Path], dict[str, bytes]], packed: int = zipfile.ZIP_STORED) -> Callable[[Path], bytes]:
    def content(folder: Path) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", packed) as made:
            for name, data in members(folder).items():
                made.writestr(f"archive/{name}", data)
        return stream.getvalue()

    return content


def payload(folder: Path) -> bytes:
    return pickle.dumps(Payload(folder / "canary"))


def saved(value: Any, **options: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def scripted(_: Path) -> bytes:
    import torch

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            while x.sum() < float("inf"):
                x = x + 0
            return x

    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(Net()), stream)
    return stream.getvalue()


def lying(_: Path) -> bytes:
    """An archive whose directory says that a member has 2^40 bytes."""
    data = bytearray(saved({"fc.weight": __import__("torch").zeros(1000, 512)}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    return bytes(data)


def expanded(_: Path) -> bytes:
    """A tensor of 2^40 numbers of which one is stored."""
    import torch

    return saved({"fc.weight": torch.zeros(1).expand(1 << 20, 1 << 20)})


def sparse(_: Path) -> bytes:
    import torch

    return saved({"fc.weight": torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), [1.0], (1 << 31, 1 << 31))})


def meta(_: Path) -> bytes:
    import torch

    return saved({"fc.weight": torch.empty(1 << 30, 1 << 30, device="meta")})


STATES = {
    "a bare pickle": state(payload),
    "a pickle of the old format": state(
        lambda folder: saved(Payload(folder / "canary"), _use_new_zipfile_serialization=False)
    ),
    "a pickle in an archive": state(archive(lambda folder: {"data.pkl": payload(folder), "version": b"3"})),
    "a pickle among tensors": state(lambda folder: saved({"fc.weight": Payload(folder / "canary")})),
    "a pickle named safetensors": state(payload, "w.safetensors"),
    "TorchScript": state(scripted),
    "TorchScript named safetensors": state(scripted, "w.safetensors"),
    "TorchScript with a payload": state(
        archive(lambda f: {"constants.pkl": payload(f), "data.pkl": payload(f), "code/x.py": b"1", "version": b"3"})
    ),
    "an archive that lies": state(lying),
    "an archive of 4 GB in 4 MB": state(
        archive(lambda _: {"data.pkl": bytes(1 << 30), "data/0": bytes(1 << 30)}, zipfile.ZIP_DEFLATED)
    ),
    "one number for 2^40": state(expanded),
    "sparse": state(sparse),
    "without data": state(meta),
    "a pickle that doubles": state(lambda _: b"\x80\x04]" + b"(\x8c\x01a" + b"2" * 5_000_000 + b"e."),
    "a bytearray of 2^60": state(lambda _: b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"."),
    "a memo far away": state(lambda _: b"\x80\x02K\x01r" + struct.pack("<I", (1 << 31) - 1) + b"."),
    "deep tuples": state(lambda _: b"\x80\x02)" + b"\x85" * 3_000_000 + b"."),
}


# ── ONNX ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def graph(*nodes: Any, stored: tuple[Any, ...] = (), ops: tuple[Any, ...] = (), opset: int = 17) -> Write:
    """An ONNX file of nodes from `x` to `y`."""

    def write(folder: Path) -> str:
        from onnx import TensorProto, helper

        made = helper.make_graph(
            [one() for one in nodes],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, 32, 32])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
            [one() for one in stored],
        )
        known = [helper.make_opsetid("", opset), *(helper.make_opsetid(*one) for one in ops)]
        data = helper.make_model(made, opset_imports=known, ir_version=8).SerializeToString()
        (folder / "m.onnx").write_bytes(data)
        return f"onnx:{folder}/m.onnx"

    return write


def node(kind: str, given: list[str], made: list[str], **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from onnx import helper

        return helper.make_node(
            kind, given, made, **{key: one() if callable(one) else one for key, one in options.items()}
        )

    return make


def numbers(name: str, *values: int, dims: tuple[int, ...] | None = None) -> Callable[[], Any]:
    """Whole numbers that are stored; `dims` may say that there are more."""

    def make() -> Any:
        from onnx import TensorProto

        return TensorProto(name=name, data_type=7, dims=dims or [len(values)], int64_data=values)

    return make


def hollow(name: str, **fields: Any) -> Callable[[], Any]:
    """Numbers of 2^40 places, none of which is there."""

    def make() -> Any:
        from onnx import StringStringEntryProto, TensorProto

        made = TensorProto(name=name, data_type=1, dims=[1 << 20, 1 << 20], raw_data=b"")
        for key, value in fields.items():
            made.external_data.append(StringStringEntryProto(key=key, value=value))
            made.data_location = TensorProto.EXTERNAL
        return made

    return make


def forever() -> Any:
    from onnx import TensorProto, helper

    def info(name: str, kind: int, shape: list[int] | None = None) -> Any:
        return helper.make_tensor_value_info(name, kind, shape or [])

    body = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["s", "s"], ["t"])]
    given = [info("n", TensorProto.INT64), info("go", TensorProto.BOOL), helper.make_tensor_value_info("s", 1, None)]
    return helper.make_graph(
        body, "b", given, [info("on", TensorProto.BOOL), helper.make_tensor_value_info("t", 1, None)]
    )


MEANS = node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0)
BIG = (1 << 17, 1 << 18)
"""A shape of 128 GiB of float32."""
ONNX = {
    "2^40 numbers without data": graph(MEANS, node("MatMul", ["m", "w"], ["y"]), stored=(hollow("w"),)),
    "numbers of another file": graph(
        MEANS, node("MatMul", ["m", "w"], ["y"]), stored=(hollow("w", location="../../../etc/passwd"),)
    ),
    "numbers of a device": graph(MEANS, node("MatMul", ["m", "w"], ["y"]), stored=(hollow("w", location="/dev/zero"),)),
    "2^40 by ConstantOfShape": graph(
        node("ConstantOfShape", ["s"], ["c"]),
        node("ReduceSum", ["c"], ["r"]),
        MEANS,
        node("Add", ["m", "r"], ["y"]),
        stored=(numbers("s", *BIG),),
    ),
    "2^40 by Expand": graph(
        MEANS,
        node("ReduceSum", ["m"], ["k"]),
        node("Expand", ["k", "s"], ["e"]),
        node("ReduceSum", ["e"], ["r"]),
        node("Add", ["m", "r"], ["y"]),
        stored=(numbers("s", *BIG),),
    ),
    "2^40 by Tile": graph(
        MEANS,
        node("Tile", ["m", "s"], ["e"]),
        node("ReduceSum", ["e"], ["r"]),
        node("Add", ["m", "r"], ["y"]),
        stored=(numbers("s", *BIG),),
    ),
    "2^40 by Resize": graph(
        node("Resize", ["x", "", "", "s"], ["e"]),
        node("ReduceMean", ["e"], ["y"], axes=[2, 3], keepdims=0),
        stored=(numbers("s", 2, 3, *BIG),),
    ),
    "2^40 by Pad": graph(
        node("Pad", ["x", "s"], ["e"]),
        node("ReduceMean", ["e"], ["y"], axes=[2, 3], keepdims=0),
        stored=(numbers("s", 0, 0, 0, 0, 0, 0, *BIG),),
    ),
    "2^62 by Range": graph(
        node("Range", ["a", "b", "c"], ["q"]),
        node("Cast", ["q"], ["f"], to=1),
        node("ReduceSum", ["f"], ["r"]),
        MEANS,
        node("Add", ["m", "r"], ["y"]),
        stored=tuple(numbers(name, value, dims=()) for name, value in (("a", 0), ("b", 1 << 62), ("c", 1))),
    ),
    "doubled 40 times": graph(
        node("Concat", ["x", "x"], ["c0"], axis=3),
        *(node("Concat", [f"c{n}", f"c{n}"], [f"c{n + 1}"], axis=3) for n in range(40)),
        node("ReduceMean", ["c40"], ["y"], axes=[2, 3], keepdims=0),
    ),
    "a loop of 2^62 turns": graph(
        MEANS,
        node("Loop", ["turns", "yes", "m"], ["y"], body=forever),
        stored=(
            numbers("turns", 1 << 62, dims=()),
            lambda: __import__("onnx").helper.make_tensor("yes", 9, [], [True]),
        ),
    ),
    "an operator of others": graph(node("PyOp", ["x"], ["y"], module="os", class_name="a"), ops=(("ai.evil", 1),)),
    "an operator of Python": graph(
        lambda: __import__("onnx").helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib"),
        ops=(("ai.onnx.contrib", 1),),
    ),
    "a gather far away": graph(
        MEANS, node("Gather", ["m", "i"], ["y"], axis=1), stored=(numbers("i", 1 << 40, -(1 << 62)),)
    ),
    "a graph of itself": graph(node("Identity", ["y"], ["y"])),
    "no ONNX": lambda folder: (folder / "m.onnx").write_bytes(b"\xff" * 999) and f"onnx:{folder}/m.onnx",
    "deep": lambda folder: (folder / "m.onnx").write_bytes(b":\xff\xff\xff\x7f" * 9999) and f"onnx:{folder}/m.onnx",
}


# ── folders ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CODE = "from pathlib import Path; Path({canary!r}).touch()"


def of_timm(spoil: Callable[[Path, dict[str, Any]], object]) -> Write:
    """A folder of timm, spoilt."""

    def write(folder: Path) -> str:
        import timm
        from timm.models._hub import save_for_hf

        network = timm.create_model("test_vit", num_classes=3)
        save_for_hf(network, folder / "timm", safe_serialization=True)
        config = json.loads((folder / "timm" / "config.json").read_bytes())
        spoil(folder / "timm", config)
        (folder / "timm" / "config.json").write_text(json.dumps(config))
        return f"timm:local-dir:{folder}/timm"

    return write


def with_code(folder: Path) -> None:
    """Python beside the weights, under each name that a library might import, and pickles."""
    code = CODE.format(canary=str(folder.parent / "canary"))
    for name in ("__init__", "modeling", "evil", "timm", "hubconf", "model"):
        (folder / f"{name}.py").write_text(code)
    for name in ("pytorch_model.bin", "evil.pt", "vocab.pkl", "tokenizer.pkl"):
        (folder / name).write_bytes(payload(folder.parent))


def of_hf(spoil: Callable[[Path, dict[str, Any], dict[str, Any]], object]) -> Write:
    """A folder of transformers, spoilt."""

    def write(folder: Path) -> str:
        from transformers import BitImageProcessor, ResNetConfig, ResNetForImageClassification

        place = folder / "hf"
        config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3)
        ResNetForImageClassification(config).save_pretrained(place)
        BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(place)
        files = [place / "config.json", place / "preprocessor_config.json"]
        found = [json.loads(file.read_bytes()) for file in files]
        spoil(place, *found)
        for file, content in zip(files, found, strict=True):
            file.write_text(json.dumps(content))
        return f"hf:{place}"

    return write


def indexed(path: str) -> Callable[..., object]:
    """An index of the weights that leads elsewhere."""

    def spoil(folder: Path, *_: Any) -> None:
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        (folder.parent / "outside.bin").write_bytes(payload(folder.parent))
        index = {"metadata": {"total_size": 1}, "weight_map": {"classifier.1.weight": path}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return spoil


FOLDERS = {
    "code beside timm's weights": of_timm(
        lambda folder, config: (with_code(folder), config.update(auto_map={"AutoModel": "evil.A"}))
    ),
    "timm: another file": of_timm(
        lambda folder, config: (
            with_code(folder),
            config["pretrained_cfg"].update(file=str(folder / "evil.pt"), hf_hub_filename="evil.pt"),
        )
    ),
    "timm: custom_load": of_timm(
        lambda folder, config: (with_code(folder), config["pretrained_cfg"].update(custom_load=True))
    ),
    "timm: a checkpoint among its arguments": of_timm(
        lambda folder, config: (
            with_code(folder),
            config.update(model_args={"checkpoint_path": str(folder / "evil.pt")}),
        )
    ),
    "timm: a URL": of_timm(
        lambda folder, config: config["pretrained_cfg"].update(url="http://127.0.0.1:9/x.pt", source="url")
    ),
    "timm: an architecture that is a path": of_timm(lambda _, config: config.update(architecture="../evil:evil")),
    "timm: an architecture of a module": of_timm(lambda _, config: config.update(architecture="hf-hub:owner/evil")),
    "timm: names of classes by markup": of_timm(
        lambda _, config: config["pretrained_cfg"].update(label_names={"0": {"a": 1}})
    ),
    "timm: ten million classes": of_timm(lambda _, config: config.update(num_classes=10**9)),
    "timm: an input of 10^6 pixels a side": of_timm(
        lambda _, config: config["pretrained_cfg"].update(input_size=[3, 10**6, 10**6])
    ),
    "timm: pictures cut to 10^-9": of_timm(lambda _, config: config["pretrained_cfg"].update(crop_pct=1e-9)),
    "timm: a width of 2^20": of_timm(lambda _, config: config.update(model_args={"embed_dim": 1 << 20})),
    "timm: 10^9 layers": of_timm(lambda _, config: config.update(model_args={"depth": 10**9})),
    "code beside transformers' weights": of_hf(
        lambda folder, config, _: (
            with_code(folder),
            config.update(auto_map={"AutoModelForImageClassification": "evil.A", "AutoConfig": "evil.B"}),
        )
    ),
    "transformers: code of a processor": of_hf(
        lambda folder, _, processor: (
            with_code(folder),
            processor.update(auto_map={"AutoImageProcessor": "evil.A"}, image_processor_type="A"),
        )
    ),
    "transformers: code of another repository": of_hf(
        lambda folder, _, processor: processor.update(
            auto_map={"AutoImageProcessor": "owner/evil--evil.A"}, image_processor_type="A"
        )
    ),
    "transformers: an unknown processor": of_hf(
        lambda _, __, processor: processor.update(image_processor_type="os.system")
    ),
    "transformers: trust_remote_code": of_hf(
        lambda folder, config, _: (with_code(folder), config.update(trust_remote_code=True, model_type="evil"))
    ),
    "transformers: another place": of_hf(
        lambda folder, config, _: (
            with_code(folder),
            config.update(_name_or_path="../evil", _attn_implementation="owner/evil"),
        )
    ),
    "transformers: a kernel of the Hub": of_hf(
        lambda folder, config, _: config.update(
            _attn_implementation_internal="owner/evil:f", attn_implementation="owner/evil:f"
        )
    ),
    "transformers: quantised by code": of_hf(
        lambda folder, config, _: (
            with_code(folder),
            config.update(quantization_config={"quant_method": "evil", "modules": "evil"}),
        )
    ),
    "transformers: adapters": of_hf(
        lambda folder, config, _: (
            with_code(folder),
            (folder / "adapter_config.json").write_text(
                json.dumps(
                    {
                        "base_model_name_or_path": "../evil",
                        "auto_mapping": {"parent_library": "evil", "base_model_class": "A"},
                        "peft_type": "LORA",
                    }
                )
            ),
        )
    ),
    "transformers: weights by ../": of_hf(indexed("../outside.safetensors")),
    "transformers: weights by a path": of_hf(indexed("/etc/passwd")),
    "transformers: weights in a pickle": of_hf(indexed("../outside.bin")),
    "transformers: pictures of 10^6 pixels a side": of_hf(
        lambda _, __, processor: processor.update(
            size={"shortest_edge": 10**6}, crop_size={"height": 10**6, "width": 10**6}
        )
    ),
    "transformers: a width of 2^20": of_hf(lambda _, config, __: config.update(hidden_sizes=[1 << 20, 1 << 20])),
    "transformers: 10^9 layers": of_hf(lambda _, config, __: config.update(depths=[10**9, 1])),
    "transformers: 10^9 classes": of_hf(
        lambda _, config, __: config.update(id2label=None, label2id=None, num_labels=10**9)
    ),
    "transformers: classes of markup": of_hf(lambda _, config, __: config.update(id2label={"0": ["a"], "x": {}})),
    "transformers: deep JSON": of_hf(lambda folder, _, __: (folder / "adapter_config.json").write_text("[" * 10**6)),
}
KINDS = {"safetensors": SAFETENSORS, "PyTorch": STATES, "ONNX": ONNX, "folders": FOLDERS}


@pytest.fixture
def attack(tmp_path: Path) -> Callable[[tuple[str, str]], str]:
    """A function that loads a hostile model; what is wrong then."""

    def attack(case: tuple[str, str]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        name = KINDS[case[0]][case[1]](folder)
        kind, said, took = outcome(name, folder)
        if (folder / "canary").exists():
            return "its code ran"
        if kind not in ("refused", "answered"):
            return f"it {kind}: {said[:300]}"
        if took > ROOM:
            return f"it took {took >> 20} MiB"
        if kind == "refused" and (
            len(said.splitlines()) > 1 or len(said) > 2000 or Path(name.partition(":")[2]).name not in said
        ):
            return f"no line that names it: {said[:300]!r}"
        return ""

    return attack


@pytest.mark.fire
@pytest.mark.filterwarnings("ignore")  # of PyTorch, about the files that are written here
def test_hostile_models(trials, attack):
    """A hostile model runs no code, takes no more than 1 GiB, and is refused in a line that names it, or answers.

    Headers that lie, pickles, TorchScript, bombs of shapes, loops without end, folders that name code and other files.
    """
    trials(attack, [(kind, name) for kind, cases in KINDS.items() for name in cases])
