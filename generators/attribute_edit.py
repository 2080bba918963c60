"""ImageNet-E: the same object with another background, size, place or direction, and nothing else changed.

After Li et al., ImageNet-E, CVPR 2023 (arXiv 2303.17096), with plates by inpainting, geometry in closed form, and
backgrounds by guided diffusion for those who ask for them. Every edit is checked; what fails a check is quarantined
under the check's name, and what the object rules out becomes a `Failure` with the reason. Nothing is copied through
under an edit's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from generators.editing import edits, gates, guided_backgrounds
from generators.editing.edits import Draft, Edit, Job
from generators.editing.framing import Framing
from generators.editing.gates import Gates
from generators.editing.geometry import CannotEdit, Strategy
from generators.editing.guided_diffusion import Guidance
from generators.editing.scenes import BadInput, Pool, Scene, Setup, label_index, scenes
from schemas.canonical import Json
from schemas.component import Context, Generator
from schemas.sample import Failure, Op, Sample, child_id

Pixels = NDArray[np.uint8]
Attribute = Literal["background", "size", "position", "direction", "mirror"]
Background = Literal["random", "texture_up", "texture_down", "guided_up", "guided_down", "guided_adversarial"]
Rate = Annotated[float, Field(gt=0, lt=1)]


class AttributeEdit(Generator):
    """Edits of one attribute at a time, next to three baselines: the `original`, its `plate` and a `control`.

    The plate is the picture without its object: what a model still answers there, it takes from the background. The
    control puts the object back where it was, on its own plate: what a model loses on it, cutting and pasting
    cost. Guided backgrounds come with a control of their own. The size of an object is its mask's share of the frame's
    pixels. Position and direction start from the object at `base_size`, as in the paper, or at its own size for None;
    a later comparison finds the picture they start from in `requested["reference"]`.
    """

    revision: ClassVar[int] = 2

    frame: int = Field(default=256, ge=64, le=1024)
    framing: Framing = "object"
    attributes: tuple[Attribute, ...] = ("background", "size", "position", "direction")
    backgrounds: tuple[Background, ...] = ("random", "texture_up", "texture_down")
    sizes: tuple[Literal["full"] | Rate, ...] = ("full", 0.1, 0.08, 0.05)
    base_size: Rate | None = 0.05
    position: Strategy = "random"
    angles: tuple[float, ...] = (-135, -90, -60, -45, -30, -15, 15, 30, 45, 60, 90, 135, 180)
    margin: int = Field(default=2, ge=0, description="pixels between the object and the frame's border")
    texture_up: tuple[float, ...] = Field(
        default=(2.5, 2.5, 1.5), description="gain of each band of detail, finest first"
    )
    texture_down: tuple[float, ...] = (0.0, 0.25, 0.6)
    guidance: Guidance = Field(default=Guidance(), description="of guided backgrounds; without one it has no effect")
    plate_pool: int = Field(default=64, ge=2, description="pictures of the source whose plates others may get")
    gates: Gates = Gates()
    segmenter: str = "segmenter"
    inpainter: str = "inpainter"
    classifier: str | None = Field(
        default="classifier_gate", description="judges plates and records label_p; None for neither"
    )
    batch: int = Field(default=4, ge=1, description="source pictures for which the models are called together")

    @field_validator("angles")
    @classmethod
    def _turns(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(not 15 <= abs(angle) <= 180 for angle in value):
            raise ValueError("must be angles of 15 to 180 degrees, to either side")
        return value

    @model_validator(mode="after")
    def _reference(self) -> AttributeEdit:
        based = {"position", "direction"} & set(self.attributes)
        if based and self.base_size is not None and ("size" not in self.attributes or self.base_size not in self.sizes):
            raise ValueError(f"base_size {self.base_size} must be one of sizes, or null for the object's own size")
        return self

    @model_validator(mode="after")
    def _adversary(self) -> AttributeEdit:
        if "guided_adversarial" in self._guided() and self.guidance.adversary is None:
            raise ValueError("guided_adversarial needs a guidance.adversary, an alias such as adversary")
        return self

    def identity(self) -> dict[str, Json]:
        """Without the guidance where nothing is guided: it decides nothing there."""
        return {name: value for name, value in super().identity().items() if name != "guidance" or self._guided()}

    def aliases(self) -> tuple[str, ...]:
        """The segmenter, the inpainter, the gate classifier, and what guided backgrounds take."""
        guided = guided_backgrounds.aliases(self._guided(), self.guidance)
        return (self.segmenter, self.inpainter, *dict.fromkeys((*self.filters(), *guided)))

    def filters(self) -> tuple[str, ...]:
        """The gate classifier and the adversary."""
        gate = () if self.classifier is None else (self.classifier,)
        return (*gate, *guided_backgrounds.adversaries(self._guided(), self.guidance))

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its `original`, `plate`, `control` and edits, in this order, or why one is missing."""
        setup = Setup(self.frame, self.framing, self.segmenter, self.inpainter, self.classifier, self.gates)
        pool = Pool(setup, ctx, self.plate_pool)
        waiting = iter(samples)
        while group := list(islice(waiting, self.batch)):
            drafts: list[Draft | Failure] = []
            found = scenes(group, setup, ctx)
            backgrounds = self._backgrounds(group, found, ctx)
            for sample, scene, guided in zip(group, found, backgrounds, strict=True):
                drafts += [self._draft(sample, scene, edit, pool, guided, ctx) for edit in self.plan(sample, ctx)]
            yield from self._judged(drafts, ctx)

    def plan(self, sample: Sample, ctx: Context) -> Iterator[Edit]:
        """What is asked for, from the fields and the seed alone, so that ids are known before any picture is."""
        base = "original" if self.base_size is None else edits.size_name(self.base_size)
        yield Edit("original", {}, edits.original)
        yield Edit("plate", {}, edits.plate)
        yield Edit("control", {}, edits.control)
        if "background" in self.attributes:
            for kind in self.backgrounds:
                if kind == "random":
                    yield Edit("background_random", {"plates": self.plate_pool}, edits.random_plate)
                elif kind in ("texture_up", "texture_down"):
                    gains = self.texture_up if kind == "texture_up" else self.texture_down
                    yield Edit(kind, {"gains": list(gains)}, edits.texture)
            yield from guided_backgrounds.asked(self.backgrounds, self.guidance)
        if "size" in self.attributes:
            for rate in self.sizes:
                yield Edit(edits.size_name(rate), {"rate": rate}, edits.size)
        if "position" in self.attributes:
            yield Edit("position", {"strategy": self.position, "reference": base}, edits.position)
        if "direction" in self.attributes:
            rng = ctx.rng(self.component_name(), sample.id, "direction")
            angle = float(self.angles[int(rng.integers(len(self.angles)))])
            yield Edit("direction", {"angle": angle, "reference": base}, edits.direction)
        if "mirror" in self.attributes:
            yield Edit("mirror", {"reference": "control"}, edits.mirror)

    def _guided(self) -> tuple[str, ...]:
        """The guided ones among the backgrounds that are asked for."""
        wanted = self.backgrounds if "background" in self.attributes else ()
        return tuple(kind for kind in wanted if kind in guided_backgrounds.KINDS)

    def _backgrounds(self, group: list[Sample], found: list[Scene | BadInput], ctx: Context) -> list[dict[str, Pixels]]:
        seeds = [ctx.seed_for(self.component_name(), sample.id, guided_backgrounds.NOISE) for sample in group]
        indices = [label_index(sample) for sample in group]
        wanted = list(guided_backgrounds.asked(self._guided(), self.guidance))
        return guided_backgrounds.made(found, seeds, indices, wanted, self.guidance, self.batch, ctx)

    def _draft(
        self,
        sample: Sample,
        scene: Scene | BadInput,
        edit: Edit,
        pool: Pool,
        backgrounds: dict[str, Pixels],
        ctx: Context,
    ) -> Draft | Failure:
        def failure(status: Literal["ineligible", "failed"], reason: str, detail: str, found: Any = None) -> Failure:
            return Failure(
                child_id(sample.id, self.fingerprint(), edit.variant, edit.requested),
                sample.id,
                status,
                reason,
                edit.variant,
                sample.labels,
                sample.origin,
                sample.licence,
                detail,
                found or {},
            )

        if isinstance(scene, BadInput):
            return failure("failed", scene.reason, str(scene))
        bad = gates.first_failed(scene.gates)
        if bad and edit.variant != "original":
            return failure("ineligible", bad, f"the mask can't be trusted: {scene.gates[bad]}", scene.gates)
        job = Job(self, sample, scene, label_index(sample), edit, pool, ctx, backgrounds)
        try:
            draft = edit.make(job)
        except CannotEdit as error:
            return failure("ineligible", error.reason, error.detail, {**scene.gates, **scene.moving})
        draft.gates["blank"] = gates.blank(draft.picture, self.gates)
        return draft

    def _judged(self, drafts: list[Draft | Failure], ctx: Context) -> Iterator[Sample | Failure]:
        """The same drafts as samples, with the classifier's opinion on record."""
        made = [item for item in drafts if isinstance(item, Draft)]
        if self.classifier is not None and made:
            rows = ctx.models.get(self.classifier)([item.picture for item in made])
            for item, row in zip(made, rows, strict=True):
                item.gates |= gates.label_gates(row, item.job.scene.index(item.job.index))
        for draft in drafts:
            yield draft if isinstance(draft, Failure) else self._sample(draft)

    def _sample(self, draft: Draft) -> Sample:
        job = draft.job
        op = Op(
            name=self.component_name(),
            revision=self.revision,
            requested=job.edit.requested,
            achieved=draft.achieved,
            gates=draft.gates,
            models={**job.scene.models, **draft.models},
            seed=job.seed,
        )
        return job.sample.child(
            draft.picture,
            op,
            variant=job.edit.variant,
            fingerprint=self.fingerprint(),
            extras={"mask.png": draft.mask},
            reason=gates.first_failed(draft.gates),
        )
