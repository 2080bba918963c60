"""`onnx:FILE.onnx`: an exported classifier, run by ONNX Runtime on the CPU.

A JSON file beside it, `FILE.json`, gives preprocessing and classes, or the model's own metadata does under the same
keys (values as JSON). Without either, ImageNet's usual preprocessing is assumed, and the card says so.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from variorum.models.brought.found import Found
from variorum.models.brought.function import checked_classes
from variorum.models.brought.model import BATCH, BroughtModel
from variorum.models.brought.onnx_facts import ASSUMED, Facts, preparation
from variorum.models.brought.places import local, read_json
from variorum.models.brought.steps import Steps
from variorum.models.onnx import open_session, read_model
from variorum.models.penultimate import once
from variorum.models.weights import tree_sha256
from variorum.schemas.canonical import digest
from variorum.schemas.errors import ModelFailed, ModelUnavailable, RecipeError
from variorum.schemas.lookup import cut, explain

if TYPE_CHECKING:
    from variorum.arrays import Array, Pixels

LONGEST = 600
"""Seconds that a graph may take for a batch."""
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
LINEAR = ("Gemm", "MatMul")
AFTER = ("Add", "Cast", "Flatten", "Identity", "LogSoftmax", "Reshape", "Sigmoid", "Softmax")
"""What may follow the last linear layer."""
MOST_CLASSES = 2**24
"""Bytes of a file of class names."""


def find(name: str, rest: str, *, fetch: bool) -> Found:
    """Resolve a name after `onnx:`.

    Raises:
        ModelUnavailable: the file doesn't exist, or the one beside it is wrong.
    """
    path = local(rest, name, "file")
    if path.suffix != ".onnx":
        raise ModelUnavailable(f"model {name!r}: {path.name} must end in .onnx")
    beside = path.with_suffix(".json")
    facts = _facts(read_json(beside, name), str(beside), name) if beside.exists() else None
    classes = _classes(facts, path.parent, name) if facts else ()
    revision = f"sha256:{tree_sha256(path)}"
    if facts:
        revision += (
            f";{digest([facts.model_dump(mode='json', exclude={'classes', 'classes_file'}), list(classes)])[:32]}"
        )
    return Found(
        name, f"onnx:{path.name}", revision, str(path), path, lambda: _load(name, path, revision, facts, classes)
    )


def _facts(data: dict[str, Any], where: str, name: str) -> Facts:
    try:
        return Facts.model_validate(data)
    except ValidationError as error:
        raise ModelUnavailable(f"model {name!r}: {explain(error, where, Facts)}") from None


def _classes(facts: Facts, folder: Path, name: str) -> tuple[str, ...]:
    if facts.classes_file is None:
        return checked_classes(facts.classes, name)
    path = local(str(folder / facts.classes_file), name, "file")
    try:
        if path.stat().st_size > MOST_CLASSES:
            raise ValueError("it is too large for a list of names")
        lines = path.read_text("utf-8").splitlines()
        return checked_classes([line.strip() for line in lines if line.strip()], name)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"model {name!r}: {path} must have one class per line: {cut(str(error))}") from None
    except RecipeError as error:
        raise ModelUnavailable(f"{error} ({path})") from None


def _load(name: str, path: Path, revision: str, facts: Facts | None, classes: tuple[str, ...]) -> BroughtModel:
    content = path.read_bytes()  # what was hashed is what is opened
    graph = read_model(content, where := f"model {name!r}: {path.name}")
    session = open_session(content, len(os.sched_getaffinity(0)), where, bounded=True)
    if facts is None and (kept := _metadata(session)):
        facts = _facts(kept, f"the metadata of {path.name}", name)
        classes = _classes(facts, path.parent, name)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type not in DTYPES or len(inputs[0].shape) != 4:
        found = ", ".join(f"{one.name} {one.shape} {one.type}" for one in inputs)
        raise ModelUnavailable(
            f"model {name!r}: {path.name} takes {found or 'nothing'}; it must take one batch of pictures "
            f"[N, 3, H, W] or [N, H, W, 3] of {', '.join(DTYPES)}"
        )
    wanted = facts.output if facts and facts.output else outputs[0].name
    chosen = next((one for one in outputs if one.name == wanted), None)
    if chosen is None:
        raise ModelUnavailable(
            f"model {name!r}: {path.name} has no output {wanted!r}; there are: {', '.join(one.name for one in outputs)}"
        )
    prepare = preparation(facts, inputs[0].shape, DTYPES[inputs[0].type], name)
    width = chosen.shape[1] if len(chosen.shape) == 2 and isinstance(chosen.shape[1], int) else 0
    if width and classes and width != len(classes):
        raise ModelUnavailable(
            f"model {name!r}: {path.name} has {width} outputs, but {len(classes)} classes are listed"
        )
    fixed = inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) else 0
    scores = _Scores(name, session, inputs[0].name, wanted, prepare, fixed)
    inner = _given_to_last(graph.graph, wanted)

    @cache
    def other() -> _Scores:  # another session, as a further output may change the last bits of the scores
        from onnx import ValueInfoProto

        graph.graph.output.append(ValueInfoProto(name=inner))
        session = open_session(graph.SerializeToString(), len(os.sched_getaffinity(0)), where, bounded=True)
        return _Scores(name, session, inputs[0].name, inner, prepare, fixed)

    return BroughtModel(
        name,
        revision,
        classes,
        prepare.told("" if facts else ASSUMED),
        scores,
        width,
        max(fixed, BATCH // fixed * fixed) if fixed else BATCH,
        embed=(lambda images: other()(images)) if inner else None,
    )


def _given_to_last(graph: Any, output: str) -> str:
    """The tensor that the linear layer before an output gets; `""` if there is none that a graph computes."""
    made = {name: node for node in graph.node for name in node.output}
    fixed = {one.name for one in graph.initializer}
    fixed |= {name for name, node in made.items() if node.op_type == "Constant"}
    node = made.get(output)
    while node is not None:
        given = [name for name in node.input if name and name not in fixed]
        if len(given) != 1:
            return ""
        if node.op_type in LINEAR:
            return str(given[0]) if given[0] in made else ""
        node = made.get(given[0]) if node.op_type in AFTER else None
    return ""


class _Scores:
    """From pictures to an output of the graph. For a fixed batch size, the last batch is padded."""

    def __init__(self, name: str, session: Any, source: str, output: str, prepare: Steps, fixed: int) -> None:
        self._name, self._session, self._source, self._output = name, session, source, output
        self._prepare, self._fixed = prepare, fixed

    @once
    def __call__(self, images: Sequence[Pixels]) -> Array:
        from PIL import Image

        batch = np.stack([self._prepare(Image.fromarray(image)) for image in images])
        step = self._fixed or len(batch)
        parts = []
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            if short := step - len(part):
                part = np.concatenate([part, np.repeat(part[-1:], short, axis=0)])
            parts.append(self._run(part)[: step - short])
        return np.concatenate(parts)

    def _run(self, part: Array) -> Array:
        """The output for a batch; a graph that doesn't end is stopped, which Ctrl-C can't do."""
        import onnxruntime

        options, late = onnxruntime.RunOptions(), threading.Event()
        options.log_severity_level = 4

        def stop() -> None:
            late.set()
            options.terminate = True

        timer = threading.Timer(LONGEST, stop)
        timer.daemon = True
        timer.start()
        try:
            found: Array = self._session.run([self._output], {self._source: part}, options)[0]
        except Exception as error:  # its own classes
            if late.is_set():
                raise ModelFailed(
                    f"model {self._name!r}: a batch of {len(part)} pictures takes longer than {LONGEST} s; the "
                    "graph may never end"
                ) from None
            if "BFCArena" in str(error):
                raise MemoryError(" ".join(str(error).rpartition(") ")[2].split())) from None
            raise
        finally:
            timer.cancel()
        return found


def _metadata(session: Any) -> dict[str, Any]:
    """The facts in the model's own metadata; values are JSON, or plain text. Other keys are ignored."""
    found: dict[str, Any] = {}
    for key, value in session.get_modelmeta().custom_metadata_map.items():
        if key in Facts.model_fields:
            try:
                found[key] = json.loads(value)
            except (ValueError, RecursionError):
                found[key] = value
    return found
