"""Tries one model: loads it, asks it known questions, and compares its answers in batches and in other precisions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.api.trial_answers import look
from variorum.api.trial_calls import NoCall, Question, caller, differences, first_numbers, question_for, side_of, square
from variorum.api.trial_gpu import Utilisation
from variorum.api.trial_process import answers_on_cpu
from variorum.models import weights
from variorum.models.batch_search import Tried, best, sweep
from variorum.models.device import best_device
from variorum.models.fetching import amount
from variorum.models.known_answers import known_answers, note_answered
from variorum.models.loaders import find_loader
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
MOST = 128
"""Pictures of the largest batch."""


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
        if self._table.why_unavailable(self._alias):
            raise Skipped("the model can't be loaded here")
        return self._table.get(self._alias)

    @cached_property
    def _question(self) -> Question:
        model = self._model
        return question_for(model, square(self._photographs, side_of(model) or SIDE))

    @cached_property
    def _together(self) -> list[Any]:
        """The answers to eight pictures in one call."""
        return caller(self._model, self._question)(EIGHT)

    def unload(self) -> None:
        """Give the model's memory back."""
        self.__dict__.pop("_model", None)
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
        figures["bytes"] = size_of(path) if path else 0
        said = f"{amount(figures['bytes'])}, loaded in {figures['load_seconds']:.1f} s"
        if best_device() == "cuda":
            figures["gpu_gib"] = round((_allocated() - before) / 2**30, 3)
            said += f", {figures['gpu_gib']:.3g} GiB on the GPU"
        return "pass", said, figures

    def answer(self) -> Outcome:
        """Compare with the known answer to the public picture; where none is published, look whether it makes sense."""
        model, pin = self._model, self._table.pin(self._alias)
        try:
            picture = self._public()
        except ModelUnavailable as error:
            raise Skipped(str(error)) from None
        known = known_answers(self._known).of(pin)
        if known is None:
            return self._looked(picture, pin)
        given = model.logits([picture]) if known.of == "logits" else model([picture])
        first = np.asarray(given.cpu() if hasattr(given, "cpu") else given, float)[0, : len(known.first)]
        apart = float(np.abs(first - np.asarray(known.first)).max())
        good = apart <= known.within
        figures = {"first": first.round(5).tolist(), "known": list(known.first), "apart": apart}
        said = f"{known.of}: {apart:.2g} from the numbers of {known.source}; {known.within:g} is allowed"
        if good:
            note_answered(pin, self._table.cache)
        return "pass" if good else "fail", said, figures

    def _looked(self, picture: Pixels, pin: str) -> Outcome:
        """Whether an answer makes sense, of which nobody has published numbers. Its first numbers are proposed.

        That isn't noted as answered: a wrong network may make sense by chance.
        """
        model, public = self._model, known_answers(self._known).picture
        first = first_numbers(caller(model, question_for(model, [self._fitting(picture)]))([0])[0])
        plain = first if isinstance(first, str) else first.tolist()
        proposed = {"proposed": {"weights": pin.partition("+")[0], "first": plain}}
        try:
            good, said, figures = look(model, self._alias, self._table, picture, public)
        except (NoCall, ModelUnavailable) as error:
            return "skipped", str(error), proposed
        return "pass" if good else "fail", said, {**figures, **proposed}

    def _fitting(self, picture: Pixels) -> Pixels:
        """The public picture as this model takes it."""
        side = side_of(self._model)
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
        return self._compared({"float32": caller(model, question)(EIGHT)}, ours, means=True)

    def _compared(self, ways: dict[str, list[Any]], with_these: list[Any], *, means: bool = False) -> Outcome:
        half = self._entry.dtype != "float32" or best_device() == "cuda"
        found = {way: differences(with_these, answers, half=half, means=means) for way, answers in ways.items()}
        bad = [way for way, (good, _, _) in found.items() if not good]
        worst = bad or list(found)[:1]
        said = "; ".join(f"{way}: {found[way][1]}" for way in worst)
        return "fail" if bad else "pass", said, {way: one[2] for way, one in found.items()}

    def sweep(self) -> Outcome:
        """Batch sizes upward until memory runs out: pictures per second, GiB, utilisation."""
        if best_device() == "cpu":
            raise Skipped("this machine has no GPU")
        question, busy = self._question, Utilisation()
        self.unload()
        judge = "batch" in find_loader(self._entry.loader).options.model_fields  # which divides a call by itself
        model = self._table.get_as(self._alias, self._entry.dtype, **({"batch": MOST} if judge else {}))
        images = [question.images[at % len(question.images)] for at in range(MOST)]
        ask = caller(model, replace(question, images=images))
        tried = sweep(lambda batch: busy.during(batch, lambda: ask(range(batch))), most=MOST, rise=None)
        return "pass", *proposal(tried, busy.mean())


def proposal(tried: Sequence[Tried], busy: Mapping[int, float]) -> tuple[str, dict[str, Any]]:
    """A sentence and figures with the `vram`, `vram_each` and `batch` that a sweep suggests for the model's entry.

    Memory is that of a batch of one, and a slope for each further picture, by least squares.

    Args:
        tried: with memory.
        busy: by batch, the GPU's mean utilisation in percent.
    """
    batches = np.asarray([one.batch for one in tried])
    gib = np.asarray([one.gib or 0.0 for one in tried])
    each = round(max(0.0, float(np.polyfit(batches, gib, 1)[0])), 3) if len(tried) > 1 else 0.0
    batch = best(list(tried))
    rate = next(one.per_second for one in tried if one.batch == batch)
    proposed = {"vram": float(np.ceil(10 * gib[0]) / 10), "vram_each": each, "batch": batch}
    rows = [{**asdict(one), "utilisation": busy.get(one.batch)} for one in tried]
    said = (
        f"{rate:.3g} pictures/s at batch {batch}; {proposed['vram']:g} GiB for one picture, {each:g} for each further"
    )
    return said, {"rows": rows, "proposed": proposed}


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    return sum(one.stat().st_size for one in ([path] if path.is_file() else path.rglob("*")) if one.is_file())


def _allocated() -> int:
    import torch

    return int(torch.cuda.memory_allocated()) if torch.cuda.is_available() else 0
