"""Categories of unsafe pictures, and labelers: components that score pictures by category, or abstain.

The detector `safety` and the evaluation `safety` hold labelers. One file defines one; docs/guides/labelers.md has an
example. A labeler that says nothing of a category abstains: that is never taken for "safe".
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from variorum.schemas.component import Component, Context, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import Nested
from variorum.schemas.sending import Sending
from variorum.schemas.uses import all_models, required_models

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Singles = NDArray[np.float32]

Axis = Literal["harm", "policy"]
"""Of a category: it hurts people, or only a platform's rules exclude it."""

Heard = Literal["ok", "repaired", "refusal", "abstain", "failed", "not_sent", "unavailable"]
"""How a labeler's answer was understood:

    ok           as it came
    repaired     after repair, such as a sentence around the JSON that was asked for
    refusal      the labeler declines to answer
    abstain      the answer says nothing that can be used
    failed       the labeler raised an error on this picture
    not_sent     the picture may not leave this machine
    unavailable  the labeler's model can't be had here
"""
HEARD: tuple[Heard, ...] = get_args(Heard)

CONTROL = "control"
"""In place of a category: a harmless definition. A labeler that calls ordinary pictures unsafe by it does so
whatever they show."""
ANY = "any"
"""In place of a category: unsafe in a way that isn't named."""
RESERVED = (CONTROL, ANY)
"""Names that stand in place of a category."""
BESIDE = ("heard", "text", "tokens")
"""Columns of a labeler beside its scores, so that no category can have such a name."""
SUMMED_UP = ("p", "share", "entropy", "state")
"""First parts of the columns with what the answers come to, so that no labeler can have such a name."""


class Category(BaseModel):
    """A way in which a picture can be unsafe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern="^[a-z][a-z0-9_]{0,39}$")
    """Its name in columns."""
    name: str = Field(min_length=1, max_length=80)
    definition: str = Field(min_length=1, max_length=2000)
    """What belongs to it, in words that complete "the picture shows …"."""
    axis: Axis = "harm"

    @field_validator("name", "definition")
    @classmethod
    def _readable(cls, value: str, info: ValidationInfo) -> str:
        lines = [value] if info.field_name == "name" else value.splitlines()
        if not value.strip() or not all(line.isprintable() for line in lines):
            raise ValueError("must be a line of text" if info.field_name == "name" else "must be text")
        return value


class Opinion(NamedTuple):
    """A labeler's answer on one picture to one prompt.

    Attributes:
        scores: by category, how certain it is that the picture is unsafe, in [0, 1]; it abstains from
            those that are missing.
        heard: how the answer was understood.
        text: the raw answer, or what the scores rest on; `""` if there is nothing to read.
        tokens: that the answer took, for labelers that write; else 0.
    """

    scores: Mapping[str, float] = {}
    heard: Heard = "ok"
    text: str = ""
    tokens: int = 0


class Shown(NamedTuple):
    """Pictures that a labeler is asked about in one call.

    Attributes:
        pictures: RGB `[H, W, 3]` uint8, of different sizes.
        embeddings: `[N, d]` of the encoder that `Labeler.encoder` names; None without one.
        prompt: one of `Labeler.prompts`.
        categories: all that are asked about.
    """

    pictures: Sequence[Pixels]
    embeddings: Singles | None
    prompt: str
    categories: tuple[Category, ...]


class Labeler(Component):
    """Scores by category how certain it is that pictures are unsafe.

    Nothing may depend on which pictures share a call.
    """

    label: str = Field(default="", pattern="^[a-z0-9_]{0,40}$")
    """Its name in columns and on cards, by default the labeler's own; needed where it is there twice."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """It calls a picture unsafe from this score on. `opinions` doesn't read it, so another one asks nobody again."""
    batch: int = Field(default=32, ge=1, le=1024)
    """Pictures per call, at most. A call that is answered is never made again."""

    late: ClassVar[frozenset[str]] = frozenset({"label", "threshold", "batch"})
    """Fields that decide no opinion: with another threshold nobody is asked again."""
    sort: ClassVar[str] = "classifier"
    """In a word or two, for the card: `classifier`, `head`, `text`, `vision-language model`."""
    writes: ClassVar[bool] = False
    """Whether its answers are texts to keep."""
    remote: ClassVar[bool] = False
    """Whether pictures leave this machine. Those with `restricted` in their metadata are never given to it."""
    gate: ClassVar[str] = ""
    """Check of a generator whose value is its score of the one category that it speaks of; `""` for none. Where a gate
    decided by this labeler's model, the labeler is judged on what the gate withheld too."""
    gradients: ClassVar[str] = ""
    """Alias of a model that gives its scores as differentiable tensors, for attacks; `""` for none."""

    @property
    def called(self) -> str:
        """Its name in columns and on cards."""
        return self.label or self.component_name()

    @abstractmethod
    def scored(self) -> tuple[str, ...]:
        """Ids of the categories that it can speak of, `RESERVED` names among them."""

    def speaks_of(self, prompt: str) -> tuple[str, ...]:
        """Those of `scored` that its answers to one of its prompts can speak of; all by default."""
        return self.scored()

    def prompts(self, categories: Sequence[Category]) -> tuple[str, ...]:
        """Names of the prompts, each asked in calls of its own; letters, digits and `_`. One without a name by default.

        Args:
            categories: that are asked about.
        """
        return ("",)

    def encoder(self) -> str:
        """Alias of the encoder whose embeddings it reads; `""` if it looks at pictures itself.

        A picture is embedded once for all labelers with the same encoder.
        """
        return ""

    def uses(self) -> list[Use]:
        """Return its models, its encoder among them. Without them it is unavailable, which the card says."""
        return [Use(self.encoder())] if self.encoder() else []

    def sends_about(self, categories: Sequence[Category]) -> tuple[Sending, ...]:
        """Declare what it sends to other machines if it is asked about these; nothing by default."""
        return ()

    @abstractmethod
    def opinions(self, shown: Shown, ctx: Context) -> Sequence[Opinion]:
        """One opinion per picture, in order.

        Raises:
            TemporaryError: try again later; the call is made again after a pause.
        """


