"""What a recipe is made of: sources, generators, curation steps and evaluations.

A component is its configuration: frozen pydantic fields, no weights. What it needs at work (models, seeds, a place
to keep costly intermediates) comes in through the `Context`. The module's file name is the name in YAML:
`generators/attribute_edit.py` holds the one `Generator` that a recipe calls `attribute_edit`, and there is no registry.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, ValidationInfo

from schemas.canonical import Json, derive_seed, digest
from schemas.errors import RecipeError
from schemas.sample import Failure, Sample
from schemas.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Models(Protocol):
    """Aliases to loaded models; `variorum.models` has the implementation and the roles' protocols."""

    def get(self, alias: str) -> Any:
        """The model behind an alias, loaded once per process. Raises ModelUnavailable."""

    def pin(self, alias: str) -> str:
        """What exactly the alias stands for, `name@sha256` or `repo@revision`; enters the unit keys."""

    def check(self, aliases: Iterable[str]) -> None:
        """Raise ModelUnavailable, with a line for each, unless all of these can be had here; asked before work."""


class Memo(Protocol):
    """A disposable store of costly intermediates: the same key always means the same arrays."""

    def __call__(
        self, key: str, compute: Callable[[], Mapping[str, np.ndarray[Any, Any]]]
    ) -> Mapping[str, np.ndarray[Any, Any]]:
        """The arrays kept under `key`, computed and kept first if there are none."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a component may use besides its own fields.

    Attributes:
        seed: the recipe's seed.
        models: aliases to models.
        memo: keeps costly intermediates (masks, plates) across units, processes and restarts.
        source: the recipe's source, for a generator that needs another of its pictures; None where there is none.
    """

    seed: int
    models: Models
    memo: Memo
    source: Source | None = None

    def seed_for(self, component: str, sample_id: str, purpose: str = "") -> int:
        """A seed in [0, 2^63) for one purpose on one sample."""
        return derive_seed(self.seed, component, sample_id, purpose)

    def rng(self, component: str, sample_id: str, purpose: str = "") -> np.random.Generator:
        """A NumPy generator on `seed_for`; the global random state is never used."""
        import numpy as np

        return np.random.default_rng(self.seed_for(component, sample_id, purpose))


class Component(BaseModel, ABC):
    """One entry of a recipe. Its fields are its configuration and, with `revision`, its identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: ClassVar[int] = 1
    """Bumped when the same fields start to give other output."""

    @classmethod
    def component_name(cls) -> str:
        """The name in YAML: the last part of the module's name."""
        return cls.__module__.rpartition(".")[2]

    whereabouts: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where data lies, not what it is: kept out of every digest and every manifest."""

    def config(self) -> dict[str, Json]:
        """All fields as JSON values, with the component's name; `build_component` reads it back."""
        return {"name": self.component_name(), **self.model_dump(mode="json")}

    def identity(self) -> dict[str, Json]:
        """`config` without the whereabouts, its own and those of a component in a field: what decides the output."""
        nested = {name: value.identity() for name, value in self if isinstance(value, Component)}
        return {name: value for name, value in {**self.config(), **nested}.items() if name not in self.whereabouts}

    def fingerprint(self) -> str:
        """Digest of identity and revision."""
        return digest({**self.identity(), "revision": self.revision})

    def aliases(self) -> tuple[str, ...]:
        """Model aliases that it will ask for, so that their pins enter the unit keys and `plan` can check them."""
        return ()


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class of a dataset: the id used in `Sample.labels` and a unique name for people."""

    id: str
    name: str


class Source(Component):
    """Where pictures come from. Reading is random access by position, and a position always means the same picture."""

    @abstractmethod
    def pin(self, ctx: Context) -> str:
        """Digest of the data itself, so that changed data means new units. Raises SourceError."""

    @abstractmethod
    def size(self, ctx: Context) -> int:
        """How many samples there are. Raises SourceError when there are none."""

    @abstractmethod
    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples `start` to `stop - 1` in order; an unreadable one is a `Failure`, never an exception."""

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The same samples without pictures: ids, labels, captions. A source with a cheaper way than `read` takes it.

        What can't be read is here all the same, as its picture is only found out to be bad when it is read.
        """
        for item in self.read(start, stop, ctx):
            if isinstance(item, Failure):
                yield Sample(item.id, b"", item.labels, origin=item.origin, licence=item.licence)
            else:
                yield replace(item, image=b"")

    @abstractmethod
    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The dataset's classes in index order; empty when unlabelled. Raises SourceError if two share a name."""


