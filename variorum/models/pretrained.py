"""What the loaders of diffusers' and transformers' models have in common: what they need here, and how they read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.errors import ModelUnavailable
from variorum.models.device import best_device
from variorum.models.entries import Entry
from variorum.models.quiet import no_bars


def lacking(*packages: str) -> str:
    """Which of these packages aren't installed, as a line; `""` when all are."""
    missing = [name for name in packages if find_spec(name.replace("-", "_")) is None]
    return f"needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}" if missing else ""


def half_without_gpu(entry: Entry) -> str:
    """A line when the entry computes in float16 and there is no GPU, else `""`."""
    if entry.dtype != "float16" or best_device() != "cpu":
        return ""
    return (
        "it computes in float16, which wants a GPU, and there is none here; for a CPU, copy its entry into a table of "
        'your own ($VARIORUM_MODELS) and set dtype = "float32"'
    )


def loaded(kind: Any, folder: Path, entry: Entry, **options: Any) -> Any:
    """A model or pipeline of one of the two libraries, in the entry's type: safetensors only, nothing downloaded.

    Args:
        kind: class with `from_pretrained`.
        folder: as `save_pretrained` wrote it.
        entry: says the type.
        options: more of `from_pretrained`'s.

    Raises:
        ModelUnavailable: when the folder has no such model, or has it as pickles only.
    """
    import torch

    if kind.__module__.startswith("diffusers."):  # it asks for accelerate in a warning otherwise
        options["low_cpu_mem_usage"] = find_spec("accelerate") is not None
    with reading(folder, f"{kind.__name__} with safetensors weights"):
        return kind.from_pretrained(
            folder, dtype=getattr(torch, entry.dtype), use_safetensors=True, local_files_only=True, **options
        )


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """No progress bars inside, and whatever the libraries say of a folder that isn't as they want it is one error.

    Raises:
        ModelUnavailable: in place of their errors.
    """
    from safetensors import SafetensorError

    try:
        with no_bars():
            yield
    except (
        OSError,
        ValueError,
        AttributeError,
        TypeError,
        KeyError,
        ImportError,
        RuntimeError,
        SafetensorError,
    ) as error:
        raise ModelUnavailable(f"{folder} can't be loaded as {what}: {error}") from error
