"""GPU memory: whether there is enough before work begins, and one line for a person when there wasn't."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from schemas.errors import ModelUnavailable
from variorum.models.entries import Entry

log = logging.getLogger(__name__)

OWN_TABLE = (
    "in a table of your own ($VARIORUM_MODELS): offload, vae_slicing and vae_tiling need less (docs/run_on_gpus.md)"
)


def free_gpu_memory() -> float | None:
    """GiB that this process could still have of the GPU that it uses; None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return float(torch.cuda.mem_get_info()[0] + unused) / 2**30


def too_large(entries: Mapping[str, Entry]) -> list[str]:
    """A line for each of these models, not loaded yet, that wants more memory than the GPU has free.

    What they want is an estimate for some pictures at a time, so that they don't fit all together is only a warning.
    """
    wanted = {alias: entry.vram for alias, entry in entries.items() if entry.vram}
    free = free_gpu_memory() if wanted else None
    if free is None:
        return []
    if sum(wanted.values()) > free >= max(wanted.values()):
        log.warning(
            "%s want %.3g GiB of GPU memory together, by estimate, and %.3g are free: batches may have to be smaller",
            ", ".join(wanted),
            sum(wanted.values()),
            free,
        )
    return [
        f"model {alias!r} ({entries[alias].name}) wants {gib:.3g} GiB of GPU memory and {free:.3g} are free: end what "
        f"else is on the GPU, or put its entry, with the vram that you find it to need, {OWN_TABLE}"
        for alias, gib in wanted.items()
        if gib > free
    ]


@contextmanager
def running_out(what: str = "") -> Iterator[None]:
    """Turn PyTorch's error for too little memory, once nobody inside could do with less, into one for a person.

    Args:
        what: had the memory run out, for the message.

    Raises:
        ModelUnavailable: in place of `torch.OutOfMemoryError`.
    """
    try:
        yield
    except RuntimeError as error:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(error, torch.OutOfMemoryError):
            raise
        said = str(error).partition(" Of the allocated memory")[0].rstrip(".")
        raise ModelUnavailable(
            f"{what}{': ' * bool(what)}the GPU's memory ran out ({said}): end what else is on the GPU, ask for a "
            f"smaller `batch` or `size`, or change the model's options {OWN_TABLE}"
        ) from error
