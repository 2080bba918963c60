"""Tries one model: loads it, asks it known questions, and compares its answers in batches and in other precisions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.api.trial_answers import look
from variorum.api.trial_calls import Question, caller, differences, first_numbers, guidance_of, square
from variorum.api.trial_process import answers_on_cpu
from variorum.machine.cache import cache_dir
from variorum.models import weights
from variorum.models.device import best_device
from variorum.models.known_answers import known_answers, note_answered
from variorum.schemas.errors import ModelUnavailable

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.models import ModelTable
    from variorum.reports.trial.document import State

Outcome = tuple["State", str, dict[str, Any]]
Work = Callable[[], Outcome]
EIGHT = range(8)
"""Pictures of a batch."""
SIDE = 512
"""Of the photographs that judges see, in pixels."""
SWEEP = (1, 2, 4, 8, 16, 32, 64, 128)
"""Batch sizes."""
NEARLY = 0.97
"""The smallest batch with this share of the best rate is proposed."""


class Skipped(Exception):
    """A check that can't be made here; says why."""


class ModelTrial:
    """The checks of one model.

    Args:
        table: of the profile.
        alias: of the model.
        photographs: eight or more.
        public: gives the public picture; raises ModelUnavailable if there is none.
        fetch: whether to download missing weights.
        known: table of known answers.
    """

    def __init__(
        self,
        table: ModelTable,
        alias: str,
        photographs: Sequence[Pixels],
        public: Callable[[], Pixels],
        *,
        fetch: bool,
        known: Path,
    ) -> None:
        self._table, self._alias, self._photographs = table, alias, photographs
        self._public, self._fetch, self._known = public, fetch, known
        self._entry = table.entry(alias)

    def checks(self) -> Iterator[tuple[str, Work]]:
        """Yield the checks in their order; each gives its outcome when it is called."""
        yield "load", self.load
        yield "answer", self.answer
        yield "batches", self.batches
        yield "cpu", self.cpu
        yield "half", self.half
        yield "sweep", self.sweep

    @cached_property
    def _model(self) -> Any:
        found = self._table.status(self._alias)
        if found.state != "ready":
            raise Skipped(f"{found.state}: {found.way_out}")
        return self._table.get(self._alias)

    @cached_property
    def _question(self) -> Question:
        model = self._model
        side = getattr(model, "size", 256 if hasattr(model, "encode") else SIDE)
        return Question(square(self._photographs, side), guidance=guidance_of(model))

    @cached_property
    def _together(self) -> list[Any]:
        """The answers to eight pictures in one call."""
        return caller(self._model, self._question)(EIGHT)

    def unload(self) -> None:
        """Give the model's memory back."""
        for name in ("_model", "_question"):
            self.__dict__.pop(name, None)
        self._table.unload(self._alias)

    def load(self) -> Outcome:
        """Fetch, hash and load the weights. A model with missing or mismatched tensors doesn't load."""
        figures: dict[str, Any] = {}
        found = self._table.status(self._alias, thorough=True)
        if found.state in ("missing", "corrupt") and self._fetch:
            began = time.perf_counter()
            self._table.fetch(self._alias)
            figures["fetch_seconds"] = round(time.perf_counter() - began, 1)
            found = self._table.status(self._alias, thorough=True)
        if found.state == "corrupt":
            return "fail", found.problem, figures
        if found.state != "ready":
            raise Skipped(f"{found.state}: {found.way_out}")
        before, began = _allocated(), time.perf_counter()
        _ = self._model
        figures["load_seconds"] = round(time.perf_counter() - began, 1)
        path = weights.locate(self._entry, self._table.cache)
        figures["disk_gib"] = round(size_of(path) / 2**30, 3) if path else 0.0
        said = f"{figures['disk_gib']:.3g} GiB on disk, loaded in {figures['load_seconds']:.1f} s"
        if best_device() == "cuda":
            figures["gpu_gib"] = round((_allocated() - before) / 2**30, 3)
            said += f", {figures['gpu_gib']:.3g} GiB on the GPU"
        return "pass", said, figures

    def answer(self) -> Outcome:
        """Compare with the known answer to the public picture; where none is published, look whether it makes sense."""
        pin, model = self._table.pin(self._alias), self._model
        try:
            picture = self._public()
        except ModelUnavailable as error:
            raise Skipped(str(error)) from None
        known = known_answers(self._known).of(pin)
        if known:
            given = model.logits([picture]) if known.of == "logits" else model([picture])
            first = np.asarray(given.cpu() if hasattr(given, "cpu") else given, float)[0, : len(known.first)]
            apart = float(np.abs(first - np.asarray(known.first)).max())
            good = apart <= known.within
            figures = {"first": first.round(5).tolist(), "known": list(known.first), "apart": apart}
            said = f"{known.of} differ by {apart:.2g} from those of {known.source}; {known.within:g} is allowed"
        else:
            good, said, figures = look(model, self._entry, self._table, picture, known_answers(self._known).picture)
            asked = Question([self._fitting(picture)], guidance=guidance_of(model))
            first_of = first_numbers(caller(model, asked)([0])[0])
            figures["proposed"] = {
                "weights": pin.partition("+")[0],
                "first": first_of if isinstance(first_of, str) else first_of.tolist(),
            }
        if good:
            note_answered(pin, cache_dir())
        return "pass" if good else "fail", said, figures

    def _fitting(self, picture: Pixels) -> Pixels:
        """The public picture as this model takes it."""
        model = self._model
        side = getattr(model, "size", 256) if hasattr(model, "encode") or hasattr(model, "multiple") else None
        return square([picture], side)[0] if side else picture

    def batches(self) -> Outcome:
        """The same pictures alone, in a batch of eight, in another order, and again."""
        ask, together = caller(self._model, self._question), self._together
        order = [int(at) for at in np.random.default_rng(0).permutation(len(EIGHT))]
        shuffled = ask(order)
        ways = {
            "alone": [ask([at])[0] for at in EIGHT],
            "shuffled": [shuffled[order.index(at)] for at in EIGHT],
            "twice": ask(EIGHT),
        }
        return self._compared(ways, together)

    def cpu(self) -> Outcome:
        """One picture on this device and on the CPU in float32."""
        if best_device() == "cpu" and self._entry.dtype == "float32":
            raise Skipped("this machine has no GPU, and the model computes in float32")
        theirs = answers_on_cpu(self._table.profile, self._alias, self._question)
        return self._compared({"cpu": theirs}, self._together[: len(theirs)])

    def half(self) -> Outcome:
        """Half precision and float32 on the same device."""
        if self._entry.dtype == "float32":
            raise Skipped("it computes in float32")
        ours, question = self._together, self._question
        self.unload()  # both may not fit
        model = self._table.get_as(self._alias, "float32")
        return self._compared({"float32": caller(model, question)(EIGHT)}, ours)

    def _compared(self, ways: dict[str, list[Any]], with_these: list[Any]) -> Outcome:
        half = self._entry.dtype != "float32" or best_device() == "cuda"
        found = {way: differences(with_these, answers, half=half) for way, answers in ways.items()}
        bad = [way for way, (good, _, _) in found.items() if not good]
        worst = bad or list(found)[:1]
        said = "; ".join(f"{way}: {found[way][1]}" for way in worst)
        return "fail" if bad else "pass", said, {way: one[2] for way, one in found.items()}

    def sweep(self) -> Outcome:
        """Batch sizes upward until memory runs out: pictures per second, GiB, utilisation."""
        if best_device() == "cpu":
            raise Skipped("this machine has no GPU")
        question = self._question
        many = Question([question.images[at % len(question.images)] for at in range(SWEEP[-1])], question.steps)
        ask = caller(self._model, many)
        from variorum.api.trial_gpu import measured

        rows = sweep(lambda batch: measured(lambda: ask(range(batch))))
        return "pass", *proposal(rows)


