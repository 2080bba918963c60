"""Fooling images: pictures of nothing that a classifier is sure are of a class.

After Nguyen, Yosinski & Clune (CVPR 2015, arXiv 1412.1897): evolved as bare pixels or as small networks that paint, or
found along a gradient. Only what the classifier says of the stored picture counts. Beside each picture stands a random
one of its encoding, as the search began with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import Field, field_validator

from variorum.generators.fooling.cppn import Cppn
from variorum.generators.fooling.elites import Direct, evolve
from variorum.kit.attacks.ascent import Slope, climb
from variorum.kit.attacks.losses import Victim
from variorum.kit.attacks.opponents import Opponent, opponent, with_classes, with_outputs
from variorum.kit.gates import gates
from variorum.models.device import float32, one_thread
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import each_once
from variorum.schemas.lookup import cut
from variorum.schemas.sample import DRAWN, Failure, Sample
from variorum.sources.class_names import ClassNames

if TYPE_CHECKING:
    from variorum.arrays import Pixels

GREY = 28
"""Side of frames whose pictures are grey."""
STEP = 2.0
"""Grey levels of a step of `ascent`."""
SPREAD = 16
"""Largest distance from middle grey of the noise where `ascent` begins, in grey levels."""


Found: TypeAlias = "tuple[Pixels, Pixels, dict[str, Json]]"
"""A picture, a random one of its encoding, and what the search cost and gave."""


class FoolingImage(Generator):
    """For each class and encoding the picture that fools, such as `direct`, and a random one, `control_direct`.

    Sample k of a class belongs to repeat k, which has its own seed and elites and depends on no other sample, so a unit
    may end within a repeat. Pictures show nothing, so they have no labels: `metadata` says what is `claimed`. The
    genome of `cppn` is in its record, and `variorum.generators.fooling.cppn.redrawn` draws it at any size.
    """

    digital_source_type: ClassVar[str] = DRAWN

    encodings: tuple[Literal["direct", "cppn", "ascent"], ...] = Field(default=("direct", "cppn"), min_length=1)
    """`direct` evolves the pixels; `cppn` networks that paint, so pictures are regular; `ascent` follows the gradient
    from grey noise."""
    classifier: str = "judge"
    """The model that is fooled: an alias, or the name of a user's own. `ascent` needs one with gradients, such as
    `judge_adversary`."""
    frame: Literal[28, 64, 256] = 28
    """Side of the pictures. Those of 28 are grey, larger ones have colour."""
    generations: int = Field(default=200, ge=1, le=20_000)
    """Most generations after the random one, or steps of `ascent`."""
    population: int = Field(default=100, ge=20, le=1000)
    """Pictures in a generation."""
    stop_at: float = Field(default=0.99, gt=0, le=1)
    """Probability of the class that is enough. Evolution ends when all classes have it."""
    nodes: int = Field(default=10, ge=1, le=30)
    """Hidden neurons of a network that paints."""

    _once = field_validator("encodings")(each_once("must be encodings that differ"))

    def uses(self) -> list[Use]:
        """Return the fooled classifier, which may not be compared with others afterwards."""
        role: Any = "adversary" if "ascent" in self.encodings else None
        return [Use(self.classifier, role, decides=True, batch=self.population)]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if the source isn't `class_names`, or the model doesn't classify or gives no gradients."""
        if not isinstance(ctx.source, ClassNames):
            raise RecipeError(
                f"{self.component_name()}: it makes pictures of nothing, so the source must be class_names, whose "
                f"per_class is the number of repeats, not {ctx.source.component_name() if ctx.source else None}"
            )
        if ctx.models.role(self.classifier) not in (None, "classifier", "adversary"):
            where = f"{self.component_name()}.classifier"
            raise RecipeError(f"{where}: {cut(repr(self.classifier))} isn't a classifier; name one, such as judge")
        if ctx.models.role(self.classifier) is None:  # a user's own
            self._fooled(ctx)

    def _fooled(self, ctx: Context) -> Opponent:
        where = f"{self.component_name()}.classifier"
        return opponent(self.classifier, ctx, where, gradients="ascent" in self.encodings)

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The pictures of one class and repeat, or a Failure for each if the classifier doesn't know the class."""
        ctx, label, repeat = with_classes(of.ctx), sample.labels[0], int(sample.origin.rpartition("/")[2])
        of = Edit(self, replace(sample, labels=(), metadata={**sample.metadata, "claimed": label}), ctx)
        model = with_outputs(self._fooled(ctx), np.zeros((self.frame, self.frame, 3), np.uint8), ctx)
        own = model.outputs([label])
        for encoding in self.encodings:
            asked: dict[str, Json] = {"encoding": encoding, "repeat": repeat, "frame": self.frame}
            found = self._search(encoding, int(own.argmax()), repeat, model, of) if own.any() else None
            for place, variant in enumerate((encoding, f"control_{encoding}")):
                wanted = {**asked, "control": bool(place)}
                if found:
                    fooling, random, cost = found
                    image = random if place else fooling
                    said = model.answers([image])[0]
                    yield of.made(
                        image,
                        variant=variant,
                        requested=wanted,
                        achieved={**({} if place else cost), "top1": model.names[int(said.argmax())]},
                        gates={"claim": gates.recorded(float(said[own][0]))},
                        models={model.alias: model.pin},
                        purpose=encoding,
                    )
                elif own.any():
                    why = "the gradient at the random picture is zero or not finite"
                    yield of.skipped("no_gradient", why, variant=variant, requested=wanted, status="failed")
                else:
                    why = f"{model.alias} has no output for {cut(label)}"
                    yield of.skipped("no_such_class", why, variant=variant, requested=wanted)

    def _search(self, encoding: str, output: int, repeat: int, model: Opponent, of: Edit) -> Found | None:
        """The picture of one class; None if there is no gradient to follow."""
        channels = 1 if self.frame == GREY else 3
        if encoding == "ascent":
            return self._ascent(output, channels, model, of)
        how = Direct(self.frame, channels) if encoding == "direct" else Cppn(self.frame, channels, self.nodes)
        seed = of.ctx.seed_for(self.component_name(), f"repeat {repeat}", encoding)
        limits: Any = {"population": self.population, "generations": self.generations, "stop_at": self.stop_at}
        with one_thread():
            kept = of.ctx.memo(
                digest([self.fingerprint(), model.pin, encoding, seed]),
                lambda: evolve(how, model.answers, np.random.default_rng(seed), **limits),
            )
        genome = kept["genomes"][output]
        achieved: dict[str, Json] = {name: int(kept[name]) for name in ("generations", "queries")}
        achieved["archive_seed"] = seed
        if encoding == "cppn":
            achieved["genome"] = {"channels": channels, "neurons": genome.tolist()}
        return how.draw(genome), how.draw(kept["first"][output]), achieved

    def _ascent(self, output: int, channels: int, model: Opponent, of: Edit) -> Found | None:
        """Steps along the sign of the gradient of the class's log probability, until the rounded picture fools."""
        import torch

        shape = (self.frame, self.frame, channels)
        noise = of.rng("ascent").integers(128 - SPREAD, 128 + SPREAD, shape, np.uint8, endpoint=True)
        first = image = np.repeat(noise, 3 // channels, axis=-1)
        aim = torch.arange(len(model.names))[None] == output
        assert model.network is not None
        slope = Slope([Victim(model.network, ~aim, aim)], "ce", torch.tensor([channels == 1]))
        state, steps = torch.from_numpy(first.transpose(2, 0, 1).astype(np.float32))[None], 0
        with one_thread(), float32():
            while steps < self.generations and model.answers([image])[0][output] < self.stop_at:
                state, steps = climb(state, 0.0, 255.0, slope, steps=1, step=STEP), steps + 1
                if slope.flat.any():
                    return None
                image = np.rint(state[0].numpy().transpose(1, 2, 0)).astype(np.uint8)
        return image, first, {"steps": steps, "gradients": int(slope.gradients)}
