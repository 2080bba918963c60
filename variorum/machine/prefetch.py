"""Runs an iterable in a thread of its own, a bounded number of items ahead of its consumer.

Reading with decoding, the model, and encoding with writing each get a thread this way. NumPy, OpenCV, ONNX Runtime,
torch and zlib release the interpreter lock while they work, so the model doesn't wait for the others.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
A = TypeVar("A")
LONGEST = 30.0
"""Seconds that a thread gets to begin."""
GIVEN_UP = 2.0
"""Seconds that the thread gets to end after Ctrl-C."""


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same items in the same order, produced by another thread at most `depth` items ahead.

    If the producer raises, the items before come first, then the exception is raised here. Closing this iterator stops
    the thread and closes the producer, if it is a generator.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> bool:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put((item, None, False)):
                    break
            if close := getattr(items, "close", None):
                close()
        except BaseException as raised:
            error = raised
        put((None, error, True))

    thread = _started("prefetch", produce)
    patience: float | None = None
    try:
        while True:
            try:
                item, error, last = ready.get(timeout=0.5)
            except queue.Empty:  # in between, what another thread raises in this one arrives
                continue
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    except (Exception, GeneratorExit):
        raise
    except BaseException:  # Ctrl-C: the item at work may take minutes
        patience = GIVEN_UP
        raise
    finally:
        stopped.set()
        thread.join(patience)


def begun_in_thread(work: Callable[[A], T], argument: A) -> Future[T]:
    """`work(argument)` in a thread that doesn't keep the process alive. Raises MemoryError if none begins."""
    future: Future[T] = Future()
    _started("window", _work, future, work, argument)
    return future


def _work(future: Future[T], work: Callable[[A], T], argument: A) -> None:
    try:
        future.set_result(work(argument))
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future  # the error refers to this frame, and would live on with what it refers to


def _started(name: str, target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
    thread._started = Begun()  # type: ignore[attr-defined]  # there is no public way
    thread.start()
    return thread


class Begun(threading.Event):
    """Says that a thread has begun. `Thread.start` waits for it, forever if there is no memory for the first steps."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for half a minute at most. Raises MemoryError if the thread hasn't begun by then."""
        if not super().wait(LONGEST if timeout is None else timeout) and timeout is None:
            raise MemoryError("a new thread doesn't begin")
        return self.is_set()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
