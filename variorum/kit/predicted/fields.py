"""Fields that evaluations have in common, and which classifiers they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from variorum.kit.predicted.resamples import Resamples, Units
from variorum.models.filters import contents_of
from variorum.models.loaders import with_bare
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.schemas.table import Table


Classifiers = Annotated[tuple[str, ...], AfterValidator(with_bare)]


class Resampled(Evaluation):
    """Figures with bootstrap intervals."""

    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence"})

    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Number of resamples per interval."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals, in (0, 1)."""

    def resamples(self, n: int, ctx: Context, units: Units | None = None) -> Resamples:
        """Resamples of n sources, seeded by the edition's seed and the evaluation's name."""
        return Resamples(n, self.bootstrap, self.confidence, derive_seed(ctx.seed, self.component_name()), units)


class OfClassifiers(Resampled):
    """Figures of classifiers.

    Attributes:
        classifiers: aliases of classifiers, or names of models that a user brings; none may have filtered the edition.
            Their outputs are matched to the edition's classes by `variorum/kit/labels/matching.py`.
    """

    measured_as: ClassVar[str] = "answers"

    classifiers: Classifiers = Field(default=("classifier_small", "classifier"), min_length=1)

    def uses(self) -> list[Use]:
        """Return the classifiers."""
        return [Use(alias, "classifier") for alias in self.classifiers]


class OfFamilies(OfClassifiers):
    """Figures of classifiers of several families."""

    further: tuple[str, ...] = ()
    """Classifiers of other families, measured too where the profile has them and their weights are here."""

    def uses(self) -> list[Use]:
        """Return the classifiers, those of other families as far as they are there."""
        return [*super().uses(), *(Use(alias, "classifier", optional=True) for alias in self.further)]

    def asked(self, ctx: Context) -> list[str]:
        """The classifiers, and those of the further ones that the profile has and whose weights are here."""
        return [*self.classifiers, *(alias for alias in self.further if not ctx.models.why_unavailable(alias))]

    def named(self, table: Table) -> tuple[str, ...]:
        """The classifiers of a table, each once: those that must be there, and the further ones that are."""
        import pyarrow.compute as pc

        said = pc.unique(table.column("classifier")).to_pylist() if len(table) else []
        return tuple(dict.fromkeys([*self.classifiers, *(alias for alias in self.further if alias in said)]))

    def common(self, table: Table) -> dict[str, Json]:
        """Figures that are there even without pictures: the level of intervals, and the further ones that aren't."""
        missing: list[Json] = [alias for alias in self.further if alias not in self.named(table)]
        return {"confidence": self.confidence, "missing": missing}


class OfAttacked(OfFamilies):
    """Figures of classifiers, of which those that pictures were made to fool stand apart."""

    white_box: tuple[str, ...] = ("classifier_gate",)
    """Classifiers with the weights of attacked models. They may have decided what was accepted, and are shown apart
    where they were attacked."""

    def uses(self) -> list[Use]:
        """Return the classifiers; those that were attacked only describe the pictures."""
        return [*super().uses(), *(Use(alias, "classifier", describes=True) for alias in self.white_box)]

    def everyone(self, ctx: Context) -> list[str]:
        """The classifiers, and those of `white_box`, each once."""
        return list(dict.fromkeys([*self.asked(ctx), *self.white_box]))

    def followed(self, attacked: frozenset[str], alias: str, ctx: Context) -> bool:
        """Return whether a classifier has these hashes or commits of attacked models.

        Raises:
            RecipeError: it has, and isn't named under `white_box`.
        """
        found = bool(attacked & contents_of(ctx.models.pin(alias)))
        if found and alias not in self.white_box:
            raise RecipeError(
                f"{self.component_name()}.classifiers: {cut(repr(alias))} is a model that the pictures were made to "
                "fool, so it can't be compared with others; name it under white_box"
            )
        return found

    def all_named(self, table: Table) -> list[str]:
        """The classifiers of a table, and those of `white_box`, each once."""
        return list(dict.fromkeys([*self.named(table), *self.white_box]))

    def common(self, table: Table) -> dict[str, Json]:
        """Figures that are there even without pictures."""
        return {**super().common(table), "names": [], "white_box": []}
