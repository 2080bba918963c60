"""Hooks that few components have. A component that defines one has it; nothing is inherited.

The stages look for each hook by its protocol, so a base class shows only what every guest reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from variorum.schemas.canonical import Json
    from variorum.schemas.component import Component, Context, Decider, Detector, SealedEdition, Source
    from variorum.schemas.sample import Sample
    from variorum.schemas.sending import Sending
    from variorum.schemas.table import Table

# ── of several kinds ─────────────────────────────────────────────────────────────────────────────────────────────────


@runtime_checkable
class Checks(Protocol):
    """A generator, detector or decider that finds out before any work what can't work."""

    def check(self, ctx: Context) -> None:
        """Raise RecipeError or SourceError for what can't work, such as a missing file or the wrong source."""


@runtime_checkable
class Refers(Protocol):
    """A generator that takes pictures from other sources, or a detector or evaluation that compares with some.

    A detector and those that it `needs` measure them too; `score` finds the columns in `table.references[name]`.
    Evaluations measure them as they measure the edition.
    """

    def references(self) -> Mapping[str, Source]:
        """Return the sources by name; their data is part of every key."""


@runtime_checkable
class Sends(Protocol):
    """A detector or evaluation that sends pictures to other machines; a run asks for consent before any work."""

    def sends(self) -> tuple[Sending, ...]:
        """Return what it sends."""


@runtime_checkable
class NeedsLabels(Protocol):
    """A detector or decider that can't work on an edition without labels."""

    needs_labels: ClassVar[bool]


@runtime_checkable
class LeavesOut(Protocol):
    """A detector or decider that can do without a step that it names; others are left out with that step."""

    def without(self, steps: Collection[str]) -> Detector | Decider | None:
        """Return this component in a recipe that leaves those steps out; None if it can't do without one."""


# ── of sources ───────────────────────────────────────────────────────────────────────────────────────────────────────


@runtime_checkable
class Warns(Protocol):
    """A source with pictures that people may not want to see."""

    def warning(self, ctx: Context) -> str:
        """Return what they show, in a sentence; then the recipe must have a `warning` too. `""` for nothing."""


# ── of generators ────────────────────────────────────────────────────────────────────────────────────────────────────