def sweep(measure: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """What is measured of each batch size until memory runs out.

    Args:
        measure: calls a batch of this size; gives `seconds` and `gib`, and raises PyTorch's OutOfMemoryError.
    """
    import torch

    def row(batch: int) -> dict[str, Any]:
        try:
            found = measure(batch)
        except torch.OutOfMemoryError:
            return {}
        return {"batch": batch, "pictures_per_second": round(batch / found["seconds"], 3), **found}

    return list(takewhile(bool, map(row, SWEEP)))


def proposal(rows: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A sentence and figures with the `vram`, `vram_each` and `batch` that a sweep suggests for the model's entry.

    Memory is weights + batch · slope, by least squares.

    Raises:
        ModelUnavailable: not even one picture fits.
    """
    if not rows:
        raise ModelUnavailable("the GPU's memory is too small for one picture")
    batches, gib = np.asarray([row["batch"] for row in rows]), np.asarray([row["gib"] for row in rows])
    slope = float(np.polyfit(batches, gib, 1)[0]) if len(rows) > 1 else 0.0
    each = round(max(0.0, slope), 3)
    most = max(row["pictures_per_second"] for row in rows)
    best = next(row["batch"] for row in rows if row["pictures_per_second"] >= NEARLY * most)
    proposed = {"vram": round(float(np.ceil(10 * gib[0]) / 10), 1), "vram_each": each, "batch": best}
    said = (
        f"{most:.3g} pictures/s at batch {best}; {proposed['vram']:g} GiB for one picture and {each:g} for each further"
    )
    return said, {"rows": list(rows), "proposed": proposed}


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    return sum(one.stat().st_size for one in ([path] if path.is_file() else path.rglob("*")) if one.is_file())


def _allocated() -> int:
    import torch

    return int(torch.cuda.memory_allocated()) if torch.cuda.is_available() else 0
