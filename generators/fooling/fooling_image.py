"""Fooling images: pictures of nothing that a classifier is sure are of a class.

After Nguyen, Yosinski & Clune (CVPR 2015, arXiv 1412.1897): evolved as bare pixels or as small networks that paint, or
found along a gradient. Only what the classifier says of the stored picture counts. Beside each picture stands the
random one of its encoding that the search began with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from variorum.generators.fooling.cppn import Cppn, recorded
from variorum.generators.fooling.elites import Direct, Encoding, evolve
from variorum.kit.attacks.ascent import Slope, climb
from variorum.kit.attacks.losses import Victim
from variorum.kit.gates import gates
from variorum.kit.predicted.answers import classes_of_outputs, label_indices, outputs_of
from variorum.models.brought.model import BroughtModel
from variorum.models.device import float32, one_thread
from variorum.models.gradients import adversary
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import each_once
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Failure, Sample
from variorum.sources.class_names import ClassNames

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

Kind = Literal["direct", "cppn", "ascent"]
GREY = 28
"""Side of frames whose pictures are grey."""
STEP = 2.0
"""Grey levels of a step of `ascent`."""
SPREAD = 16
"""Largest distance from middle grey of the noise where `ascent` begins, in grey levels."""


class Found(NamedTuple):
    """A picture, the random one that the search began with, and what the search cost and gave."""

    image: Pixels
    first: Pixels
    achieved: Mapping[str, Json]


class FoolingImage(Generator):
    """For each class and encoding the picture that fools, such as `direct`, and its random start, `control_direct`.

    Sample k of a class belongs to repeat k, which has its own seed and elites. They depend on no other sample, so a
    repeat may be cut by units. Pictures have no labels, as they show nothing: `metadata` says what is `claimed`. The
    genome of `cppn` is in its record, and `cppn.redrawn` draws it at any size.
    """

    digital_source_type: ClassVar[str] = "algorithmicMedia"

    encodings: tuple[Kind, ...] = Field(default=("direct", "cppn"), min_length=1)
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
        name = self.component_name()
        if not isinstance(ctx.source, ClassNames):
            raise RecipeError(
                f"{name} makes pictures of nothing, so its source must be class_names, whose per_class is the number "
                f"of repeats; it is {ctx.source.component_name() if ctx.source else 'missing'}"
            )
        role = ctx.models.role(self.classifier)
        if role is None:  # a user's own
            self._answers(ctx)
        elif "ascent" not in self.encodings and role not in ("classifier", "adversary"):
            raise RecipeError(f"{name}.classifier: {cut(repr(self.classifier))} isn't a classifier; name one")

    def _answers(self, ctx: Context) -> Callable[[Sequence[Pixels]], Singles]:
        """Probabilities `[N, K]` of stored pictures. Raises RecipeError for a model that can't be fooled so."""
        model, where = ctx.models.get(self.classifier), f"{self.component_name()}.classifier"
        if hasattr(model, "knows"):  # a detector
            raise RecipeError(f"{where}: {cut(repr(self.classifier))} isn't a classifier; name one")
        if isinstance(model, BroughtModel):
            model.ask(np.zeros((self.frame, self.frame, 3), np.uint8))
        if "ascent" in self.encodings or hasattr(model, "seen"):
            try:
                return adversary(self.classifier, model).answers
            except RecipeError as error:
                raise RecipeError(f"{where}: {error}") from None
        answers: Callable[[Sequence[Pixels]], Singles] = model
        return answers

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The pictures of one class and repeat, or a Failure for each if the classifier doesn't know the class."""
        ctx = of.ctx
        if ctx.source is not None and not ctx.classes:
            ctx = replace(ctx, classes=ctx.source.classes(ctx))
        label, repeat = sample.labels[0], int(sample.origin.rpartition("/")[2])
        nothing = replace(sample, labels=(), metadata={**sample.metadata, "claimed": label})
        of = Edit(self, nothing, ctx)
        model, answers = of.model(self.classifier), self._answers(ctx)
        outputs = answers([np.zeros((self.frame, self.frame, 3), np.uint8)]).shape[1]
        known = outputs_of(self.classifier, model, ctx, (), outputs)
        output = next(iter(label_indices([label])), None) if known is None else known.get(label)
        names = [one or name for one, name in classes_of_outputs(model, ctx, outputs)]
        for encoding in self.encodings:
            asked: dict[str, Json] = {"encoding": encoding, "repeat": repeat, "frame": self.frame}
            variants = {encoding: asked, f"control_{encoding}": {**asked, "control": True}}
            found = output if output is None else self._found(encoding, output, outputs, repeat, of, answers)
            for variant, wanted in variants.items():
                if found is None:
                    reason = ("no_such_class", f"{self.classifier} has no output for {cut(label)}")
                    if output is not None:
                        reason = ("no_gradient", "the gradient at the random picture is zero or not finite")
                    status: Any = "ineligible" if output is None else "failed"
                    yield of.skipped(*reason, variant=variant, requested=wanted, status=status)
                    continue
                image = found.image if variant == encoding else found.first
                said = answers([image])[0]
                achieved = {"top1": names[int(said.argmax())]} | (found.achieved if variant == encoding else {})
                claim = {"claim": gates.recorded(float(said[output or 0]))}
                yield of.made(image, variant=variant, requested=wanted, achieved=achieved, gates=claim)

    def _found(
        self,
        encoding: Kind,
        output: int,
        outputs: int,
        repeat: int,
        of: Edit,
        answers: Callable[[Sequence[Pixels]], Singles],
    ) -> Found | None:
        """The picture of one class; None if there is no gradient to follow."""
        if encoding == "ascent":
            return self._ascent(output, outputs, of, answers)
        channels = 1 if self.frame == GREY else 3
        how: Encoding = Direct(self.frame, channels) if encoding == "direct" else Cppn(self.frame, channels, self.nodes)
        seed = of.ctx.seed_for(self.component_name(), f"repeat {repeat}", encoding)

        def archive() -> Mapping[str, Any]:
            limits: Any = {"population": self.population, "generations": self.generations, "stop_at": self.stop_at}
            return {name: np.asarray(one) for name, one in evolve(
                how, answers, np.random.default_rng(seed), **limits
            )._asdict().items()}  # fmt: skip

        pin = of.ctx.models.pin(self.classifier)
        kept = of.ctx.memo(digest([self.fingerprint(), pin, encoding, seed]), archive)
        genome, achieved = kept["genomes"][output], {name: int(kept[name]) for name in ("generations", "queries")}
        drawn: dict[str, Json] = {"genome": recorded(genome, channels)} if encoding == "cppn" else {}
        first = how.draw(kept["first"][output])
        return Found(how.draw(genome), first, {**achieved, "archive_seed": seed, **drawn})

    def _ascent(
        self, output: int, outputs: int, of: Edit, answers: Callable[[Sequence[Pixels]], Singles]
    ) -> Found | None:
        """Steps along the sign of the gradient of the class's log probability, until the rounded picture fools."""
        import torch

        shape = (self.frame, self.frame, 1 if self.frame == GREY else 3)
        noise = of.rng("ascent").integers(128 - SPREAD, 128 + SPREAD, shape, np.uint8, endpoint=True)
        first = image = np.repeat(noise, 3 // shape[2], axis=-1)
        aim = torch.arange(outputs)[None] == output
        victim = Victim(adversary(self.classifier, of.model(self.classifier)), ~aim, aim)
        slope = Slope([victim], "ce", torch.tensor([shape[2] == 1]))
        state, steps = torch.from_numpy(first.transpose(2, 0, 1).astype(np.float32))[None], 0
        with one_thread(), float32():
            while steps < self.generations and answers([image])[0][output] < self.stop_at:
                state, steps = climb(state, 0.0, 255.0, slope, steps=1, step=STEP), steps + 1
                if steps == 1 and bool(slope.flat):
                    return None
                image = np.rint(state[0].numpy().transpose(1, 2, 0)).astype(np.uint8)
        return Found(image, first, {"steps": steps, "gradients": int(slope.gradients), "queries": steps + 1})
