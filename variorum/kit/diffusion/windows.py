"""Two windows of requests at a time: one is denoised while the other is decoded and judged.

When memory runs out, windows are drawn one after the other and batches are halved.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, islice
from typing import TypeAlias

from variorum.kit.diffusion.drawing import Drawn, Request
from variorum.kit.pictures.batches import in_parts
from variorum.machine.prefetch import batched

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Windows at work at the same time."""

Draw: TypeAlias = Callable[[list[Request]], list[Drawn]]
"""Draws one picture per request, in order."""


def in_windows(
    requests: Iterable[Request], draw: Draw, *, batch: int, settings: int, name: str
) -> Iterator[tuple[Request, Drawn | None]]:
    """Each request with its picture, in order; None for one that can't be made.

    Args:
        requests: those of one picture follow one another, one per setting.
        draw: called from threads.
        batch: pictures per call, at most.
        settings: how many settings there are. A window has `batch` pictures of each, so that calls are full.
        name: what warnings call the generator.

    Raises:
        OutOfMemoryError: PyTorch's, when memory doesn't suffice for one picture.
    """
    waiting, at_once = iter(requests), AT_ONCE
    begun: deque[tuple[list[Request], Future[list[Drawn]]]] = deque()
    with ThreadPoolExecutor(AT_ONCE, "draw") as threads:
        while True:
            while len(begun) < at_once and (window := list(islice(waiting, batch * settings))):
                begun.append((window, threads.submit(draw, _possible(window))))
            if not begun:
                return
            window, drawing = begun.popleft()
            drawn = _unless_out_of_memory(drawing)
            if drawn is None:
                del drawing  # its error refers to the tensors of the failed call
                wait(later for _, later in begun)  # they still use memory
                if at_once > 1:
                    at_once = 1
                    log.warning("%s: out of memory, going on with one batch at a time", name)
                drawn, batch = _drawn_alone(_possible(window), draw, batch, settings, name)
            found = iter(drawn)
            for request in window:
                yield request, None if request.problem else next(found)


def _drawn_alone(requests: list[Request], draw: Draw, batch: int, settings: int, name: str) -> tuple[list[Drawn], int]:
    """One picture per request, in order, and the largest batch that fits into memory."""

    def draw_groups(groups: Sequence[list[Request]]) -> list[list[Drawn]]:
        return list(batched(draw([*chain.from_iterable(groups)]), settings))

    # a group has one request per setting, so a call gets one request of each group
    drawn, batch = in_parts(draw_groups, list(batched(requests, settings)), batch, name)
    return [*chain.from_iterable(drawn)], batch


def _unless_out_of_memory(drawing: Future[list[Drawn]]) -> list[Drawn] | None:
    from torch import OutOfMemoryError

    try:
        return drawing.result()
    except OutOfMemoryError:
        return None


def _possible(window: Sequence[Request]) -> list[Request]:
    return [request for request in window if not request.problem]
