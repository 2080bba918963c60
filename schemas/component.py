"""Define the parts of a recipe: sources, generators, detectors, deciders and evaluations.

A component is its configuration: frozen pydantic fields, no weights. What it needs at work (models, seeds, a cache)
comes in through the `Context`. Hooks that few components have are in `variorum.schemas.more`. One file defines one
component, and the file's name is its name in recipes: `generators/imagenet_e/attribute_edit.py` is `attribute_edit`.
docs/start/technique.md has an example of each kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from variorum.schemas.canonical import Json, derive_seed, digest
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.plot import Plot
from variorum.schemas.sample import Failure, Sample, Split, Withheld
from variorum.schemas.secrets import holds_secret, shown, without_secrets
from variorum.schemas.table import Table
from variorum.schemas.uses import Use as Use
from variorum.schemas.verdict import Verdict, Verdicts

if TYPE_CHECKING:
    import numpy as np

    from variorum.schemas.manifest import Manifest

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]
"""What is measured on one picture, by column: floats, ints, booleans, strings, bytes, or 1-D arrays.

A column holds one type throughout, and its arrays one length.
"""


class Models(Protocol):
    """Aliases to loaded models; `variorum.models` has the implementation and the roles' protocols."""

    def get(self, alias: str) -> Any:
        """The model behind an alias, loaded once per process. Raises ModelUnavailable."""

    def pin(self, alias: str) -> str:
        """Return the pin of an alias, `name@sha256` or `repo@revision`; it enters the unit keys."""

    def read_weights(self, alias: str, read: Callable[[Path], T]) -> T:
        """Return the result of `read` on the verified file or folder of an alias's weights. Raises ModelUnavailable."""

    def licence(self, alias: str) -> str:
        """The licence of an alias's weights."""

    def trained_on(self, alias: str) -> tuple[tuple[str, ...], str]:
        """Classes and data that a model was trained on, as far as it or its table says."""

    def role(self, alias: str) -> str | None:
        """`classifier` or `encoder` for a model that is one, `""` for any other; None for one that a user brings."""

    def steering(self, alias: str) -> str:
        """Name of the same model with gradients. Raises RecipeError if it gives none."""

    def unfit(
        self, alias: str, *, guidance: float, steps: int, negative: bool = False, image_guidance: float = 1
    ) -> str:
        """Say what a diffusion model takes in place of these settings, in a line; `""` if they suit it.

        Weights of guidance are 1 for none; `negative` is whether there are negative prompts.
        """

    def check(self, aliases: Iterable[str]) -> None:
        """Raise ModelUnavailable, with a line for each, unless all of these can be had here; asked before work."""

    def why_unavailable(self, alias: str) -> str:
        """Why a model can't be had here, in a line; `""` if it can."""


class Memo(Protocol):
    """A disposable store of costly intermediates: the same key always means the same arrays."""

    def __call__(
        self, key: str, compute: Callable[[], Mapping[str, np.ndarray[Any, Any]]]
    ) -> Mapping[str, np.ndarray[Any, Any]]:
        """The arrays kept under `key`, computed and kept first if there are none."""

    def forget(self, keys: Iterable[str]) -> None:
        """Delete what is kept under these keys."""


