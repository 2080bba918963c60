"""ONNX files: opening them on the CPU or a GPU, and exporting them once into the cache.

An export is used only if it was made of these weights, by this exporter and these versions of PyTorch and ONNX, and is
whole. The file's name has a hash of the former; the file `<name>.seal` beside it also holds a hash of the content. What
was hashed is what is opened.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

from variorum.machine.retrying import steady
from variorum.machine.workplace import workplace
from variorum.models.device import has_driver
from variorum.models.weights import replace_with
from variorum.schemas.canonical import Json, digest
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.lookup import cut

log = logging.getLogger(__name__)

GRAPHS = Path(__file__).parent / "graphs"
"""Written by scripts in training/, without weights: those are read at their places in the files of models."""
PACKAGES = ("torch", "onnx")
"""Their versions decide what an export is."""
OLD = 30 * 24 * 3600
"""Seconds that an export is kept which this version can't use."""


Device = Literal["cpu", "best"]
"""Where a session runs: on the CPU, or on a CUDA device where there is one and ONNX Runtime can use it."""
CUDA = "CUDAExecutionProvider"


MOST_MEMORY = max(8 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
"""Bytes that the graphs of others may take together."""


@cache
def bound_memory() -> None:
    """Let sessions with `bounded` have `MOST_MEMORY` in all; beyond, ONNX Runtime raises."""
    import onnxruntime as ort

    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    as_asked = ort.OrtArenaCfg({"max_mem": MOST_MEMORY, "arena_extend_strategy": 1})
    ort.create_and_register_allocator(place, as_asked)


def open_session(
    model: Path | bytes, threads: int, name: object = "", device: Device = "cpu", *, bounded: bool = False
) -> Any:
    """An ONNX Runtime session whose idle threads sleep.

    A model of somebody else goes through `read_model` before; pinned ones are known by their hash.

    Args:
        model: a file's path or content.
        threads: that compute one picture.
        name: of the model, for messages; by default its path.
        device: a GPU rounds otherwise than a CPU, so this is a model's option and part of its pin.
        bounded: whether its memory is limited, for a graph of somebody else; only on the CPU.

    Raises:
        ModelUnavailable: ONNX Runtime can't read the model.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # what goes wrong is raised; the log would be more lines of it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.load_model_format", "ONNX"
    )  # what was read is what runs, not ORT's format
    options.log_severity_level = 4
    if bounded:
        bound_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    cuda = device == "best" and has_driver() and CUDA in onnxruntime.get_available_providers()
    try:
        content = model.read_bytes() if isinstance(model, Path) else model
        if cuda and (session := _on_gpu(content, options, name or model)):
            return session
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, which have no common base
        why = " ".join(str(error).split())[:300]
        raise ModelUnavailable(f"{name or model} can't be opened as ONNX: {why}") from error


def _on_gpu(content: bytes, options: Any, name: object) -> Any:
    """A session on the first CUDA device that this process may see; None, with a warning, if CUDA can't be used."""
    import onnxruntime

    # PyTorch's allocator shares the memory, so no more is reserved than is asked for
    settings = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
    why = "its libraries of CUDA or cuDNN are missing"
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it doesn't find
            onnxruntime.preload_dlls()  # those that PyTorch's packages brought
        providers = [(CUDA, settings), "CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(content, options, providers=providers)
        if CUDA in session.get_providers():
            return session
    except Exception as error:
        why = " ".join(str(error).split())[:300]
    log.warning("%s runs on the CPU, as ONNX Runtime can't use the GPU: %s", name, why)
    return None


def read_model(model: Path | bytes, name: object) -> Any:
    """Parse an ONNX file, given by its path or content, all of whose weights lie inside it.

    Others could name any file of the working folder, which the hash of this one doesn't cover.

    Raises:
        ModelUnavailable: it can't be read, it isn't ONNX, or a tensor anywhere in it is stored in another file.
    """
    import onnx

    try:
        parsed = onnx.load_model_from_string(model.read_bytes() if isinstance(model, Path) else model)
    except Exception as error:  # the system's, or protobuf's own classes
        raise ModelUnavailable(f"{name} can't be opened as ONNX: {cut(str(error))}") from error
    for tensor, node in _tensors(parsed, None):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = "the graph" if node is None else f"the node {cut(node.name or node.op_type)!r}"
            raise ModelUnavailable(
                f"{name} keeps weights in another file (the tensor {cut(tensor.name)!r} of {place}); save it with them "
                "inside: onnx.save(onnx.load(FILE), FILE, save_as_external_data=False)"
            )
    return parsed


def graph_with_weights(name: str, folder: Path) -> bytes:
    """The content of an ONNX file: the graph of this name with the weights of a folder.

    Raises:
        ModelUnavailable: the folder has other files than those that the graph was made for.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = onnx.load_model_from_string((GRAPHS / f"{name}.onnx").read_bytes())
    try:
        load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        why = " ".join(str(error).split())[:200]
        raise ModelUnavailable(f"{folder} doesn't have the weights of {name} ({why})") from error
    return bytes(model.SerializeToString())


def _tensors(message: Any, node: Any) -> Iterator[tuple[Any, Any]]:
    """Every tensor in a message of ONNX, whatever field holds it, and the node that it belongs to, if there is one.

    Messages lie in each other 100 deep at most: protobuf refuses others.
    """
    import onnx

    if isinstance(message, onnx.TensorProto):
        yield message, node
    elif isinstance(message, onnx.NodeProto):
        node = message
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            continue
        value = getattr(message, field.name)
        if not hasattr(value, "DESCRIPTOR"):  # a list of messages
            for part in value:
                yield from _tensors(part, node)
        elif message.HasField(field.name):
            yield from _tensors(value, node)


def exported(weights: Path, made_of: Mapping[str, Json], export: Callable[[Path], None]) -> bytes:
    """The content of an exported file, which is exported again if it is missing, damaged or of something else.

    Args:
        weights: a file; the export lies beside it. If nothing can be written there, it is made in the temporary folder
            each time, with a warning.
        made_of: what decides the export: the sha256 of the weights, the exporter's revision and settings. The versions
            of PyTorch and ONNX are added.
        export: writes the file to the path that it is given.

    Raises:
        ModelUnavailable: a package is missing, or nothing can be written anywhere.
    """
    recipe = digest({**made_of, **{name: _version(name) for name in PACKAGES}})
    path = weights.with_name(f"{weights.stem}.export-{recipe[:16]}.onnx")
    seal = path.with_name(f"{path.name}.seal")
    try:
        content, kept = steady(path.read_bytes, path), steady(seal.read_bytes, seal)
        if kept == _seal(recipe, content):
            return content
        log.warning("%s is damaged and is exported again", path)
    except OSError:  # missing
        pass
    try:
        with workplace(path.parent) as folder:
            content = _made(weights, export, folder / path.name)
            fresh = folder / seal.name
            fresh.write_bytes(_seal(recipe, content))
            replace_with(path, folder / path.name)
            replace_with(seal, fresh)
        _remove_old(weights, {path, seal})
        return content
    except OSError as error:
        log.warning("%s can't be kept (%s), so it is exported at every start", path, error.strerror or error)
    try:
        with workplace(Path(gettempdir())) as folder:
            return _made(weights, export, folder / path.name)
    except OSError as error:
        raise ModelUnavailable(
            f"{weights} can't be exported to ONNX, neither beside it nor in {gettempdir()}: {error.strerror or error}"
        ) from error


def _made(weights: Path, export: Callable[[Path], None], target: Path) -> bytes:
    try:
        export(target)
    except ImportError as error:
        raise ModelUnavailable(f"{weights} can't be exported to ONNX: needs the package {error.name}") from error
    return target.read_bytes()


def _remove_old(weights: Path, used: set[Path]) -> None:
    """Remove exports of these weights that other versions made more than a month ago."""
    for path in weights.parent.glob(f"{glob.escape(weights.stem)}.export*.onnx*"):
        with suppress(OSError):
            if path not in used and time.time() - path.stat().st_mtime > OLD:
                path.unlink()


def _seal(recipe: str, content: bytes) -> bytes:
    """Of a recipe and content together, so a plain checksum of a damaged file is no seal."""
    seal = hashlib.sha256(recipe.encode())
    seal.update(content)
    return seal.hexdigest().encode()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
