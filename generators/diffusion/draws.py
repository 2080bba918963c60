"""Pictures drawn in batches by a diffusion model, with what can go wrong: too little memory, and what nobody wants.

A picture that the safety checker flags is drawn again with the next of its seeds, a few times at most; what is flagged
to the end is counted as `filtered_nsfw` and, unless asked for, not kept. It never comes out black.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from generators.diffusion.opinions import opinions
from generators.editing.batches import in_parts
from generators.editing.gates import Gates, at_most, blank, first_failed
from generators.prompting.prompts import Words
from schemas.canonical import Json
from schemas.component import Context, Generator
from schemas.sample import Failure, Gate, Op, Sample, child_id
from variorum.measure import batched

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
FLAGGED = "filtered_nsfw"
AT_ONCE = 2
"""Windows in the works: one is denoised while the one before it is decoded and judged."""


class Safety(BaseModel):
    """What happens to pictures that not everybody wants to see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checker: str | None = "safety_checker"
    """Alias of the model that flags them; null for no check."""
    redraws: int = Field(default=3, ge=0, le=20)
    """How often a flagged picture is drawn anew, each time with another seed."""
    keep: bool = False
    """Keep what is flagged to the end in the quarantine, for people to look at; else only the fact is kept."""

    def aliases(self) -> tuple[str, ...]:
        """The checker."""
        return () if self.checker is None else (self.checker,)


@dataclass(frozen=True, slots=True)
class Ask:
    """One picture that is wanted.

    Attributes:
        sample: what it is made from.
        variant: what users group it by.
        requested: all that is asked for; enters its id.
        setting: the number that a call to the model has one of: guidance, or strength.
        number: which of the sample's pictures it is; it has the same seeds at every setting.
        prompt: what it is to show.
        negative: what it is to keep away from.
        reason: why it can't be made, in a word and in a sentence; empty for one that can.
    """

    sample: Sample
    variant: str
    requested: Mapping[str, Json]
    setting: float
    number: int
    prompt: str = ""
    negative: str = ""
    reason: tuple[str, str] = ("", "")


@dataclass(slots=True)
class Drawn:
    """A picture, and how it came about.

    Attributes:
        image: its pixels.
        attempt: number of its seed.
        together: pictures in the same call.
        margin: over the safety checker's limit; None where it wasn't asked.
        notes: the scorer's opinion.
    """

    image: Pixels
    attempt: int
    together: int
    margin: float | None = None
    notes: Mapping[str, Gate] = field(default_factory=dict)

    @property
    def flagged(self) -> bool:
        """Whether the checker objects."""
        return self.margin is not None and self.margin > 0


Make = Callable[[Sequence[Ask], Sequence[int], float], list[Pixels]]
"""Pictures for asks, with a seed each, at one setting."""