@runtime_checkable
class PlansRequests(Protocol):
    """A generator that lists its pictures before it makes them."""

    def requests(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """Yield a row per picture that will be asked for, given samples without pictures.

        A row's `id` is that of the sample or failure that results; `variorum.stages.requests` lists the other columns.
        No model is loaded.
        """


@runtime_checkable
class DrawsListings(Protocol):
    """A generator that draws up tables over the whole edition, such as the episodes of a few-shot set."""

    def listings(self, table: Table, ctx: Context) -> Mapping[str, Mapping[str, Any]]:
        """Return the tables by name, each with its columns.

        They are drawn up when an edition or a release is sealed, from its accepted pictures alone, and are part of it:
        `listings/<name>.parquet`. No model is loaded. Only the last generator of a recipe is asked. A name has
        lowercase letters, digits and underscores; a column holds numbers, texts or booleans, and `id` the id of an
        accepted picture in each row. There are 100 tables at most, and a table may have no rows.

        Args:
            table: a row per accepted picture, in the edition's order, with the columns that detectors get: `id`,
                `source`, `photograph`, `variant`, `split`, `label` and so on.
            ctx: has the seed and the classes.
        """


@runtime_checkable
class TakesTurns(Protocol):
    """A generator that gives a picture of each of several samples, then the next ones.

    The others give all pictures of a sample before those of the next, so that progress counts finished samples.
    """

    takes_turns: ClassVar[bool]


@runtime_checkable
class HasSecrets(Protocol):
    """A generator with secrets on this machine, which nothing that is published may hold."""

    @staticmethod
    def machine_secrets() -> Mapping[str, bytes]:
        """The secrets, by what an error calls them; looked for as they are, in hexadecimal digits and in base64."""


@runtime_checkable
class GivesPictures(Protocol):
    """A generator that draws pictures for the card of its editions."""

    @staticmethod
    def card_pictures(edition: SealedEdition) -> Mapping[str, bytes]:
        """PNG files by name, `strips.png`. Those of an edition with a content warning must be blurred."""


# ── of detectors ─────────────────────────────────────────────────────────────────────────────────────────────────────


@runtime_checkable
class AddsMembers(Protocol):
    """A detector whose release has further members in its samples."""

    adds: ClassVar[Mapping[str, str]]
    """File ending of each member, to the column with the bytes; all null for none."""


@runtime_checkable
class ProvesCopies(Protocol):
    """A detector that proves pictures to be copies; a release of a recipe with `splits` brings them to one side."""

    copies: ClassVar[str]
    """A column of `score` with the id of the picture that each is a copy of, `""` for none."""


@runtime_checkable
class ProposesOnly(Protocol):
    """A detector whose columns only say what people are asked.

    Its models may judge a release, unless another step reads these columns.
    """

    proposes_only: ClassVar[bool]


@runtime_checkable
class ColumnsByFields(Protocol):
    """A detector whose columns depend on its fields."""

    def known_columns(self) -> Mapping[str, str]:
        """Return the columns and what each holds, in place of `gives`."""


# ── of deciders ──────────────────────────────────────────────────────────────────────────────────────────────────────


@runtime_checkable
class ReadsVerdicts(Protocol):
    """A decider that decides last and sees what those before it settled on.

    It finds the columns `verdict.action` (`keep` where none said anything), `verdict.labels` (the new labels of a
    relabel, in one text), `verdict.worth`, and `verdict.settled` (whether a decider with `settles` keeps, relabels or
    drops the picture).
    """

    reads_verdicts: ClassVar[bool]


@runtime_checkable
class Settles(Protocol):
    """A decider that speaks for people.

    What others only suspect of a picture that it keeps, relabels or drops (`review`, `relabel`, `unasked`) becomes a
    `note`; a `drop` stays.
    """

    settles: ClassVar[bool]


@runtime_checkable
class ChecksColumns(Protocol):
    """A decider whose fields name columns."""

    def check_columns(self, known: Mapping[str, Mapping[str, str]]) -> None:
        """Raise RecipeError for a column that no detector gives, or that holds something else than it must.

        Args:
            known: by detector, what it `gives`; without those that don't say it before they run.
        """


# ── of evaluations ───────────────────────────────────────────────────────────────────────────────────────────────────


@runtime_checkable
class NeedsObjects(Protocol):
    """An evaluation that can't work on an edition without objects."""

    needs_objects: ClassVar[bool]


@runtime_checkable
class ChoosesPictures(Protocol):
    """An evaluation that measures some of the edition's pictures. References are always measured whole."""

    def chosen(self, table: Table, ctx: Context) -> NDArray[np.int64] | NDArray[np.bool_] | None:
        """Return which of the pictures `measure` gets; None for all.

        Args:
            table: a row per accepted picture, with the columns that detectors get: `id`, `source`, `photograph`,
                `variant`, `label` and so on.
            ctx: for the seed, the classes and the listings.

        Returns:
            A whole number or a truth value `[N]` for each row: 0 leaves the picture out. `measure` finds the others in
            `ctx.chosen`, by id, so different numbers can ask for different measurements.
        """


@runtime_checkable
class GivesFiles(Protocol):
    """An evaluation that gives files of its figures, such as entries for a leaderboard."""

    def files(self, figures: Mapping[str, Any], edition: SealedEdition) -> Mapping[str, bytes]:
        """Files by name, `x.csv` or `x/y` in a folder of its own. They lie beside the card.

        Args:
            figures: what `figures` gave, read back from JSON.
            edition: the edition.
        """


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────

HOOKS: Mapping[str, tuple[type, ...]] = {
    "Source": (Warns,),
    "Generator": (Checks, Refers, PlansRequests, DrawsListings, TakesTurns, HasSecrets, GivesPictures),
    "Detector": (
        *(Checks, Refers, Sends, NeedsLabels, LeavesOut),
        *(AddsMembers, ProvesCopies, ProposesOnly, ColumnsByFields),
    ),
    "Decider": (Checks, NeedsLabels, LeavesOut, ReadsVerdicts, Settles, ChecksColumns),
    "Evaluation": (Refers, Sends, NeedsObjects, ChoosesPictures, GivesFiles),
}
"""By base class, what the stages look for."""


def hook_names(cls: type[Component]) -> set[str]:
    """Return the names that mean a hook in a component of this class, so that no field may have them."""
    kinds = [hook for base in cls.__mro__ for hook in HOOKS.get(base.__name__, ())]
    return {name for hook in kinds for name in (*vars(hook), *hook.__annotations__) if not name.startswith("_")}


def references_of(component: Component) -> Mapping[str, Source]:
    """Return the other sources that a component takes pictures from or compares with, by name."""
    return component.references() if isinstance(component, Refers) else {}


def sendings_of(*components: Component) -> list[Sending]:
    """Return what components send to other machines."""
    return [sending for one in components if isinstance(one, Sends) for sending in one.sends()]


def check_before_work(components: Iterable[Component], ctx: Context) -> None:
    """Let the components check what they can before any work. Raises RecipeError or SourceError."""
    for one in components:
        if isinstance(one, Checks):
            one.check(ctx)


def without(step: Detector | Decider, steps: Collection[str]) -> Detector | Decider | None:
    """Return a step of a recipe that leaves those steps out; None if it can't do without one."""
    if isinstance(step, LeavesOut):
        return step.without(steps)
    return None if set(step.needs()) & set(steps) else step


def known_columns(detector: Detector) -> Mapping[str, str] | None:
    """Return a detector's columns and what each holds; None if that shows only when it runs."""
    return detector.known_columns() if isinstance(detector, ColumnsByFields) else detector.gives


def warning_of(source: Source, ctx: Context) -> str:
    """Return what people may not want to see in a source's pictures, in a sentence; `""` for nothing."""
    return source.warning(ctx) if isinstance(source, Warns) else ""
