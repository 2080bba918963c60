"""Loading models of the libraries diffusers and transformers from a folder: safetensors only, without the network."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from variorum.models.device import best_device
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable


def missing_packages(*packages: str) -> str:
    """A line that names the packages that aren't installed; `""` if all are."""
    missing = [name for name in packages if find_spec(name.replace("-", "_")) is None]
    return f"needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}" if missing else ""


def float16_without_gpu(entry: Entry) -> str:
    """A line if the entry computes in float16 and there is no GPU, else `""`."""
    if entry.dtype != "float16" or best_device() != "cpu":
        return ""
    return (
        "it computes in float16, which needs a GPU, and this machine has none; for a CPU, copy its entry into a table "
        'of your own ($VARIORUM_MODELS) and set dtype = "float32"'
    )


def load_pretrained(cls: Any, folder: Path, entry: Entry | None, **options: Any) -> Any:
    """A model or pipeline of one of the two libraries, in the entry's dtype.

    Args:
        cls: class with `from_pretrained`.
        folder: written by `save_pretrained`.
        entry: has the dtype; None for float32.
        options: further arguments of `from_pretrained`.

    Raises:
        ModelUnavailable: the folder has no such model, or only pickles of it.
    """
    import torch

    if cls.__module__.startswith("diffusers."):  # without accelerate, diffusers would warn
        options["low_cpu_mem_usage"] = find_spec("accelerate") is not None
    with one_error(folder, f"{cls.__name__} with safetensors weights"):
        return cls.from_pretrained(
            folder,
            dtype=getattr(torch, entry.dtype if entry else "float32"),
            use_safetensors=True,
            local_files_only=True,
            **options,
        )


@contextmanager
def one_error(folder: Path, what: str) -> Iterator[None]:
    """Turn every error of the libraries about a wrong folder into one; also hides their progress bars.

    Raises:
        ModelUnavailable: `<folder> can't be loaded as <what>`, with the library's reason.
    """
    from safetensors import SafetensorError

    try:
        with no_progress_bars():
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


@contextmanager
def state_of(file: Path, what: str) -> Iterator[None]:
    """Turn every error about a file that isn't the state dict of a network into one.

    Raises:
        ModelUnavailable: `<file> isn't <what>`, with the reason.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        AttributeError,
        TypeError,
        LookupError,
        EOFError,
        RuntimeError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelUnavailable(f"{file} isn't {what}: {why}") from error


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Hide the bars that diffusers and transformers draw while they load; the command line has its own."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = diffusers_logging, transformers_logging
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
