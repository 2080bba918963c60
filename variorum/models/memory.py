"""GPU memory: a check before work begins, and a readable error when it runs out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

log = logging.getLogger(__name__)

OWN_TABLE = "in a table of your own ($VARIORUM_MODELS): offload, vae_slicing and vae_tiling save memory"
DOCS = "docs/operate/runners.md"


def free_gpu_memory() -> float | None:
    """GiB of the current GPU that this process can still get; None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return float(torch.cuda.mem_get_info()[0] + unused) / 2**30


def too_large(entries: Mapping[str, Entry], batches: Mapping[str, int]) -> list[str]:
    """One line for each model, not loaded yet, that wants more memory than the GPU has free for a single picture.

    Batches are halved when memory runs out. So if the models fit one by one but not together, or a batch doesn't, this
    only logs a warning.

    Args:
        entries: of the models, by alias.
        batches: pictures per call, by alias; 1 for others.
    """
    large = {alias: entry for alias, entry in entries.items() if entry.vram}
    free = free_gpu_memory() if large else None
    if free is None:
        return []
    wanted = {alias: entry.vram + entry.vram_each * (batches.get(alias, 1) - 1) for alias, entry in large.items()}
    for alias, entry in large.items():
        if wanted[alias] > free >= entry.vram:
            log.warning(
                "model %r wants %.3g GiB of GPU memory for a batch of %d, but %.3g are free: set `batch` to %d",
                *(alias, wanted[alias], batches[alias], free, 1 + int((free - entry.vram) / entry.vram_each)),
            )
    if sum(wanted.values()) > free >= max(wanted.values()):
        log.warning(
            "%s want an estimated %.3g GiB of GPU memory together, but %.3g are free: batches may have to be smaller",
            ", ".join(wanted),
            sum(wanted.values()),
            free,
        )
    return [
        f"model {alias!r} ({entry.name}) wants {entry.vram:.3g} GiB of GPU memory, but {free:.3g} are free: end "
        f"other programs on the GPU, or put its entry, with the vram that it really needs, {OWN_TABLE} ({DOCS})"
        for alias, entry in large.items()
        if entry.vram > free
    ]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether this is PyTorch's out-of-memory error. Imports nothing."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


@contextmanager
def running_out(what: str = "") -> Iterator[None]:
    """Replace PyTorch's out-of-memory error by one that says what to do.

    Args:
        what: begins the message, e.g. `model 'x' doesn't fit`; else the error's notes do.

    Raises:
        ModelUnavailable: in place of `torch.OutOfMemoryError`.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        said = str(error).partition(" Of the allocated memory")[0].rstrip(".")
        what = what or "; ".join(getattr(error, "__notes__", ()))
        raise ModelUnavailable(
            f"{what}{': ' * bool(what)}the GPU ran out of memory ({said}): end other programs on the GPU, lower "
            f"`batch` or `size`, or change the model's options {OWN_TABLE} ({DOCS})"
        ) from error
