"""Where PyTorch models run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