@dataclass(frozen=True, slots=True)
class Context:
    """The services that a component may use besides its own fields.

    Attributes:
        seed: the recipe's seed.
        models: aliases to models.
        memo: keeps costly intermediates (masks, plates) across units, processes and restarts.
        source: for a generator that uses other pictures than the one at hand: those of the recipe's source, decoded, as
            the generators before it let them through. In a generator's `check`, the recipe's source itself. None for
            all other components.
        classes: the source's classes in index order, for detectors, deciders and evaluations.
        splits: the recipe's shares by split, for a generator that makes one picture of several photographs.
        listings: the edition's listings by name, each with its columns, for an evaluation's `chosen` and `figures`.
        withheld: for an evaluation's `figures`: pictures that a gate withheld by a model that the evaluation judges.
        chosen: what an evaluation's `chosen` said of the pictures in its `measure`, by id; empty if it takes all.
        store: folder or URL of the store that the recipe is run in; `""` where there is none.
    """

    seed: int
    models: Models
    memo: Memo
    source: Source | None = None
    classes: tuple[ClassInfo, ...] = ()
    splits: Mapping[Split, float] = field(default_factory=dict)
    listings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)
    store: str = ""
    withheld: Sequence[Withheld] = ()

    def seed_for(self, component: str, sample_id: str, purpose: str = "") -> int:
        """A seed in [0, 2^63) for one purpose on one sample."""
        return derive_seed(self.seed, component, sample_id, purpose)

    def rng(self, component: str, sample_id: str, purpose: str = "") -> np.random.Generator:
        """A NumPy generator on `seed_for`; the global random state is never used."""
        import numpy as np

        return np.random.default_rng(self.seed_for(component, sample_id, purpose))


class Component(BaseModel, ABC):
    """One entry of a recipe. Its fields are its configuration and, with `revision`, its identity."""

    # defaults are validated, so that `scale: float = 1` is 1.0 in every process that reads the recipe
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    revision: ClassVar[int] = 1
    """Raise it when the same fields start to give other results, so that nothing old is taken for new."""
    location: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where data lies, not what it is: kept out of every digest and every manifest."""
    _own_file: ClassVar[Path | None] = None
    """The Python file that a recipe named; None for an installed component."""
    _own_sha256: ClassVar[str] = ""
    """Content of that file. It is part of the identity, so an edit of the file is noticed without a new `revision`."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_mistaken_value(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's `yes` is no number, and an empty path would mean the working folder."""
        kind = cls.model_fields[info.field_name or ""].annotation
        kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        if isinstance(value, bool) and {int, float} & set(kinds) and bool not in kinds:
            raise ValueError("must be a number")
        if isinstance(value, str) and not value and Path in kinds:
            raise ValueError("must not be empty; write . for the current folder")
        return value

    @classmethod
    def component_name(cls) -> str:
        """The name in recipes: the last part of the module's name."""
        return cls.__module__.rpartition(".")[2]

    def config(self) -> dict[str, Json]:
        """All fields as JSON values, with the component's name; `build_component` reads it back."""
        return {"name": str(self._own_file or self.component_name()), **self.model_dump(mode="json")}

    def identity(self) -> dict[str, Json]:
        """Return what decides the output: `config` without locations, also in components that a field holds."""
        nested: dict[str, Json] = {name: held.identity() for name, held in self._held() if isinstance(held, Component)}
        nested |= {name: [one.identity() for one in held] for name, held in self._held() if isinstance(held, tuple)}
        file: dict[str, Json] = {"file": self._own_sha256} if self._own_file else {}
        found = {**self.config(), "name": self.component_name(), **file, **nested}
        return {name: value for name, value in found.items() if name not in self.location}

    def fingerprint(self) -> str:
        """Digest of identity and revision, also of the components that a field holds."""
        held: dict[str, Json] = {
            name: value.fingerprint() if isinstance(value, Component) else [one.fingerprint() for one in value]
            for name, value in self._held()
        }
        return digest({**self.identity(), "revision": self.revision, **({"held": held} if held else {})})

    def _held(self) -> Iterator[tuple[str, Component | tuple[Component, ...]]]:
        """The fields that hold a component, or several."""
        for name, value in self:
            parts = value if isinstance(value, tuple) else (value,)
            if parts and all(isinstance(one, Component) for one in parts):
                yield name, value

    def uses(self) -> Sequence[Use]:
        """Return the models that it asks for, each as `Use(alias)`. Their pins are part of every key."""
        return ()


