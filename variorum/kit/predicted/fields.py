"""Fields that evaluations have in common, and which classifiers they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from variorum.schemas.component import Context, Evaluation, Use

if TYPE_CHECKING:
    from variorum.schemas.table import Table


class Resampled(Evaluation):
    """Figures with bootstrap intervals."""

    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence"})

    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Number of resamples per interval."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals, in (0, 1)."""


class OfClassifiers(Resampled):
    """Figures of classifiers.

    Attributes:
        classifiers: aliases of classifiers, or names of models that a user brings; none may have filtered the edition.
            Their outputs are matched to the edition's classes by `variorum/kit/labels/matching.py`.
    """

    measured_as: ClassVar[str] = "answers"

    classifiers: tuple[str, ...] = Field(default=("classifier_small", "classifier"), min_length=1)

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
