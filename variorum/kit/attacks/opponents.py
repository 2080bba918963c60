"""Models under attack: what they answer, which of their outputs are right, and which pixels they look at.

A generator that attacks models returns them from `uses`, each with the role `adversary`, or with none for one that is
only asked for answers, and names them in its field `adversaries`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.kit.attacks.losses import Victim
from variorum.kit.predicted.answers import classes_of_outputs, known, label_indices, outputs_of
from variorum.models.defended import is_own
from variorum.models.device import one_thread
from variorum.models.gradients import adversary
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from variorum.arrays import Bools, Pixels, Singles
    from variorum.models.roles import Adversary
    from variorum.schemas.component import Context, Generator


class Opponent(NamedTuple):
    """A model under attack.

    Attributes:
        network: with gradients; None for a model that only answers.
        answers: probabilities `[N, K]` of stored pictures.
        alias: its name in the recipe.
        pin: of its weights.
        output_of: the output of each class of the edition; None for a model that takes any label of ImageNet.
        names: of its outputs, by the edition's class ids where it has them.
    """

    network: Adversary | None
    answers: Callable[[Sequence[Pixels]], Any]
    alias: str = ""
    pin: str = ""
    output_of: Mapping[str, int] | None = None
    names: Sequence[str] = ()

    def outputs(self, labels: Sequence[str]) -> Bools:
        """Its outputs that are these labels, `[K]`."""
        found = np.zeros(len(self.names), bool)
        found[list(label_indices(labels) if self.output_of is None else known(labels, self.output_of))] = True
        return found


def seen(opponents: Iterable[Opponent], height: int, width: int) -> Bools:
    """Pixels that one of the models looks at, `[H, W]`: all of one that only answers."""
    every = np.ones((height, width), bool)
    own = [every if one.network is None else one.network.seen(height, width).cpu().numpy() for one in opponents]
    return np.asarray(np.any(own, axis=0), bool)


class Aim(NamedTuple):
    """What an opponent should no longer answer, or should answer, of one picture: truth values `[K]`."""

    away: Bools
    towards: Bools | None = None

    def margin(self, said: Any) -> float:
        """How far probabilities `[K]` are on the wrong side, in log probabilities; above 0 the model is fooled."""
        said = np.log(np.maximum(np.asarray(said, np.float64), 1e-30))
        aimed, other = (~self.away, self.away) if self.towards is None else (self.towards, ~self.towards)
        return float(said[aimed].max(initial=-np.inf) - said[other].max(initial=-np.inf))


def first_of(said: Singles) -> Bools:
    """Which of probabilities `[K]` is the first answer, `[K]`."""
    return np.asarray(np.arange(len(said)) == said.argmax(), bool)


def victims_of(opponents: Sequence[Opponent], aims: Sequence[Sequence[Aim]]) -> list[Victim]:
    """The networks of opponents, each with its aim for every picture."""
    import torch

    victims = []
    for one, own in zip(opponents, aims, strict=True):
        assert one.network is not None
        away, towards = ([getattr(aim, name) for aim in own] for name in Aim._fields)
        aimed = None if towards[0] is None else torch.from_numpy(np.stack(towards))
        victims.append(Victim(one.network, torch.from_numpy(np.stack(away)), aimed))
    return victims


def opponent(alias: str, ctx: Context, where: str, *, gradients: bool) -> Opponent:
    """The model behind an alias, without its outputs, which `with_outputs` adds.

    Args:
        alias: of the model.
        ctx: has the models.
        where: the field that names it, for messages.
        gradients: whether it must give gradients.

    Raises:
        RecipeError: it gives no gradients, or isn't a classifier.
    """
    model = ctx.models.get(alias)
    if not gradients and hasattr(model, "knows"):  # a detector
        raise RecipeError(f"{where}: {cut(repr(alias))} isn't a classifier")
    try:
        network = adversary(alias, model) if gradients or hasattr(model, "seen") else None
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    if network is None and not is_own(model):  # it runs without PyTorch
        return Opponent(None, model, alias, ctx.models.pin(alias))
    ask = model if network is None else network.answers

    def answers(pictures: Sequence[Pixels]) -> Any:
        with one_thread():  # answers go into records, and their last digits depend on the threads
            return ask(pictures)

    return Opponent(network, answers, alias, ctx.models.pin(alias))


def with_outputs(one: Opponent, image: Pixels, ctx: Context) -> Opponent:
    """The same, with how its outputs are read; a model that a user brings is asked about a picture to find out."""
    own = ctx.models.get(one.alias)
    if is_own(own):
        own.ask(image)
    outputs = one.answers([image]).shape[1]
    names = [known_id or name for known_id, name in classes_of_outputs(own, ctx, outputs)]
    return one._replace(output_of=outputs_of(one.alias, own, ctx, (), outputs), names=names)


def check_opponents(generator: Generator, ctx: Context) -> None:
    """Raise RecipeError if a model that a generator uses can't be attacked so. Only a user's own are loaded."""
    where = f"{generator.component_name()}.adversaries"
    for use in generator.uses():
        role = ctx.models.role(use.alias)
        if role is None:  # a user's own
            opponent(use.alias, ctx, where, gradients=use.role is not None)
        elif use.role is None and role not in ("classifier", "adversary"):
            raise RecipeError(f"{where}: {cut(repr(use.alias))} isn't a classifier; name one, such as classifier")


def opponents(generator: Generator, image: Pixels, ctx: Context) -> Iterator[Opponent]:
    """The models that a generator uses, with how their outputs are read; the picture is as for `with_outputs`."""
    where = f"{generator.component_name()}.adversaries"
    for use in generator.uses():
        yield with_outputs(opponent(use.alias, ctx, where, gradients=use.role is not None), image, ctx)


def with_classes(ctx: Context) -> Context:
    """A context that has the classes of its source, if it has none."""
    return replace(ctx, classes=ctx.source.classes(ctx)) if ctx.source is not None and not ctx.classes else ctx
