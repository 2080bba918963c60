"""Give a generator's `edit` seeds and models for one sample, and make complete records of what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Failure, Gate, Lender, Op, Sample, child_id
from variorum.schemas.uses import all_models

if TYPE_CHECKING:
    import numpy as np

    from variorum.schemas.component import Context, Generator
    from variorum.schemas.sample import Pixels


class Edit:
    """One generator at work on one sample.

    `made` and `skipped` fill in ids, seeds, model pins and revision, so a record can't lack them.
    """

    def __init__(self, generator: Generator, sample: Sample, ctx: Context) -> None:
        self.generator = generator
        self.sample = sample
        self.ctx = ctx
        self._models: dict[str, str] = {}

    def seed(self, purpose: str = "") -> int:
        """A seed in [0, 2^63) of this generator for this sample; another purpose gives another seed."""
        return self.ctx.seed_for(self.generator.component_name(), self.sample.id, purpose)

    def rng(self, purpose: str = "") -> np.random.Generator:
        """A NumPy random generator on `seed(purpose)`."""
        return self.ctx.rng(self.generator.component_name(), self.sample.id, purpose)

    def model(self, alias: str) -> Any:
        """The model behind an alias of the generator's `uses`; its pin is recorded in what is made after.

        Raises:
            RecipeError: `uses` doesn't name it.
        """
        if alias not in all_models(self.generator):
            name = self.generator.component_name()
            raise RecipeError(
                f"{name}: asks for the model {alias!r}, so `uses` must return Use({alias!r}): its pin is in the key"
            )
        self._models[alias] = self.ctx.models.pin(alias)
        return self.ctx.models.get(alias)

    def made(
        self,
        image: Pixels,
        *,
        variant: str,
        requested: Mapping[str, Json],
        achieved: Mapping[str, Json] | None = None,
        gates: Mapping[str, Gate] | None = None,
        extras: Mapping[str, bytes | Pixels] | None = None,
        reason: str = "",
        purpose: str = "",
        annotations: Annotations | None = None,
        digital_source_type: str | None = None,
        made_of: Sequence[Lender] = (),
        models: Mapping[str, str] | None = None,
    ) -> Sample:
        """The sample that results.

        Args:
            image: RGB `[H, W, 3]` uint8.
            variant: what users group by: `frost_3`.
            requested: what was asked for; with the variant it decides the sample's id, so it must differ from that of
                every other picture that this generator makes of the sample.
            achieved: what was measured on the result.
            gates: checks by name; a failed one quarantines the picture.
            extras: further members, by file ending: `{"mask.png": pixels}`.
            reason: why the picture is quarantined; the first failed gate by default.
            purpose: of the seed that made it, as given to `rng` or `seed`.
            annotations: its own; by default the sample's, without the objects unless the generator `keeps_objects`.
                `variorum.annotations.moved` moves boxes and masks along with the pixels.
            digital_source_type: of this picture, if it differs from the generator's.
            made_of: what other pictures lent to it, pixels or words: `other.lent()`. It gets their licences too, and
                what becomes of them happens to it.
            models: pins by alias of further models that made it, for work that the memo may hold: `model` would load
                them, and nobody asks them anything.
        """
        op = Op(
            name=self.generator.component_name(),
            revision=self.generator.revision,
            requested=requested,
            achieved=dict(achieved or {}),
            gates=dict(gates or {}),
            models={**self._models, **(models or {})},
            seed=self.seed(purpose),
        )
        failed = next((name for name, gate in op["gates"].items() if not gate["passed"]), "")
        if annotations is None and self.generator.keeps_objects:
            annotations = self.sample.annotations
        kind = self.generator.digital_source_type if digital_source_type is None else digital_source_type
        return self.sample.child(
            image,
            op,
            variant=variant,
            fingerprint=self.generator.fingerprint(),
            extras=extras,
            reason=reason or failed,
            annotations=annotations,
            digital_source_type=kind,
            made_of=made_of,
        )

    def skipped(
        self,
        reason: str,
        detail: str = "",
        *,
        variant: str,
        requested: Mapping[str, Json],
        status: Literal["ineligible", "failed"] = "ineligible",
        gates: Mapping[str, Gate] | None = None,
    ) -> Failure:
        """The picture that can't be made, and why: it becomes a row of the edition's table.

        Args:
            reason: in a word: `no_room`.
            detail: a sentence for people.
            variant: what it would have been.
            requested: what was asked for.
            status: `ineligible` when the input rules the edit out, `failed` when something went wrong.
            gates: checks that were made before.
        """
        identity = child_id(self.sample.id, self.generator.fingerprint(), variant, requested)
        made = replace(self.sample, id=identity, parent=self.sample.id, variant=variant)
        return made.failure(reason, detail, status=status, gates=gates)

    def withheld(
        self,
        image: Pixels,
        reason: str,
        detail: str = "",
        *,
        variant: str,
        requested: Mapping[str, Json],
        gates: Mapping[str, Gate] | None = None,
        digital_source_type: str | None = None,
    ) -> Failure:
        """A picture that was made and may not be kept; its row has the hash of the PNG, and no pixel is written.

        To withhold a picture that came in, `sample.withheld(reason, detail)`.

        Args:
            image: RGB `[H, W, 3]` uint8.
            reason: in a word: `unsafe`.
            detail: a sentence for people.
            variant: as in `made`.
            requested: as in `made`.
            gates: checks that were made before.
            digital_source_type: of this picture, if it differs from the generator's.
        """
        made = self.made(image, variant=variant, requested=requested, digital_source_type=digital_source_type)
        return made.withheld(reason, detail, gates=gates)