class Generator(Component):
    """A technique that makes pictures of pictures."""

    @abstractmethod
    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """Consume decoded samples, yield new ones with pixels; batching is the generator's own business.

        An exception costs the whole unit, so a picture's own trouble is yielded as a `Failure`.
        """

    def planned(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """A row for each picture that it will be asked for, from an outline's samples; none where there is no plan.

        A row's `id` is that of the sample or the Failure that comes of it; `variorum.plans` has the other columns. No
        model is loaded.
        """
        return iter(())

    def check(self, ctx: Context) -> None:
        """Raise RecipeError for what can't work on this source; asked at plan time, before any picture is read."""

    def filters(self) -> tuple[str, ...]:
        """Aliases of models whose opinion decides what is accepted; they may not judge the result later."""
        return ()


class CurationStep(Component):
    """A judgement on an edition, in up to four movements; a step overrides those that it needs.

    `measure` looks at pictures, a stretch at a time, and its rows are kept; `score` looks at the whole edition's
    columns and gives more of them, which are kept too; `decide` turns columns into verdicts and `summarise` into
    figures for the card, both anew every time. So another threshold costs a `decide`, and no picture is read again.

    What `measure` and `score` name `x` becomes the column `<step>.x`. Detectors agree on four names: `score` (higher
    is more suspect, NaN is not judged), `flag` (bool), `proposed` (index of the label it would give, -1 for none) and
    `weight` (in [0, 1]).
    """

    measured_by: ClassVar[frozenset[str]] = frozenset()
    """Fields that `measure` depends on."""
    measured_with: ClassVar[frozenset[str]] = frozenset()
    """What of the context, besides models, `measure` depends on: `seed`, `classes` (of the source). What isn't named is
    kept from it: the seed is 0, there is no source."""
    scored_by: ClassVar[frozenset[str]] = frozenset()
    """Fields that `score` depends on, besides those."""
    adds: ClassVar[Mapping[str, str]] = {}
    """Members that a release adds to its samples: file ending to the column with the bytes; all null for none."""
    reads_verdicts: ClassVar[bool] = False
    """Whether it decides last and sees what the others settled on: the columns `verdict.action`, `keep` where none had
    anything to say, and `verdict.labels`, a relabel's new ones in one text."""
    needs_labels: ClassVar[bool] = False
    """Whether it can't work on an edition in which no picture has a label."""

    def references(self) -> Mapping[str, Source]:
        """Sources whose pictures `score` reads besides the edition's columns, by the field's name."""
        return {}

    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose columns `score` and `decide` read; they must come before it in the recipe."""
        return ()

    def without(self, steps: Collection[str]) -> CurationStep | None:
        """What is left of it in a recipe that leaves these steps out: itself, or None where it needs one of them."""
        return None if set(self.needs()) & set(steps) else self

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """One row a sample, in order, from a short stretch of accepted samples with decoded pixels.

        Values are floats, ints, bools, strings, bytes, or 1-D arrays of one length and type throughout.
        """
        raise NotImplementedError

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns for the whole edition: arrays `[N]` or `[N, d]`, or lists, in the table's order.

        The table has a row an accepted picture: the edition's own columns, what this step measured, and the columns
        of the steps that it `needs`. `variorum.columns` reads them as arrays.
        """
        raise NotImplementedError

    def decide(self, table: pa.Table) -> Iterator[Verdict]:
        """Verdicts from columns alone: pure and cheap. The table has every step's columns but the vectors."""
        return iter(())

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Figures for the card, from the same table."""
        return {}


class Evaluation(Component):
    """A measure of models on an edition, or of the edition itself, against real pictures if need be."""

    measured_by: ClassVar[frozenset[str]] = frozenset()
    """Fields that `measure` depends on; a change of the others computes no row anew."""

    def references(self) -> Mapping[str, Source]:
        """Sources of pictures to compare the edition with, by name.

        They are measured as the edition is and their rows kept likewise, whichever edition they are compared with.
        """
        return {}

    @abstractmethod
    def measure(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Rows for decoded samples, streamed shard by shard and kept, so that a re-run computes only what is new.

        Values are what JSON has, or 1-D arrays of one length and type throughout.
        """

    @abstractmethod
    def summarise(self, table: pa.Table, seed: int) -> dict[str, Json]:
        """The figures for the card from all rows; pure.

        Where there are references, the column `set` has the name of the one that a row belongs to, and `""` in the
        edition's own rows.
        """


C = TypeVar("C", bound=Component)

PACKAGES: Mapping[type[Component], tuple[str, str]] = {
    Source: ("generators.sources", "source"),
    Generator: ("generators", "generator"),
    CurationStep: ("curation", "curation step"),
    Evaluation: ("evaluation", "evaluation"),
}


def component_names(kind: type[Component]) -> list[str]:
    """Names of the components of a kind that are installed, third-party ones included."""
    package = importlib.import_module(PACKAGES[kind][0])
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg)


def component_class(kind: type[C], name: str) -> type[C]:
    """The component that a module of this name holds.

    Raises:
        RecipeError: when there is no such module, or it doesn't hold exactly one component of this kind.
    """
    package, noun = PACKAGES[kind]
    if name not in component_names(kind):
        known = ", ".join(component_names(kind)) or "none"
        raise RecipeError(f"no {noun} named {name!r} in {package.replace('.', '/')}/; there are: {known}")
    module = importlib.import_module(f"{package}.{name}")
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, kind) and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise RecipeError(f"{package}.{name} must define exactly one {noun}, it defines {len(found)}")
    return found[0]


def build_component(kind: type[C], config: Mapping[str, Any], where: str) -> C:
    """A component from its entry in a recipe. `where` is the path in the recipe that errors name.

    Raises:
        RecipeError: naming each wrong field, with the fields that there are.
    """
    fields = dict(config)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(f"{where}: needs a name; there are: {', '.join(component_names(kind)) or 'none'}")
    cls = component_class(kind, name)
    try:
        return cls(**fields)
    except ValidationError as error:
        raise RecipeError(explain(error, where, cls)) from None


def _nested_source(value: Any, info: ValidationInfo) -> Any:
    return build_component(Source, value, info.field_name or "source") if isinstance(value, Mapping) else value


NestedSource = Annotated[Source, BeforeValidator(_nested_source), PlainSerializer(lambda source: source.config())]
"""Type of a field that holds a source of its own, given as a mapping with a name like a recipe's source."""


def explain(error: ValidationError, where: str, cls: type[BaseModel]) -> str:
    """A pydantic error as one line a problem: path, what is wrong, and the fields there are for an unknown one."""
    lines = []
    for problem in error.errors():
        path = ".".join([where, *map(str, problem["loc"])]).lstrip(".")
        line = f"{path}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
        if problem["type"] == "extra_forbidden":
            line = f"{path}: no such field; there are: {', '.join(cls.model_fields) or 'none'}"
        elif problem["type"] != "missing":
            line += f" (got {problem['input']!r})"
        lines.append(line)
    return "\n".join(lines)
