"""Make pictures in windows that overlap: while one is on the GPU, the CPU prepares the next and edits the one before.

When memory runs out, windows are made one after the other and batches are halved.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from itertools import chain, islice
from typing import TypeVar

from variorum.kit.pictures.batches import in_parts
from variorum.machine.prefetch import GIVEN_UP, batched, begun_in_thread
from variorum.models.memory import is_out_of_memory

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_windows(
    items: Iterable[Item],
    make: Callable[[list[Item]], Sequence[Made]],
    *,
    batch: int,
    name: str,
    at_once: int = 2,
    group: int = 1,
) -> Generator[tuple[Item, Made], None, None]:
    """Each item with what is made of it, in order.

    Each window has a thread of its own. A model that can't be called by two threads has a lock, so a window waits for
    it while another works on the CPU. At most `at_once` windows are in memory. After an error, and when this iterator
    is closed, the windows at work are waited for, so no thread is left; after Ctrl-C for two seconds.

    Args:
        items: read in the caller's thread, a window at a time.
        make: gives one result per item of a window; called from threads.
        batch: groups in a window, at most.
        name: what warnings call the generator.
        at_once: windows at work at the same time.
        group: number of items that are made together or not at all, and follow one another.

    Raises:
        OutOfMemoryError: PyTorch's, when memory doesn't suffice for one group.
    """
    waiting = iter(items)
    begun: deque[tuple[list[Item], Future[Sequence[Made]]]] = deque()
    patience: float | None = None
    try:
        while True:
            while len(begun) < at_once and (window := list(islice(waiting, batch * group))):
                begun.append((window, begun_in_thread(make, window)))
            if not begun:
                return
            window, making = begun[0]
            made = _unless_out_of_memory(making)
            begun.popleft()
            if made is None:
                del making  # its error refers to the tensors of the failed call
                wait(later for _, later in begun)  # they still use memory
                if at_once > 1:
                    at_once = 1
                    log.warning("%s: out of memory, going on with one batch at a time", name)
                made, batch = _made_alone(window, make, batch, group, name)
            yield from zip(window, made, strict=True)
    except (Exception, GeneratorExit):
        raise
    except BaseException:  # Ctrl-C: a window may take minutes
        patience = GIVEN_UP
        raise
    finally:
        wait([making for _, making in begun], patience)


def _made_alone(
    window: list[Item], make: Callable[[list[Item]], Sequence[Made]], batch: int, group: int, name: str
) -> tuple[list[Made], int]:
    """One result per item, in order, and the most groups in a window that fit into memory."""

    def make_groups(groups: Sequence[list[Item]]) -> list[list[Made]]:
        return list(batched(make([*chain.from_iterable(groups)]), group))

    made, batch = in_parts(make_groups, list(batched(window, group)), batch, name)
    return [*chain.from_iterable(made)], batch


def _unless_out_of_memory(making: Future[Sequence[Made]]) -> Sequence[Made] | None:
    try:
        return making.result()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
