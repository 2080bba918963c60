"""Defences: wrappers around a model under test, named in words behind its name.

`judge + crossmax with=judge_gate k=2` is the model `judge` behind the loader `crossmax`. A defended model is a name
like any other: it stands wherever a model is named, has a pin of all that it uses, and can be defended again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import BeforeValidator, ValidationError

from variorum.models.brought.model import BroughtModel
from variorum.models.brought.names import is_brought
from variorum.models.gradients import adversary
from variorum.models.loaders import DEFENCES, find_loader
from variorum.models.loaders.loader import Loader, no_obstacle
from variorum.models.table_entries import Entry, Local, StrictModel
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut, explain

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

FROM = "from"
"""The word that names a defence's file or folder."""
LEAST = 1e-30
"""Smaller probabilities count as this one, before their logarithm is taken."""
NAMES = re.compile(r"\s*,\s*")
FOLDER = re.compile(r"(?<=[=,:])(['\"]?)[^=,:]*/")
"""The folder of a file that a name has."""

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda text: NAMES.split(text) if isinstance(text, str) and text else text)
]
"""Several models in one word: `with=judge_gate,judge_noise`."""


class DefenceOptions(StrictModel):
    """What the options of every defence have."""

    reads: ClassVar[str] = ""
    """What `from=…` names, a file or folder; `""` for a defence that reads none."""
    gradients: bool = False
    """Set by `ModelTable.steering`, never in words: the wrapper is an adversary, and so is what it uses."""

    def models(self) -> tuple[str, ...]:
        """The models that it uses beside the one that it defends, in the order in which its loader gets them."""
        return ()


def defence(
    make: Callable[[Entry, Any, Any, Mapping[str, Any]], Any],
    options: type[DefenceOptions],
    told: str,
    *,
    packages: tuple[str, ...] = ("torch",),
    has_weights: bool = False,
) -> Loader:
    """The loader of a defence: what it does is `told` in reports, with the paper that broke it if one did."""
    return Loader(
        revision=1,
        make=make,
        options=options,
        packages=packages,
        obstacle=no_obstacle,
        has_weights=has_weights,
        role=lambda given: "adversary" if given.gradients else "classifier",
        steers={"gradients": True},
        defence=told,
    )


def entry_of(model: str, words: str, own: Entry | None) -> Entry:
    """The entry of a defended model, as a table would have it.

    Args:
        model: name of the model that is defended.
        words: the defence, such as `crossmax with=judge_gate k=2`.
        own: the model's entry; None for a brought model.

    Raises:
        RecipeError: there is no such defence, a word isn't understood, or the model would be used twice.
    """
    where = f"defence {cut(repr(words))}"
    try:
        kind, *given = shlex.split(words) or [""]
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None
    if kind not in DEFENCES:
        raise RecipeError(f"no defence is named {cut(repr(kind))}; there are: {', '.join(DEFENCES)}")
    loader = find_loader(kind)
    kinds = loader.options
    assert issubclass(kinds, DefenceOptions)
    known = {field.alias or name for name, field in kinds.model_fields.items()} - {"gradients"}
    known |= {FROM} if kinds.reads else set()
    found: dict[str, str] = {}
    for word in given:
        key, _, value = word.partition("=")
        if key not in known or not value or key in found:
            raise RecipeError(
                f"{where}: {cut(repr(word))} isn't understood; it takes {', '.join(sorted(known))}, each once"
            )
        found[key] = value
    place = found.pop(FROM, None)
    try:
        options = kinds.model_validate(found)
    except ValidationError as error:
        raise RecipeError(explain(error, where, kinds)) from None
    uses = (model, *options.models())
    if len(set(uses)) < len(uses):
        raise RecipeError(f"{where}: each model can be used once, and {cut(repr(model))} is the one that is defended")
    return Entry(
        name=kind,
        loader=kind,
        local=Local(path=place) if place else None,
        options=_without_paths(options.model_dump(mode="json", by_alias=True, exclude_defaults=True)),
        uses=uses,
        licence=own.licence if own else "unknown",
        source=loader.defence,
        trained_on=own.trained_on if own else "",
    )


def _without_paths(options: Any) -> Any:
    """Options in which brought models have no name, since it may be a path and pins are published."""
    if isinstance(options, dict):
        return {key: _without_paths(value) for key, value in options.items()}
    if isinstance(options, list):
        return [_without_paths(value) for value in options]
    return "brought" if isinstance(options, str) and is_brought(options) else options


def called(name: str) -> str:
    """A model's name, or a defence, without the folders of files."""
    return FOLDER.sub(r"\1", name)


