"""ONNX files on the CPU: opening them, and exporting them once into the cache."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from variorum.edition.store import hash_file
from variorum.models.weights import replace_with

log = logging.getLogger(__name__)


def open_session(path: Path, threads: int) -> Any:
    """An ONNX Runtime session on the CPU whose idle threads sleep."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def exported(path: Path, export: Callable[[Path], None]) -> Path:
    """The path of an exported file, which is exported again if it is missing or damaged.

    Args:
        path: of the file. Its hash is kept beside it, in `<name>.sha256`, and compared every time.
        export: writes the file to the path that it is given.
    """
    checksum = path.with_name(f"{path.name}.sha256")
    if path.is_file() and checksum.is_file():
        if checksum.read_text().split()[:1] == [hash_file(path)]:
            return path
        log.warning("%s is damaged and is exported again", path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh, line = Path(folder) / path.name, Path(folder) / checksum.name
        export(fresh)
        line.write_text(f"{hash_file(fresh)}  {path.name}\n")
        replace_with(path, fresh)
        replace_with(checksum, line)
    return path
