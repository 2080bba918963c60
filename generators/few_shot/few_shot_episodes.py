"""Few-shot episodes whose queries are harder than their supports: camouflaged, small, blurred, or in little light.

After RD-FSL (Guo et al., IEEE TIP 2025, arXiv 2502.01183), which asks what is left of few-shot recognition when the
pictures to recognise are worse than those to learn from. Its pictures were collected; these are made of one's own
photographs, so that every hard query has a clean one beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.generators.few_shot import difficulties as made_by
from variorum.generators.few_shot.difficulties import BLURS, CLEAN, DEFAULT, OF_OBJECTS, Difficulty, Made, View
from variorum.generators.few_shot.drawing import USED, Picture, Stock, class_rows, draw, stock
from variorum.kit.corrupt.frames import Unusable, framed, usable
from variorum.kit.corrupt.kinds import SEVERITIES
from variorum.kit.gates import gates
from variorum.kit.gates.gates import Gates
from variorum.kit.pictures.edits import Subject
from variorum.kit.pictures.framing import Framing
from variorum.kit.pictures.geometry import CannotEdit
from variorum.kit.pictures.pool import Pool
from variorum.kit.pictures.scenes import BadInput, Scene, Setup, scenes
from variorum.kit.windows import in_windows
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import each_once
from variorum.schemas.lookup import cut
from variorum.schemas.sample import ENHANCED, Failure, Sample
from variorum.schemas.table import Table

log = logging.getLogger(__name__)

LISTED = 3
"""Classes that a message names."""
MOST_ROWS = 3_000_000
"""Of the listing, which is drawn up in memory."""


class FewShotEpisodes(Generator):
    """Each picture once in every difficulty, and the listing `episodes` of which pictures make an episode.

    Supports are clean. An episode has the same classes, supports and query photographs in every difficulty, and no
    photograph twice. In an edition with several splits it is drawn from `test` alone. Pictures with several labels are
    in no episode. The listing `episode_classes` says which classes have too few photographs.
    """

    revision: ClassVar[int] = 2
    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    way: int = Field(default=5, ge=2, le=50)
    """Classes of an episode."""
    shot: tuple[int, ...] = (1, 5)
    """Supports of a class that are scored; an episode lists as many as the largest, and the first make the others."""
    queries: int = Field(default=15, ge=1, le=100)
    """Of each class."""
    episodes: int = Field(default=600, ge=1, le=10_000)
    """Number of episodes."""
    difficulties: tuple[Difficulty, ...] = DEFAULT
    """`clean`, `camouflaged`, `small`, `blurred`, `low_light`, and `shrunk`, which needs no mask, on demand."""
    frame: int = Field(default=256, ge=64, le=1024)
    """Side of the square that each picture is cut to and resized to."""
    framing: Framing = "object"
    """`object` moves the square along the picture so that it contains the object; `center` doesn't."""
    sizes: tuple[float, ...] = (0.05, 0.02)
    """Shares of the frame that a small object has; one is drawn among those that halve its area at least."""
    margin: int = Field(default=2, ge=0)
    """Pixels between a small object and the frame's border."""
    blur: int = 3
    """Severity of motion or defocus blur, 1 to 5."""
    stops: float = Field(default=4.0, gt=0, le=8)
    """Of light that is missing in low light."""
    gates: Gates = Gates(min_plate_texture=0.5)
    """Limits of the checks. A small object shows most of its plate, so the plate needs more texture than elsewhere."""
    segmenter: str = "segmenter"
    """Alias of the model that finds objects without a mask."""
    inpainter: str = "inpainter"
    """Alias of the model that fills the hole of a plate."""
    classifier: str | None = "classifier_small"
    """Judges masks and plates that weren't given; None for neither. It may not be the encoder that is scored."""
    lenders: int = Field(default=12, ge=1)
    """Pictures of its split whose plates a small object may get."""
    batch: int = Field(default=4, ge=1)
    """Pictures for which the models are called together."""

    _shots = field_validator("shot")(
        each_once("must be one or more of 1 to 100, each once", lambda one: 1 <= one <= 100, least=1)
    )

    @field_validator("difficulties")
    @classmethod
    def _with_clean(cls, value: tuple[Difficulty, ...]) -> tuple[Difficulty, ...]:
        if CLEAN not in value or len(set(value)) < len(value):
            raise ValueError(f"must have {CLEAN}, which supports are of, and each difficulty once")
        return value

    _shares = field_validator("sizes")(
        each_once(
            "must be one or more shares of the frame, above 0 and below 1, each once", lambda one: 0 < one < 1, least=1
        )
    )

    @field_validator("blur")
    @classmethod
    def _severity(cls, value: int) -> int:
        if value not in SEVERITIES:
            raise ValueError(f"severity {value} doesn't exist; there are 1 to 5")
        return value

    @model_validator(mode="after")
    def _rows(self) -> FewShotEpisodes:
        rows = self.episodes * self.way * (max(self.shot) + self.queries * len(self.difficulties))
        if rows > MOST_ROWS:
            raise ValueError(
                f"episodes: the listing would have {rows:,} rows, and at most {MOST_ROWS:,} are drawn up; "
                "lower episodes, way, shot, queries or the number of difficulties"
            )
        return self

    def uses(self) -> list[Use]:
        """Return the segmenter, the inpainter and the classifier, if a difficulty needs to know the object."""
        if not self._of_objects():
            return []
        gate = [] if self.classifier is None else [Use(self.classifier, "classifier", decides=True)]
        return [Use(self.segmenter), Use(self.inpainter), *gate]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if fewer classes than `way` have enough pictures; the source is counted for it."""
        if ctx.source is None:
            return
        known = [info.id for info in ctx.source.classes(ctx)]
        if not known:
            raise RecipeError("few_shot_episodes: the source has no classes, and episodes are made of classes")
        # by whether it is of the split test; which split a recipe's shares give a photograph isn't known yet
        found: dict[bool, dict[str, set[str]]] = {tested: {label: set() for label in known} for tested in (True, False)}
        splits, several, enough = set(), 0, 0
        for sample in ctx.source.outline(0, ctx.source.size(ctx), ctx):
            tested = bool(ctx.splits) or sample.split in ("", "test")
            splits.add(tested)
            several += len(sample.labels) > 1
            if len(sample.labels) == 1 and sample.labels[0] in found[tested]:
                photographs = found[tested][sample.labels[0]]
                before = len(photographs)
                photographs.add(sample.photograph or sample.id)
                enough += tested and before < len(photographs) == self._needed()
                if enough >= self.way:
                    return
        counts = {label: len(one) for label, one in found[True in splits].items()}
        enough = sum(count >= self._needed() for count in counts.values())
        if enough >= self.way:
            return
        lacking = sorted((count, label) for label, count in counts.items() if count < self._needed())[-LISTED:]
        named = ", ".join(f"{cut(label)} has {count}" for count, label in reversed(lacking))
        raise RecipeError(
            f"few_shot_episodes: way is {self.way}, and {enough} of {len(counts)} classes have the "
            f"{self._needed()} photographs{' of the split test' if len(splits) > 1 else ''} that {max(self.shot)} "
            f"supports and {self.queries} queries need{f' ({named})' if named else ''}; lower queries, shot or way, or "
            f"merge classes{f' (left out for having several labels: {several})' if several else ''}"
        )

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its picture in every difficulty, or a Failure for each."""
        setup = Setup(self.frame, self.framing, self.segmenter, self.inpainter, self.classifier, self.gates)
        pool = Pool(setup, ctx, self.lenders)

        def make(group: list[Sample]) -> list[list[Sample | Failure]]:
            views = zip([Edit(self, sample, ctx) for sample in group], self._views(group, setup, ctx), strict=True)
            return [[self._made(of, view, pool, *wanted) for wanted in self._wanted(of)] for of, view in views]

        with closing(in_windows(samples, make, batch=self.batch, name=self.component_name())) as windows:
            for _, made in windows:
                yield from made

    def listings(self, table: Table, ctx: Context) -> Mapping[str, Mapping[str, Any]]:
        """`episodes`, unless there are too few classes, and `episode_classes`."""
        found = self._stock(table, ctx)
        drawn = draw(
            found,
            ctx.rng(self.component_name(), "", "episodes"),
            way=self.way,
            shot=self.shot,
            queries=self.queries,
            episodes=self.episodes,
            clean=CLEAN,
            difficulties=self.difficulties,
        )
        classes = class_rows(found, [info.id for info in ctx.classes], self._needed())
        listed: dict[str, Mapping[str, Any]] = {"episodes": drawn} if len(drawn["episode"]) else {}
        if not listed:
            log.warning(
                "few_shot_episodes: no episodes, as way is %d and %d of %d classes have the %d accepted photographs "
                "that an episode needs",
                self.way,
                classes["status"].count(USED),
                len(classes["class"]),
                self._needed(),
            )
        return {**listed, "episode_classes": classes} if classes["class"] else listed

    def _needed(self) -> int:
        return max(self.shot) + self.queries

    def _of_objects(self) -> bool:
        return bool(OF_OBJECTS & set(self.difficulties))

    def _stock(self, table: Table, ctx: Context) -> Stock:
        columns = [
            table[name].tolist() for name in ("id", "parent", "photograph", "variant", "label", "labels", "split")
        ]
        tested = "test" in columns[-1]
        return stock(
            [
                Picture(identity, parent, photograph or parent, variant, labels[0])
                for identity, parent, photograph, variant, label, labels, split in zip(*columns, strict=True)
                if label >= 0 and len(labels) == 1 and (split == "test" or not tested)
            ],
            CLEAN,
        )

    def _views(self, group: Sequence[Sample], setup: Setup, ctx: Context) -> list[View | Unusable | BadInput]:
        """The samples in their frames; taken apart if a difficulty needs it."""
        found: dict[int, View | Unusable | BadInput] = {}
        for place, sample in enumerate(group):
            try:
                usable(sample)
                if not self._of_objects():
                    one = framed(sample, self.frame, larger=1.0)
                    found[place] = View(one.image, one.mask, one.annotations, None, sample.digital_source_type)
            except Unusable as error:
                found[place] = error
        left = [place for place in range(len(group)) if place not in found]
        given = [place for place in left if {"mask.png", "plate.png"} <= group[place].extras.keys()]
        others = [place for place in left if place not in given]
        parts: list[tuple[int, Scene | BadInput]] = []
        for places, gate in ((given, None), (others, self.classifier)):  # what is given needs no judge
            if places:
                taken = scenes([group[place] for place in places], replace(setup, gate=gate), ctx)
                parts += zip(places, taken, strict=True)
        for place, scene in parts:
            if isinstance(scene, BadInput):
                found[place] = scene
            else:
                found[place] = View(scene.picture, scene.alpha, scene.annotations, scene, scene.source_type)
        return [found[place] for place in range(len(group))]

    def _wanted(self, of: Edit) -> Iterator[tuple[Difficulty, dict[str, Json]]]:
        """List what is asked for. It depends on fields and seed alone, so ids are known before any picture is."""
        blur = BLURS[int(of.rng("blur").integers(len(BLURS)))]
        asked: dict[str, dict[str, Json]] = {
            "small": {"sizes": list(self.sizes), "lenders": self.lenders},
            "blurred": {"kind": blur, "severity": self.blur},
            "low_light": {"stops": self.stops},
            "shrunk": {"side": made_by.SHRUNK},
        }
        for difficulty in self.difficulties:
            yield difficulty, {"difficulty": difficulty, "frame": self.frame, **asked.get(difficulty, {})}

    def _made(
        self,
        of: Edit,
        view: View | Unusable | BadInput,
        pool: Pool,
        difficulty: Difficulty,
        requested: dict[str, Json],
    ) -> Sample | Failure:
        skipped = partial(of.skipped, variant=difficulty, requested=requested)
        if isinstance(view, Unusable):
            return skipped(view.reason, str(view))
        if isinstance(view, BadInput):
            return skipped(view.reason, str(view), status=view.status)
        rng, subject = of.rng(difficulty), Subject(of, view.scene, pool, {}) if view.scene else None
        makers: dict[str, Callable[[], Made]] = {
            "clean": lambda: made_by.clean(view, subject),
            "camouflaged": lambda: made_by.camouflaged(view, subject),
            "small": lambda: made_by.small(view, subject, self.sizes, self.margin, rng),
            "blurred": lambda: made_by.blurred(view, str(requested["kind"]), self.blur, rng),
            "shrunk": lambda: made_by.shrunk(view),
            "low_light": lambda: made_by.darkened(view, self.stops, rng),
        }
        try:
            made = makers[difficulty]()
        except CannotEdit as error:
            return skipped(error.reason, error.detail)
        if difficulty != CLEAN and np.array_equal(made.image, view.image):
            return skipped("unchanged", "every pixel is that of the clean picture")
        return of.made(
            made.image,
            variant=difficulty,
            requested=requested,
            achieved=made.achieved,
            gates={**made.gates, "blank": gates.blank(made.image, self.gates)},
            models=view.scene.models if view.scene else {},
            purpose=difficulty,
            extras={} if made.mask is None else {"mask.png": made.mask},
            annotations=made.annotations,
            digital_source_type=made.source_type,
            made_of=made.made_of,
        )
