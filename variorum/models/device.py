"""Where PyTorch models run."""

from __future__ import annotations

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
