"""Find out how many pictures a model on a GPU makes fastest at a time, once, and keep the number for this machine.

The number is in no key and no pin: it says how fast pictures are made, and only rounding errors depend on it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variorum.machine.cache import cache_dir
from variorum.machine.workplace import workplace
from variorum.models.device import gpu_name
from variorum.models.memory import is_out_of_memory
from variorum.schemas.canonical import Json, digest

log = logging.getLogger(__name__)

RISE = 0.05
"""A larger batch must make so many more pictures per second, as a share."""
MOST = 256
"""Pictures in a batch."""
ROOM = 0.6
"""Share of the GPU's memory that a batch may take, as the batch before it is decoded at the same time."""
COMPILED = '"compile":true'
"""In the pin of a model whose network is compiled."""
LONGEST = 60.0
"""Seconds of a call from which on no larger batch is tried."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A batch size that was tried.

    Attributes:
        batch: pictures in a call.
        per_second: pictures per second, of the faster of two calls.
        gib: the most GPU memory that PyTorch held meanwhile, weights included; None without a GPU.
    """

    batch: int
    per_second: float
    gib: float | None


def sweep(
    make: Callable[[int], object],
    *,
    most: int = MOST,
    rise: float | None = RISE,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Tried]:
    """Try batches of 1, 2, 4, … pictures until they aren't faster any more, or memory ends.

    Args:
        make: makes so many pictures in one call, and returns when they are on the CPU.
        most: pictures in the largest batch.
        rise: end at the first batch that doesn't make so many more pictures per second, as a share; None to go on until
            memory ends.
        clock: seconds.

    Raises:
        OutOfMemoryError: PyTorch's, when memory doesn't suffice for one picture.
    """
    found: list[Tried] = []
    batch = 1
    while batch <= most:
        try:
            seconds, gib = _timed(make, batch, clock)
        except RuntimeError as error:
            if not found or not is_out_of_memory(error):
                raise
            break
        found.append(Tried(batch, batch / seconds, gib))
        if rise is not None and len(found) > 1 and found[-1].per_second < (1 + rise) * found[-2].per_second:
            break
        if seconds > LONGEST:
            break
        batch *= 2
    if torch := _torch():
        torch.cuda.empty_cache()
    return found


def best(tried: list[Tried], room: float | None = None) -> int:
    """The smallest batch that is as fast as any other, but for `RISE`.

    Args:
        tried: in the order of their sizes.
        room: GiB that a larger batch than the first may take; None for any.
    """
    fitting = [one for one in tried if room is None or one.gib is None or one.gib <= room] or tried[:1]
    fastest = max(one.per_second for one in fitting)
    return min(one.batch for one in fitting if one.per_second * (1 + RISE) > fastest)


def best_batch(
    name: str,
    pin: str,
    setting: Json,
    make: Callable[[int], object],
    *,
    usual: int,
    most: int = MOST,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """The number of pictures per call that is fastest on this GPU; searched once, by one process, and kept.

    Args:
        name: what the log calls the model.
        pin: of the model, with its options.
        setting: what else the speed depends on, such as the pictures' size.
        make: makes so many pictures with the model, as for `sweep`.
        usual: the answer without a GPU, and for a network that is compiled: it would be compiled for every size.
        most: pictures in the largest batch.
        clock: seconds.

    Raises:
        OutOfMemoryError: PyTorch's, when memory doesn't suffice for one picture.
    """
    if (gpu := gpu_name()) is None or COMPILED in pin:
        return usual
    path = cache_dir() / "batches" / f"{digest([pin, setting, gpu, most])}.json"
    if known := _kept(path, most):
        return known
    with _alone(path):
        if known := _kept(path, most):
            return known
        log.warning("%s: looking for the best batch on this %s, once", name, gpu)
        tried = sweep(make, most=most, clock=clock)
        found = best(tried, _room())
        _keep(path, {"batch": found, "gpu": gpu, "pin": pin, "setting": setting, "tried": _rounded(tried)})
    rates = ", ".join(f"{one.batch}: {one.per_second:.3g}" for one in tried)
    log.warning("%s: a batch of %d from now on (pictures per second: %s)", name, found, rates)
    return found


def _timed(make: Callable[[int], object], batch: int, clock: Callable[[], float]) -> tuple[float, float | None]:
    """Seconds of the faster of two calls, as the first one may compile and reserve memory, and GiB."""
    torch, times = _torch(), []
    if torch:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        began = clock()
        make(batch)
        times.append(max(clock() - began, 1e-9))
    return min(times), torch.cuda.max_memory_allocated() / 2**30 if torch else None


def _room() -> float | None:
    """GiB that a batch may take."""
    torch = _torch()
    return ROOM * float(torch.cuda.mem_get_info()[1]) / 2**30 if torch else None


def _torch() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _rounded(tried: list[Tried]) -> list[Json]:
    return [[one.batch, round(one.per_second, 4), None if one.gib is None else round(one.gib, 3)] for one in tried]


def _kept(path: Path, most: int) -> int | None:
    try:
        found = json.loads(path.read_bytes())["batch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if type(found) is int and 1 <= found <= most else None


def _keep(path: Path, answer: Json) -> None:
    with suppress(OSError), workplace(path.parent) as folder:  # else it is searched again
        fresh = folder / path.name
        fresh.write_text(json.dumps(answer, indent=1))
        fresh.replace(path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process of this machine searches: the others wait and take its answer, so all have the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):  # a disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