def column_of(labeler: Labeler, prompt: str, name: str) -> str:
    """The column, below the detector's name, of what a labeler answers to a prompt about a category."""
    return ".".join(part for part in (labeler.called, prompt, name) if part)


def told_apart(labelers: tuple[Labeler, ...]) -> tuple[Labeler, ...]:
    """The labelers. Raises ValueError if there is none, two are called alike, or one has a name that columns need."""
    names = [one.called for one in labelers]
    if not labelers:
        raise ValueError("must be one or more labelers")
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"two labelers are called {twice!r}; give one a label")
    if taken := next((name for name in names if name in SUMMED_UP), ""):
        raise ValueError(f"no labeler can be called {taken!r}, as columns have that name; give it another label")
    return labelers


Labelers = Annotated[tuple[Annotated[Labeler, Nested("labelers")], ...], AfterValidator(told_apart)]
"""Type of a field that holds labelers; there is at least one, and no two are called alike."""


def sent_by(labelers: Sequence[Labeler], categories: Sequence[Category]) -> tuple[Sending, ...]:
    """Declare what all labelers send to other machines if they are asked about these categories.

    Raises:
        RecipeError: a remote one doesn't say what it sends, so nobody could consent to it.
    """
    found = {one.called: one.sends_about(categories) for one in labelers}
    if silent := next((one.called for one in labelers if one.remote and not found[one.called]), ""):
        raise RecipeError(f"labeler {silent} is remote and doesn't say what it sends; define `sends_about`")
    return tuple(sending for sendings in found.values() for sending in sendings)


def uses_to_judge(labelers: Sequence[Labeler], *, gradients: bool = False) -> list[Use]:
    """Return what an evaluation uses that judges labelers: all their models, each with the check that has its scores.

    Args:
        labelers: that are judged.
        gradients: whether models with gradients are used too.
    """
    gates: dict[str, set[str]] = {}
    for one in labelers:
        for alias in (*all_models(one), *([one.gradients] if gradients and one.gradients else [])):
            gates.setdefault(alias, set()).add(one.gate)
    return [
        Use(alias, optional=True, gate=next(iter(found)) if len(found) == 1 else "")
        for alias, found in sorted(gates.items())
    ]


def why_absent(labeler: Labeler, ctx: Context) -> str:
    """Why a labeler can't work here, in a line; `""` if it can."""
    found: list[Any] = [ctx.models.why_unavailable(alias) for alias in required_models(labeler)]
    return next((str(why) for why in found if why), "")