def stored_secrets(component: Component) -> list[str]:
    """Return the fields with a password or a token that would be stored with the edition; locations are not."""
    held = {name for name, _ in component._held()}
    return [
        name
        for name, value in component.model_dump(mode="json").items()
        if name not in component.location and name not in held and holds_secret(value)
    ]


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class of a dataset: the id used in `Sample.labels` and a unique name for people."""

    id: str
    name: str


class Source(Component):
    """Where pictures come from. They are read by position, and a position always means the same picture."""

    @abstractmethod
    def pin(self, ctx: Context) -> str:
        """Digest of the data itself, so that changed data means new units. Raises SourceError."""

    @abstractmethod
    def size(self, ctx: Context) -> int:
        """Count the samples. Raises SourceError when there are none."""

    @abstractmethod
    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        """Samples `start` to `stop - 1` in order; a `Failure` for one that is unreadable by itself.

        Raises:
            SourceChanged: the data isn't what `pin` was computed from.
            TemporaryError: a disk, a network or the machine failed; this says nothing of the sample.
        """

    def outline(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The same samples without pictures: ids, labels, captions. Override it where that is cheaper than `read`.

        A picture that can't be read is listed too: that shows only when it is read.
        """
        for item in self.read(start, stop, ctx):
            if isinstance(item, Failure):
                yield Sample(item.id, b"", item.labels, origin=item.origin, licence=item.licence)
            else:
                yield replace(item, image=b"")

    @abstractmethod
    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """The dataset's classes in index order; empty when unlabelled. Raises SourceError if two share a name."""

    def captioned(self, ctx: Context) -> bool:
        """Return whether its samples have captions; then each sample of the edition has a `txt` member."""
        return False

    def annotated(self, ctx: Context) -> bool:
        """Return whether its samples have annotations; then each sample of the edition has `annotations.json`."""
        return self.captioned(ctx)

    def stored_bytes(self, ctx: Context) -> int:
        """Return the size of all its pictures' files, or 0 if that isn't cheap to know. Disks are checked by it."""
        return 0

    def place(self) -> str:
        """Name the data that it reads, in a line for people. A -dev version may not move from one place to another.

        By default the name and all fields that hold text, a path or another source.
        """
        return place_of(self, [name for name, value in self if isinstance(value, str | Path | Source)])


def place_of(source: Source, fields: Iterable[str]) -> str:
    """A line for `Source.place`: the name, and these of its fields that aren't None, paths in full, without secrets."""
    said = [source.component_name()]
    for name in fields:
        value = getattr(source, name)
        if isinstance(value, Source):
            said.append(f"{name}=({value.place()})")
        elif value is not None:
            text = (
                shown(value) if isinstance(value, str) else str(value.absolute() if isinstance(value, Path) else value)
            )
            said.append(f"{name}={without_secrets(text)}")
    return " ".join(said)


class Generator(Component):
    """A technique that makes pictures from pictures. Override `edit`, or `generate` to work in batches."""

    keeps_objects: ClassVar[bool] = False
    """Whether the objects of a picture stay valid: nothing moves, or `made` gets `annotations` that moved along."""
    annotated: ClassVar[bool] = False
    """Whether it gives its pictures annotations of its own, such as prompts."""
    digital_source_type: ClassVar[str] = ""
    """What its pictures are, a term of IPTC's vocabulary: one of the constants in `variorum.schemas.sample`."""

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The pictures made from one: `of.made(...)` or `of.skipped(...)`, and `sample` itself to keep it.

        `sample.image` is RGB `[H, W, 3]` uint8. `of` has seeds, random numbers and models.
        """
        raise NotImplementedError

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The pictures made from a stream of samples; calls `edit` for each, unless overridden.

        An exception costs the whole unit, so yield a `Failure` for what is wrong with one picture.
        """
        for sample in samples:
            if not isinstance(sample.image, bytes):
                sample.image.setflags(write=False)  # it may be yielded too, and is encoded in another thread
            made: object = self.edit(sample, Edit(self, sample, ctx))
            for item in made if isinstance(made, Iterable) else [made]:
                if not isinstance(item, Sample | Failure):
                    kind = f"{self.component_name()}: edit gave {type(item).__name__}"
                    raise RecipeError(f"{kind}; it must `yield of.made(...)` or `yield of.skipped(...)`")
                yield item


