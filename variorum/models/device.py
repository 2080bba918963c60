"""Where models run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Files of drivers: NVIDIA's, AMD's, and those of Linux inside Windows."""


def has_driver() -> bool:
    """Return whether this machine has a driver of GPUs; imports nothing."""
    return any(map(os.path.exists, DRIVERS))


def gpu_name() -> str | None:
    """The GPU that PyTorch works on; None if there is none. PyTorch is imported only where a driver is."""
    if "torch" not in sys.modules and not (has_driver() and find_spec("torch")):
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def best_device() -> str:
    """`cuda` if there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: small layers gain nothing from more, and sums don't depend on the number of cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def float32(tf32: bool = False) -> Iterator[None]:
    """Compute float32 products and convolutions on a GPU in full, or with `tf32` in ten bits of mantissa, and faster.

    PyTorch has one setting for the process, and by default TF32 for convolutions alone. What was set is set again in
    the end. Threads that want the same work at the same time; one that wants the other waits for them. Inside of
    itself it changes nothing.
    """
    if getattr(_here, "inside", False):
        yield
        return
    with _changes:
        _changes.wait_for(lambda: _state.users == 0 or _state.tf32 == tf32)
        if _state.users == 0:
            _state.tf32, _state.before = tf32, _settings()
            precision = "tf32" if tf32 else "ieee"
            _set((precision,) * len(_places()), ("high" if tf32 else "highest", tf32))
        _state.users += 1
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = False
        with _changes:
            _state.users -= 1
            if _state.users == 0:
                _set(*_state.before)
                _changes.notify_all()


@contextmanager
def inference(tf32: bool = False) -> Iterator[None]:
    """PyTorch without gradients, with `float32`: how a model is called whose answers are measured."""
    import torch

    with float32(tf32), torch.inference_mode():
        yield


class _State:
    """Who computes in which precision: guarded by `_changes`."""

    users = 0
    tf32 = False
    before: tuple[tuple[str, ...], tuple[str, bool] | None]


_changes, _state, _here = threading.Condition(), _State(), threading.local()


def _settings() -> tuple[tuple[str, ...], tuple[str, bool] | None]:
    """PyTorch's settings, and those of its older interface, which can't be read if a process has used both."""
    import torch

    precisions = tuple(place.fp32_precision for place in _places())
    try:
        return precisions, (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return precisions, None


def _set(precisions: tuple[str, ...], older: tuple[str, bool] | None) -> None:
    """Set both alike, as PyTorch and libraries read either."""
    import torch

    if older is not None:
        torch.set_float32_matmul_precision(older[0])
        torch.backends.cudnn.allow_tf32 = older[1]
    for place, precision in zip(_places(), precisions, strict=True):
        place.fp32_precision = precision


def _places() -> tuple[Any, ...]:
    import torch

    backends: Any = torch.backends  # whose stubs lack some of these
    return backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.cudnn.rnn


def gpu_used() -> dict[str, str | int]:
    """The GPU that this process has worked on, `gpu`, and its most memory in bytes, `gpu_peak_memory`; empty for none.

    Imports nothing: a process without PyTorch has used none.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"gpu": torch.cuda.get_device_name(), "gpu_peak_memory": int(torch.cuda.max_memory_allocated())}
