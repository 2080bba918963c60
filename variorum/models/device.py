"""Where models run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

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


def gpu_used() -> dict[str, str | int]:
    """The GPU that this process has worked on, `gpu`, and its most memory in bytes, `gpu_peak_memory`; empty for none.

    Imports nothing: a process without PyTorch has used none.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"gpu": torch.cuda.get_device_name(), "gpu_peak_memory": int(torch.cuda.max_memory_allocated())}