NUMBERS, TEXTS, FLAGS, OTHERS = "numbers", "texts", "true and false", "something else"
"""What a column holds."""


def column_kinds(numbers: str = "", texts: str = "", flags: str = "", others: str = "") -> Mapping[str, str]:
    """Name the kind of each column, from names separated by spaces; for `Detector.gives`."""
    groups = ((numbers, NUMBERS), (texts, TEXTS), (flags, FLAGS), (others, OTHERS))
    return {name: kind for names, kind in groups for name in names.split()}


class Detector(Component):
    """Looks at pictures and scores them; it never decides. Override `measure`, `score`, or both.

    A column that `measure` or `score` calls `x` is stored as `<detector>.x`. Four names have a meaning to others:
    `score` (higher is more suspect, NaN is not judged), `flag` (bool), `proposed` (index of the label that it would
    give, -1 for none) and `weight` (in [0, 1]).
    """

    late: ClassVar[frozenset[str]] = frozenset()
    """Fields that `measure` doesn't read: changing them measures nothing again."""
    gives: ClassVar[Mapping[str, str] | None] = None
    """Its columns and what each holds, from `column_kinds`: a recipe that names another one is refused before any work.
    None if they show only when it runs."""

    def needs(self) -> tuple[str, ...]:
        """Names of the detectors whose columns `score` reads; they must come before it in the recipe."""
        return ()

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterable[Row]:
        """One row per sample, in order. The samples are a short batch of accepted ones with decoded pixels."""
        raise NotImplementedError

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns over the whole edition: arrays `[N]` or `[N, d]`, or lists, in the table's order.

        The table has one row per accepted picture: the edition's own columns, what this detector measured, and the
        columns of those that it `needs`. An edition without an accepted picture is neither scored nor judged, and its
        curation has no figures.
        """
        raise NotImplementedError

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Figures for the card, from all columns but the vectors.

        `findings`, a list of sentences about the edition as a whole, stands above all others.
        """
        return {}


class Decider(Component):
    """Turns columns into verdicts: what to drop, to relabel, to ask people about.

    It costs no look at a picture, so another threshold takes seconds.
    """

    def needs(self) -> tuple[str, ...]:
        """Names of the detectors whose columns it reads; they must come before it in the recipe."""
        return ()

    @abstractmethod
    def decide(self, table: Table, ctx: Context) -> Iterable[Verdict | Verdicts]:
        """Yield or return verdicts: `table.verdict(row, action, reason)`, or `table.verdicts(rows, action, reason)`.

        The table has all columns but the vectors.
        """

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Figures for the card; `table.said` has its verdicts. `findings` as for detectors."""
        return {}


class SealedEdition(Protocol):
    """A sealed edition, for components that give files beside its card."""

    @property
    def manifest(self) -> Manifest:
        """The edition."""

    @property
    def rows(self) -> Any:
        """A `pyarrow.Table` with a row per picture, made or not: `id`, `variant`, `status`, `photograph` and so on."""

    def sample(self, row: Mapping[str, Any]) -> Sample:
        """The stored sample of a row that has a shard (0 or above in its column `shard`). Raises CorruptShard."""


class Evaluation(Component):
    """A measure of models on an edition, or of the edition itself, against real pictures if need be."""

    late: ClassVar[frozenset[str]] = frozenset()
    """Fields that `measure` doesn't read: changing them measures nothing again."""

    @abstractmethod
    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterable[Row]:
        """Rows, any number per sample. The samples are a short batch with decoded pixels."""

    @abstractmethod
    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Figures for the card, from all rows.

        With references the column `set` has the name of the one that a row belongs to, `""` for the edition's own rows.
        """

    def plots(self, figures: Mapping[str, Any]) -> Mapping[str, Plot]:
        """Plots of its figures by name, for the card and the page; nothing by default.

        Args:
            figures: what `figures` gave, read back from JSON.
        """
        return {}
