"""Python objects as models: a function from a list of pictures to their scores, or a network of a library."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from variorum.models.brought.copies import Copies
from variorum.models.brought.detector import BroughtDetector, label_names, looks_of
from variorum.models.brought.model import BATCH, BroughtModel
from variorum.models.brought.networks import is_network, state_digest
from variorum.models.brought.objects import adapted, is_model, no_model
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Pixels

IMAGENET = 1000
SEES_WHOLE = "Values x / 255 of the whole picture; the network itself does the rest."
OWN = "Not described: the function gets RGB pictures as they are stored."


class OnCopies:
    """Calls a function with a copy of every picture, so that it may write into its input."""

    def __init__(self, function: Callable[[list[Pixels]], Any]) -> None:
        self.function = function
        self._copies = Copies()

    def __call__(self, images: Sequence[Pixels]) -> Any:
        """Call the function."""
        copies, buffers = self._copies.make(images)
        answer = self.function(copies)
        del copies
        self._copies.take_back(buffers)
        return answer


def from_function(
    function: Any,
    *,
    name: str = "",
    classes: Sequence[str | int] | None = None,
    preprocessing: str = "",
    revision: str = "",
    batch: int = BATCH,
    file: str = "",
    preprocess: Any = None,
) -> BroughtModel:
    """A brought model of a function or a network.

    Args:
        function: from a list of RGB uint8 pictures `[H, W, 3]`, of any sizes, to logits or probabilities `[N, K]`. It
            gets copies that it may write into. It runs as it is: on its own device, with gradients if it wants them.
            Or an object of a library, as `adapted` takes it: a network, or a classifier with `predict_proba`. Its
            attribute `embed`, if there is one, is a function from the same pictures to embeddings `[N, d]`. With an
            attribute `finds` it is a detector, see `variorum/models/brought/detector.py`.
        name: for tables and cards; by default the function's own name.
        classes: of its outputs, in their order: wnids, names, or indices. By default its attribute `classes`; without
            them a function of 1000 outputs is taken to be in ImageNet's order.
        preprocessing: a sentence for the card; by default its attribute `preprocessing`, or a network's own steps.
        revision: identifies this version of it; by default its attribute `revision`. Without one, figures
            are never reused. A network's weights and preprocessing become part of it.
        batch: pictures per call at most.
        file: where it is defined, if errors are to name that file's lines.
        preprocess: see `adapted`; by default a network's own. A function then gets one array of prepared pictures.

    Raises:
        RecipeError: it can't be called, or an argument or attribute is invalid.
        ModelUnavailable: a network can't be copied, or doesn't fit into the GPU's memory.
    """
    if not is_model(function) or inspect.isclass(function):
        raise no_model(f"model {cut(name)!r}" if name else "the model", function)
    name = name or str(getattr(function, "__qualname__", type(function).__qualname__))
    if not name.isprintable() or len(name) > 500:
        raise RecipeError(f"the name of a model must be one line of text: {cut(repr(name))}")
    finds = label_names(function, name)
    network = None if finds else adapted(function, name, preprocess)

    def said(what: str, kind: type | tuple[type, ...]) -> Any:
        """An attribute; a network's attributes of other kinds mean something else."""
        found = getattr(function, what, None)
        return found if network is None or isinstance(found, kind) else None

    names = checked_classes(classes if classes is not None else said("classes", (list, tuple)), name)
    texts = {
        "preprocessing": preprocessing or (network.told if network else said("preprocessing", str) or OWN),
        "revision": revision or said("revision", str) or "",
    }
    for what, text in texts.items():
        if not isinstance(text, str) or not text.isprintable():
            raise RecipeError(f"model {name!r}: its {what} must be one line of text, not {cut(repr(text))}")
    if batch < 1:
        raise RecipeError(f"model {name!r}: batch must be 1 or more, not {batch}")
    own = texts["revision"]
    if finds and preprocess is not None:
        raise RecipeError(f"model {name!r} is a detector, which prepares its pictures itself; leave preprocess out")
    if finds:
        found, told, kind = OnCopies(function), texts["preprocessing"], ""
        if is_network(function):
            kind = "detection network"
            found, told = looks_of(function, name), SEES_WHOLE  # type: ignore[assignment]
            own += f"{',' if ';' in own else ';'}as:{state_digest(function)[:12]}" if own else ""
        return BroughtDetector(name, own, finds, told, found, len(finds), batch, file, kind=kind)
    if network is None:
        embed = getattr(function, "embed", None)
        if embed is not None and not callable(embed):
            raise RecipeError(f"model {name!r}: its embed must be a function from pictures to embeddings [N, d]")
        embed = embed and OnCopies(embed)
        return BroughtModel(
            name, own, names, texts["preprocessing"], OnCopies(function), len(names), batch, file, embed=embed
        )
    names = names or checked_classes(network.classes, name)
    own += f"{',' if ';' in own else ';'}as:{network.identity}" if own else ""
    return BroughtModel(
        *(name, own, names, texts["preprocessing"], network.scores, len(names), batch, file),
        kind=network.kind,
        embed=network.embed,
    )


def checked_classes(classes: object, name: str) -> tuple[str, ...]:
    """Classes as text. Raises RecipeError if they aren't a sequence of names or indices.

    Names may repeat only in a list of a thousand, as some of ImageNet's have `crane` twice.
    """
    if classes is None:
        return ()
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise RecipeError(f"model {name!r}: its classes must be a list of names, not {cut(repr(classes))}")
    if wrong := [one for one in classes if isinstance(one, bool) or not isinstance(one, str | int) or one == ""]:
        raise RecipeError(f"model {name!r}: its classes must be names or indices, not {cut(repr(wrong[0]))}")
    names = tuple(str(one) for one in classes)
    if len(set(names)) < len(names) != IMAGENET:
        twice = next(one for one in names if names.count(one) > 1)
        raise RecipeError(f"model {name!r}: two of its classes are named {cut(twice)!r}; rename one")
    return names
