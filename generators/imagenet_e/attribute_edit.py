"""ImageNet-E: the same object with another background, size, place or direction, and nothing else changed.

After Li et al., ImageNet-E, CVPR 2023 (arXiv 2303.17096), with plates by inpainting, geometry in closed form, and
optional backgrounds by guided diffusion. Every edit is checked. One that fails a check is quarantined under the check's
name; one that the object rules out becomes a `Failure` with the reason. An unedited picture never gets an edit's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from variorum.generators.imagenet_e import guided_backgrounds
from variorum.generators.imagenet_e.guided_diffusion import Guidance
from variorum.kit.gates import gates
from variorum.kit.gates.gates import Gates
from variorum.kit.pictures import edits, plates
from variorum.kit.pictures.edits import Draft, Subject, WantedEdit
from variorum.kit.pictures.framing import Framing
from variorum.kit.pictures.geometry import CannotEdit, Strategy
from variorum.kit.pictures.pool import Pool
from variorum.kit.pictures.scenes import BadInput, Scene, Setup, label_index, scenes
from variorum.kit.windows import in_windows
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.sample import COMPOSITE, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

Attribute = Literal["background", "size", "position", "direction", "mirror"]
Background = Literal["random", "texture_up", "texture_down", "guided_up", "guided_down", "guided_adversarial"]
Rate = Annotated[float, Field(gt=0, lt=1)]
AT_ONCE = 4
"""Windows at work at the same time: one on the GPU, one waiting for it, and two of which the CPU prepares or edits."""
Result: TypeAlias = tuple[WantedEdit, Draft] | Failure


class AttributeEdit(Generator):
    """Edits of one attribute at a time, next to three baselines: the `original`, its `plate` and a `control`.

    The plate is the picture without its object: a model that still recognises the class there relies on the background.
    The control puts the object back in its place on its own plate: it shows the cost of cutting and pasting. Guided
    backgrounds have a control of their own. The size of an object is its mask's share of the frame's pixels. Position
    and direction start from the object at `base_size`, as in the paper, or at its own size for None; evaluations find
    the picture to compare with in `requested["reference"]`.
    """

    revision: ClassVar[int] = 5
    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = COMPOSITE

    frame: int = Field(default=256, ge=64, le=1024)
    """Side in pixels of the square pictures."""
    framing: Framing = "object"
    """Which square is cut out: one around the object, or the centre of the photograph."""
    attributes: tuple[Attribute, ...] = ("background", "size", "position", "direction")
    """What is edited."""
    backgrounds: tuple[Background, ...] = ("random", "texture_up", "texture_down")
    """Other backgrounds: another photograph's plate, finer or weaker texture, or by guided diffusion."""
    sizes: tuple[Literal["full"] | Rate, ...] = ("full", 0.1, 0.08, 0.05)
    """Shares of the frame that the object gets; `full` is as large as fits."""
    base_size: Rate | None = 0.05
    """Size from which `position` and `direction` start, one of `sizes`; null for the object's own."""
    position: Strategy = "random"
    """Where the object may move to."""
    angles: tuple[float, ...] = (-135, -90, -60, -45, -30, -15, 15, 30, 45, 60, 90, 135, 180)
    """Degrees of `direction`; one is drawn for each object."""
    margin: int = Field(default=2, ge=0, description="pixels between the object and the frame's border")
    texture_up: tuple[float, ...] = Field(
        default=(2.5, 2.5, 1.5), description="gain of each band of detail, finest first"
    )
    texture_down: tuple[float, ...] = (0.0, 0.25, 0.6)
    """Gain of each band of detail, finest first."""
    guidance: Guidance = Field(default=Guidance(), description="of guided backgrounds; no effect without them")
    lenders: int = Field(default=12, ge=1, description="pictures of its split whose plates a picture may get")
    gates: Gates = Gates()
    """Limits of the checks."""
    segmenter: str = "segmenter"
    """Alias of the model that finds objects without a mask."""
    inpainter: str = "inpainter"
    """Alias of the model that fills the hole of a plate."""
    classifier: str | None = Field(
        default="classifier_gate", description="judges plates and records label_p; None for neither"
    )
    text_detector: str | None = Field(
        default="text_detector", description="finds lettering on what lenders show; None for not looking"
    )
    batch: int = Field(default=4, ge=1)
    """Source pictures for which the models are called together. On a GPU, unless it is set, the number that the
    inpainter fills fastest is looked for once and kept for the machine."""

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
        """The fields; without the guidance where no background is guided, as it has no effect there."""
        return {name: value for name, value in super().identity().items() if name != "guidance" or self._guided()}

    def uses(self) -> list[Use]:
        """Return the segmenter, the inpainter, the classifier, which decides, and what some settings need."""
        gate = [] if self.classifier is None else [Use(self.classifier, "classifier", decides=True)]
        guided = guided_backgrounds.uses(self._guided(), self.guidance, self.batch)
        borrows = "random" in self.backgrounds or set(self.attributes) - {"background"}
        text = [Use(self.text_detector)] if self.text_detector and borrows else []
        return [Use(self.segmenter), Use(self.inpainter, batch=self.batch), *gate, *text, *guided]

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its `original`, `plate`, `control` and edits, in this order, or a Failure for each."""
        setup = Setup(self.frame, self.framing, self.segmenter, self.inpainter, self.classifier, self.gates)
        pool = Pool(setup, ctx, self.lenders, self.text_detector)

        def make(group: list[Sample]) -> list[list[Sample | Failure]]:
            results: list[list[Result]] = []
            found = scenes(group, setup, ctx)
            backgrounds = self._backgrounds(group, found, ctx)
            for sample, scene, guided in zip(group, found, backgrounds, strict=True):
                of = Edit(self, sample, ctx)
                subject = scene if isinstance(scene, BadInput) else Subject(of, scene, pool, guided)
                results.append([self._draft(of, subject, wanted) for wanted in self._wanted(of)])
            return self._judged(results, ctx)

        batch, name = self._batch(ctx), self.component_name()
        with closing(in_windows(samples, make, batch=batch, at_once=AT_ONCE, name=name)) as windows:
            for _, made in windows:
                yield from made

    def _batch(self, ctx: Context) -> int:
        if "batch" in self.model_fields_set or self._guided():
            return self.batch
        return plates.fills_together(self.inpainter, self.frame, self.batch, ctx)

    def _wanted(self, of: Edit) -> Iterator[WantedEdit]:
        """List what is asked for. It depends on fields and seed alone, so ids are known before any picture is."""
        base = "original" if self.base_size is None else edits.size_name(self.base_size)
        margin = self.margin
        yield WantedEdit("original", {}, edits.original)
        yield WantedEdit("plate", {}, edits.plate)
        yield WantedEdit("control", {}, edits.control)
        if "background" in self.attributes:
            for kind in self.backgrounds:
                if kind == "random":
                    yield WantedEdit(edits.RANDOM_PLATE, {"lenders": self.lenders}, edits.random_plate)
                elif kind in ("texture_up", "texture_down"):
                    gains = self.texture_up if kind == "texture_up" else self.texture_down
                    yield WantedEdit(kind, {"gains": list(gains)}, partial(edits.texture, gains=gains))
            yield from guided_backgrounds.wanted(self.backgrounds, self.guidance)
        if "size" in self.attributes:
            for rate in self.sizes:
                make = partial(edits.size, rate=None if rate == "full" else rate, margin=margin)
                yield WantedEdit(edits.size_name(rate), {"rate": rate}, make)
        if "position" in self.attributes:
            make = partial(edits.position, strategy=self.position, base_size=self.base_size, margin=margin)
            yield WantedEdit(edits.POSITION, {"strategy": self.position, "reference": base}, make)
        if "direction" in self.attributes:
            angle = float(self.angles[int(of.rng("direction").integers(len(self.angles)))])
            make = partial(edits.direction, angle=angle, base_size=self.base_size, margin=margin)
            yield WantedEdit("direction", {"angle": angle, "reference": base}, make)
        if "mirror" in self.attributes:
            yield WantedEdit("mirror", {"reference": "control"}, edits.mirror)

    def _guided(self) -> tuple[str, ...]:
        """The guided kinds among the backgrounds that are asked for."""
        kinds = self.backgrounds if "background" in self.attributes else ()
        return tuple(kind for kind in kinds if kind in guided_backgrounds.KINDS)

    def _backgrounds(self, group: list[Sample], found: list[Scene | BadInput], ctx: Context) -> list[dict[str, Pixels]]:
        seeds = [ctx.seed_for(self.component_name(), sample.id, guided_backgrounds.NOISE) for sample in group]
        indices = [label_index(sample) for sample in group]
        wanted = list(guided_backgrounds.wanted(self._guided(), self.guidance))
        return guided_backgrounds.made(found, seeds, indices, wanted, self.guidance, self.batch, ctx)

    def _draft(self, of: Edit, subject: Subject | BadInput, wanted: WantedEdit) -> Result:
        skipped = partial(of.skipped, variant=wanted.variant, requested=wanted.requested)
        if isinstance(subject, BadInput):
            return skipped(subject.reason, str(subject), status="failed")
        scene = subject.scene
        if (refusal := scene.refusal()) and wanted.variant != "original":
            return skipped(*refusal, gates=scene.gates)
        try:
            draft = wanted.make(subject)
        except CannotEdit as error:
            return skipped(error.reason, error.detail, gates={**scene.gates, **scene.moving})
        draft.gates["blank"] = gates.blank(draft.picture, self.gates)
        return wanted, draft

    def _judged(self, results: list[list[Result]], ctx: Context) -> list[list[Sample | Failure]]:
        """The results of each sample as records, with the classifier's opinion of each picture."""
        drafts = [item[1] for one in results for item in one if not isinstance(item, Failure)]
        if self.classifier is not None and drafts:
            known = [draft.subject.scene.judged(draft.picture) for draft in drafts]
            asked = [draft.picture for draft, row in zip(drafts, known, strict=True) if row is None]
            rows = iter(ctx.models.get(self.classifier)(asked) if asked else [])
            for draft, row in zip(drafts, known, strict=True):
                judged = next(rows) if row is None else row
                draft.gates |= gates.label_gates(judged, draft.subject.scene.index(draft.subject.index))
        return [[item if isinstance(item, Failure) else self._sample(*item) for item in one] for one in results]

    def _sample(self, wanted: WantedEdit, draft: Draft) -> Sample:
        of, scene = draft.subject.of, draft.subject.scene
        return of.made(
            draft.picture,
            variant=wanted.variant,
            requested=wanted.requested,
            achieved=draft.achieved,
            gates=draft.gates,
            models={**scene.models, **draft.models},
            purpose=wanted.purpose or wanted.variant,
            extras={"mask.png": draft.mask},
            annotations=draft.annotations,
            digital_source_type=draft.source_type,
            made_of=draft.made_of,
        )