class Part(NamedTuple):
    """A model inside a defence.

    Attributes:
        name: of the model.
        ask: probabilities `[N, K]` of stored pictures.
        classes: of its outputs; empty for ImageNet's order.
        preprocessing: a sentence for cards.
        network: log probabilities of tensors, as `roles.Adversary`; None where no gradients are wanted.
        brought: whether it is a user's, whose outputs without classes aren't ImageNet's.
    """

    name: str
    ask: Callable[[Sequence[Pixels]], Any]
    classes: tuple[str, ...]
    preprocessing: str
    network: Any
    brought: bool = False


def is_own(model: Any) -> bool:
    """Return whether a model is one that a user brings, perhaps behind a defence."""
    return isinstance(model, BroughtModel) or getattr(model, "brought", False)


def parts_of(used: Mapping[str, Any], *, gradients: bool) -> list[Part]:
    """The models that a defence gets, the defended one first.

    Raises:
        RecipeError: one isn't a classifier, gives no gradients though they are wanted, or has other classes.
    """
    found = []
    for name, model in used.items():
        if not gradients and (hasattr(model, "knows") or not hasattr(model, "classes")):
            raise RecipeError(f"a defence takes classifiers, and {cut(repr(name))} isn't one")
        network = adversary(called(name), model) if gradients else None
        ask = network.answers if network is not None else model
        said = getattr(ask, "preprocessing", getattr(model, "preprocessing", ""))
        found.append(Part(name, ask, tuple(model.classes), said, network, is_own(model)))
    for other in found[1:]:
        if other.classes != found[0].classes:
            raise RecipeError(
                f"{cut(repr(other.name))} has other classes than {cut(repr(found[0].name))}; a defence combines "
                "models with the same classes in the same order"
            )
    return found


class Combined:
    """A `roles.Classifier`, and a `roles.Adversary` where its parts have networks, of the parts' log probabilities.

    Args:
        parts: the models, the defended one first.
        combine: from the log probabilities `[N, K]` of each part, tensors, to log probabilities `[N, K]`.
        told: what is done, for the sentence on preprocessing.
        routes: other ways from the parts' log probabilities to something that an attack can follow, by name.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        combine: Callable[[Sequence[Any]], Any],
        told: str,
        routes: Mapping[str, Callable[[Sequence[Any]], Any]] | None = None,
    ) -> None:
        self._parts, self._combine = parts, combine
        self.classes, self.brought = parts[0].classes, parts[0].brought
        self.width = len(self.classes)
        self.preprocessing = f"{parts[0].preprocessing} Behind it: {told}"
        self.layers: tuple[str, ...] = ()
        self.routes = {"its own gradient": self, **{name: self._by(one) for name, one in (routes or {}).items()}}
        for one in parts:  # a wrapper around a defence hides none of its routes
            inner = getattr(one.network, "routes", {}).items()
            self.routes |= {f"{name} inside": way for name, way in inner if way is not one.network}
        if parts[0].network is not None:
            self.device, self.seen = parts[0].network.device, self._seen  # by which an adversary is known

    def __call__(self, pictures: Any) -> Any:
        """Probabilities `[N, K]` of stored pictures; as an adversary, log probabilities of tensors in [0, 1]."""
        return self.answers(pictures) if self._parts[0].network is None else self._by(self._combine)(pictures)

    def ask(self, image: Any) -> None:
        """Ask about one picture if nothing says how many outputs there are, as `BroughtModel` does."""
        if not self.width:
            self.width = self.answers([image]).shape[1]

    def answers(self, images: Sequence[Pixels]) -> Singles:
        """Probabilities `[N, K]` of stored pictures."""
        import torch

        said = [np.maximum(np.asarray(one.ask(images), np.float32), np.float32(LEAST)) for one in self._parts]
        if len({one.shape for one in said}) > 1:
            widths = " and ".join(str(one.shape[1]) for one in said)
            raise RecipeError(f"models in one defence have {widths} outputs; take some with the same classes")
        return np.asarray(self._combine([torch.from_numpy(np.log(one)) for one in said]).exp().numpy())

    def _by(self, combine: Callable[[Sequence[Any]], Any]) -> Callable[[Any], Any]:
        return lambda pictures: combine([one.network(pictures) for one in self._parts])

    def features(self, _pictures: Any, layer: str = "") -> None:
        """Return None: it has no embedding and no layers of its own."""
        if layer:
            raise RecipeError(f"a defended model has no layer of its own ({cut(layer)!r}); name the bare model")

    def hidden(self, _height: int, _width: int) -> tuple[str, ...]:
        """No layers."""
        return ()

    def _seen(self, height: int, width: int) -> Any:
        """Which pixels of a picture of this size one of the parts looks at: a tensor `[H, W]` of truth values."""
        return sum(one.network.seen(height, width).to(self.device) for one in self._parts) > 0
