"""Pictures that a diffusion model makes with a mark in their noise, beside the unmarked ones of the same seeds.

Such a mark changes what a picture shows, so the marked and the unmarked one are two pictures and aren't compared pixel
by pixel; whether both show the class that was asked for can be compared. `watermark_attack` and `watermark_detection`
work on them as on marked photographs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from variorum.generators.watermark.marks.gaussian_shading import GaussianShading
from variorum.generators.watermark.marks.tree_ring import TreeRing
from variorum.generators.watermark.strips import mark_strips
from variorum.generators.watermark.watermarking.checked import detected
from variorum.generators.watermark.watermarking.keys import (
    Keys,
    key_hash,
    keys_id,
    own_file,
    own_keys,
    payload_hash,
    read_keys,
)
from variorum.generators.watermark.watermarking.latents.noise_mark import NoiseMark
from variorum.kit.diffusion.drawing import Request, Safety
from variorum.kit.diffusion.route import Route, Size, Variant, Weight
from variorum.kit.prompts.prompts import Templates, Wording, wording_for
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import GENERATED, Failure, Sample
from variorum.schemas.watermark import Mark, NestedMark, told_apart

if TYPE_CHECKING:
    from variorum.arrays import Pixels

UNMARKED = "original"
OF_MARKS = frozenset({"mark", "settings", "keyed", "frame"})
"""What a request says besides the settings of a diffusion model."""


class WatermarkedGeneration(Route):
    """For each sample the unmarked `original`, and one picture per mark, all from one noise.

    Right after a picture is made, its mark is looked for; the share of right bits and the p-value are recorded.
    """

    needs_label: ClassVar[bool] = True
    annotated: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = GENERATED
    location: ClassVar[frozenset[str]] = frozenset({"keys"})
    card_pictures = staticmethod(mark_strips)

    model: str = "class_conditional"
    """`class_conditional`, or `text_to_image` or `text_to_image_small` with `templates`; each mark has the same."""
    marks: tuple[NestedMark, ...] = (TreeRing(), GaussianShading())
    """Marks that go into the noise: `tree_ring`, `gaussian_shading`, or one of your own."""
    keys: Path | None = None
    """The file of secret keys, made by `variorum keys FILE`. By default the one that VARIORUM_KEYS names, or the
    user's own, which is made when it is needed for the first time."""
    steps: int = Field(default=20, ge=1, le=1000)
    """Steps of DDIM from noise to picture."""
    guidance: Weight = 1.5
    """Weight of classifier-free guidance, 1 for none. Detectors go back to the noise without it."""
    size: Size | None = None
    """Side in pixels; null for the side that the model was trained at."""
    templates: Templates | None = None
    """What a text-to-image model is told, as in `text_to_image`; null for a model that takes classes."""
    names: dict[str, str] = Field(default_factory=dict)
    """Other names for classes in prompts, by id."""
    safety: Safety = Safety(checker=None)
    """No check by default, which suits a model that makes only the classes that it was trained on."""
    batch: int = Field(default=16, ge=1)
    """Pictures that are denoised together; halved when memory runs out, which a picture's `achieved` shows."""

    @field_validator("marks")
    @classmethod
    def _told_apart(cls, value: tuple[Mark, ...]) -> tuple[Mark, ...]:
        told_apart(value)
        if other := next((mark.called for mark in value if not isinstance(mark, NoiseMark)), ""):
            raise ValueError(f"{other} goes into pictures that exist; use the generator watermark for it")
        return value

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        for mark in self.noise_marks():
            if mark.model != self.model:
                raise ValueError(
                    f"{mark.called} looks for the noise of the model {mark.model!r}, and pictures are made by "
                    f"{self.model!r}; give the mark `model: {self.model}`"
                )
        if self.names and self.templates is None:
            raise ValueError("names are for prompts; give templates too")
        return self

    def noise_marks(self) -> tuple[NoiseMark, ...]:
        """The marks."""
        return tuple(mark for mark in self.marks if isinstance(mark, NoiseMark))

    def identity(self) -> dict[str, Json]:
        """The fields; the hash of the keys stands for their file."""
        return {**super().identity(), "keys": keys_id(self.keys)}

    def check(self, ctx: Context) -> None:
        """Raise SourceError without usable keys, or as all routes; the user's own file is made if there is none."""
        own_keys() if self.keys is None else read_keys(self.keys)
        super().check(ctx)

    def wording(self, ctx: Context) -> Wording | None:
        """The templates and the classes' names, or None without templates. Raises RecipeError."""
        return wording_for(self.component_name(), self.templates, self.names, ctx) if self.templates else None

    def variants(self) -> list[Variant]:
        """The unmarked picture and one per mark."""
        how: dict[str, Json] = {"frame": None, "guidance": self.guidance, "steps": self.steps, "size": self.size}
        marked = [{"mark": mark.called, "settings": mark.identity(), "keyed": mark.keyed, **how} for mark in self.marks]
        asked: list[dict[str, Json]] = [{"mark": None, **how}, *marked]
        return [Variant(str(one["mark"] or UNMARKED), place, one) for place, one in enumerate(asked)]

    def requests(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """One row per picture that is asked for; which mark it has is its variant."""
        for row in super().requests(samples, ctx):
            yield {name: value for name, value in row.items() if name not in OF_MARKS}

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """For each sample its pictures, or a Failure for each that can't be made.

        Raises:
            RecipeError: as all routes, or the model isn't one that such marks can be used with.
            SourceError: there are no usable keys.
        """
        read_keys(self.keys)
        model = ctx.models.get(self.model)
        if not hasattr(model, "from_noise"):
            raise RecipeError(
                f"{self.component_name()}: the model {self.model!r} takes no noise; these do: class_conditional, "
                "text_to_image, text_to_image_small"
            )
        if hasattr(model, "classes") == (self.templates is not None):
            way_out = "leave out templates" if self.templates else "give templates, such as `templates: photo`"
            takes = "classes and no prompts" if self.templates else "prompts"
            raise RecipeError(f"{self.component_name()}: the model {self.model!r} takes {takes}; {way_out}")
        yield from super().generate(samples, ctx)

    def draw(self, model: Any, requests: Sequence[Request], seeds: Sequence[int], setting: float) -> list[Pixels]:
        """Call a `FromNoise` model. Raises RecipeError for a class that it doesn't know, or noise too small."""
        noise = model.noise(seeds, self.size)
        if setting:
            mark = self.noise_marks()[int(setting) - 1]
            try:
                noise = mark.shape(noise, self._keys(mark, requests))
            except ValueError as error:
                raise RecipeError(f"{self.component_name()}: {mark.called}: {error}") from None
        wanted: list[Any] = [request.prompt for request in requests]
        if self.templates is None:
            index = {name: place for place, name in enumerate(model.classes or [info.id for info in class_infos()])}
            labels = [request.of.sample.labels[0] for request in requests]
            if unknown := next((label for label in labels if label not in index), ""):
                shown = ", ".join(list(index)[:10]) + (", …" if len(index) > 10 else "")
                raise RecipeError(
                    f"{self.component_name()}: model {self.model!r} knows no class {unknown!r}; it makes: {shown}"
                )
            wanted = [index[label] for label in labels]
        return list(model.from_noise(noise, wanted, guidance=self.guidance, steps=self.steps))

    def measured(
        self, requests: Sequence[Request], images: Sequence[Pixels], ctx: Context
    ) -> Sequence[Mapping[str, Json]]:
        """For each picture the id that its keys come from, hashes, and what its mark's detector finds."""
        facts: list[dict[str, Json]] = [{"picture": _picture(request)} for request in requests]
        listed: Json = {m.called: {"settings": m.identity(), "keyed": m.keyed} for m in self.marks}
        for one, request in zip(facts, requests, strict=True):
            if request.variant == UNMARKED:
                one["marks"] = listed  # unmarked pictures are looked at by all of them
        for mark in self.noise_marks():
            places = [place for place, request in enumerate(requests) if request.variant == mark.called]
            keys = self._keys(mark, [requests[place] for place in places])
            found = detected(mark, [images[place] for place in places], keys, ctx)
            payloads = mark.payloads(keys)
            for number, (place, key) in enumerate(zip(places, keys, strict=True)):
                facts[place]["key"] = key_hash(key)
                if payloads.shape[1]:
                    facts[place]["payload"] = payload_hash(key, payloads.shape[1])
                if found.bits is not None:
                    facts[place]["bits_right"] = round(float((found.bits[number] == payloads[number]).mean()), 6)
                if found.p_values is not None:
                    facts[place]["p_value"] = float(f"{found.p_values[number]:.3g}")
        return facts

    def _keys(self, mark: Mark, requests: Sequence[Request]) -> list[bytes]:
        state = (self.keys or own_file()).stat()
        keys = _read_once(self.keys, state.st_mtime_ns, state.st_size, state.st_ino)
        if mark.keyed == "shared":
            return [keys.shared(mark.called)] * len(requests)
        return [keys.of(mark.called, _picture(request)) for request in requests]


def _picture(request: Request) -> str:
    """Name the picture that keys are derived from: its sample's id, with a number from the second picture on."""
    return request.of.sample.id + (f"/{request.number}" if request.number else "")


@lru_cache(maxsize=4)
def _read_once(path: Path | None, *_state: int) -> Keys:
    return read_keys(path)