@dataclass(frozen=True)
class Studio:
    """All that it takes to turn asks into samples.

    Attributes:
        component: the generator, whose name, revision and fingerprint go on record.
        ctx: seeds and models.
        model: alias of what draws.
        make: calls it.
        safety: what to do about flagged pictures.
        scorer: alias of a zero-shot model whose opinion is recorded; None for none.
        words: the classes, for the scorer.
        batch: pictures to a call, at most.
        note: more facts for an ask's `achieved`.
    """

    component: Generator
    ctx: Context
    model: str
    make: Make
    safety: Safety
    scorer: str | None
    words: Mapping[str, Words]
    batch: int
    note: Callable[[Ask], dict[str, Json]] = field(default=lambda _: {})

    @property
    def name(self) -> str:
        """Of the component."""
        return self.component.component_name()

    def pictures(self, items: Iterable[Ask], settings: int) -> Iterator[Sample | Failure]:
        """A sample or a Failure for each ask, in order.

        Args:
            items: the asks.
            settings: how many different settings they have, so that calls are full.

        Raises:
            OutOfMemoryError: PyTorch's, when there isn't the memory for one picture.
        """
        pins = {alias: self.ctx.models.pin(alias) for alias in aliases(self.model, self.safety, self.scorer)}
        for window, drawn in self._windows(items, settings):
            results = iter(drawn)
            for item in window:
                yield self._refused(item, *item.reason) if item.reason[0] else self._result(item, next(results), pins)

    def _windows(self, items: Iterable[Ask], settings: int) -> Iterator[tuple[list[Ask], list[Drawn]]]:
        """Asks, and a picture for each that can be made: one window is drawn while another is decoded and judged.

        Once memory has run out, there is one at a time.
        """
        batch, at_once, waiting = self.batch, AT_ONCE, iter(items)
        begun: deque[tuple[list[Ask], Future[list[Drawn]]]] = deque()
        with ThreadPoolExecutor(AT_ONCE, "draw") as threads:
            while True:
                while len(begun) < at_once and (window := list(islice(waiting, batch * settings))):
                    begun.append((window, threads.submit(self._drawn, _possible(window))))
                if not begun:
                    return
                window, drawing = begun.popleft()
                drawn = _unless_memory_ran_out(drawing)
                if drawn is None:
                    del drawing  # its error holds on to what the call had made
                    wait(later for _, later in begun)  # they have had their part of the memory
                    if at_once > 1:
                        at_once = 1
                        log.warning("%s: out of memory, going on with one batch at a time", self.name)
                    drawn, batch = self._drawn_alone(_possible(window), batch, settings)
                yield window, drawn

    def _drawn_alone(self, asks: list[Ask], batch: int, settings: int) -> tuple[list[Drawn], int]:
        """One picture an ask, in order, and the largest batch that there is memory for."""

        def draw(groups: Sequence[list[Ask]]) -> list[list[Drawn]]:
            return list(batched(self._drawn([*chain.from_iterable(groups)]), settings))

        # the asks of a picture follow one another, one a setting, and go to a call each
        drawn, batch = in_parts(draw, list(batched(asks, settings)), batch, self.name)
        return [*chain.from_iterable(drawn)], batch

    def _drawn(self, asks: list[Ask]) -> list[Drawn]:
        """One picture an ask, in order, with what the safety checker and the scorer say."""
        found: dict[int, Drawn] = {}
        for setting, numbers in _by_setting(asks).items():
            left = numbers
            for attempt in range(self.safety.redraws + 1):
                part = [asks[number] for number in left]
                images = self.make(part, [self._seed(ask, attempt) for ask in part], setting)
                for number, image in zip(left, images, strict=True):
                    found[number] = Drawn(image, attempt, len(part))
                if self.safety.checker is None:
                    break
                margins = self.ctx.models.get(self.safety.checker)(images)
                for number, margin in zip(left, margins, strict=True):
                    found[number].margin = round(float(margin), 6)
                left = [number for number in left if found[number].flagged]
                if not left:
                    break
        drawn = [found[number] for number in range(len(asks))]
        if self.scorer and drawn:
            model, images = self.ctx.models.get(self.scorer), [item.image for item in drawn]
            for item, notes in zip(drawn, opinions(model, images, asks, self.words), strict=True):
                item.notes = notes
        return drawn

    def _result(self, ask: Ask, drawn: Drawn, pins: Mapping[str, str]) -> Sample | Failure:
        component, sample = self.component, ask.sample
        gates = {"blank": blank(drawn.image, Gates())}
        if drawn.margin is not None:
            gates = {FLAGGED: at_most(drawn.margin, 0), **gates}
        if drawn.flagged and not self.safety.keep:
            seeds = f"flagged by {self.safety.checker} with each of {drawn.attempt + 1} seeds"
            return self._refused(ask, FLAGGED, seeds, {FLAGGED: gates[FLAGGED]})
        op = Op(
            name=self.name,
            revision=component.revision,
            requested=ask.requested,
            achieved={
                "size": list(drawn.image.shape[:2]),
                "batch": drawn.together,
                "redraws": drawn.attempt,
                **self.note(ask),
            },
            gates={**gates, **drawn.notes},
            models=dict(pins),
            seed=self._seed(ask, drawn.attempt),
        )
        # what came with a real picture (a mask) says nothing of this one
        text = ask.prompt.encode() if ask.prompt else sample.extras.get("txt")
        return sample.child(
            drawn.image,
            op,
            variant=ask.variant,
            fingerprint=component.fingerprint(),
            extras={} if text is None else {"txt": text},
            reason=first_failed(gates),
        )

    def _seed(self, ask: Ask, attempt: int) -> int:
        return seed_of(self.name, ask.sample, ask.number, attempt, self.ctx)

    def _refused(self, ask: Ask, reason: str, detail: str, gates: Mapping[str, Gate] | None = None) -> Failure:
        sample = ask.sample
        return Failure(
            child_id(sample.id, self.component.fingerprint(), ask.variant, ask.requested),
            sample.id,
            "ineligible",
            reason,
            ask.variant,
            sample.labels,
            sample.origin,
            sample.licence,
            detail,
            gates or {},
        )


def seed_of(component: str, sample: Sample, number: int, attempt: int, ctx: Context) -> int:
    """Seed of the sample's picture `number`, drawn for the `attempt`th time from 0."""
    return ctx.seed_for(component, sample.id, f"noise/{number}/{attempt}")


def aliases(model: str, safety: Safety, scorer: str | None) -> tuple[str, ...]:
    """All models that a generator of this kind asks for."""
    return (model, *safety.aliases(), *(() if scorer is None else (scorer,)))


def _unless_memory_ran_out(drawing: Future[list[Drawn]]) -> list[Drawn] | None:
    from torch import OutOfMemoryError

    try:
        return drawing.result()
    except OutOfMemoryError:
        return None


def _possible(window: Sequence[Ask]) -> list[Ask]:
    return [ask for ask in window if not ask.reason[0]]


def _by_setting(asks: Sequence[Ask]) -> dict[float, list[int]]:
    found: dict[float, list[int]] = {}
    for number, ask in enumerate(asks):
        found.setdefault(ask.setting, []).append(number)
    return found
