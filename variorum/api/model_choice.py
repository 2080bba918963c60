"""The models that a call is given: names, functions, or both; and the classes of their outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

from variorum.api.arguments import path_of
from variorum.models.brought import BroughtModel, find, from_function, is_brought
from variorum.models.brought.module import prepared, unmade
from variorum.models.brought.objects import is_model, no_model
from variorum.models.defended import entry_of
from variorum.models.loaders import JOINED, split, with_bare
from variorum.reports.result_files import read_file
from variorum.schemas.canonical import digest
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import cut

NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029<>|`]{1,200}")
"""Names that a function may have."""
NOTE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{0,1000}")
LONGEST = 1_000
"""Characters of a class."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models of a call.

    Attributes:
        names: of all of them, in the order in which they were given.
        brought: by name, those that the table of models can't find by itself.
        uncached: names of those whose answers aren't kept, because they may differ next time.
        revisions: of the functions, as given; `""` for none.
        unmade: names of those that a plan knows nothing about, as it doesn't run the file of a `module:` name.
    """

    names: tuple[str, ...]
    brought: Mapping[str, BroughtModel]
    uncached: tuple[str, ...]
    revisions: Mapping[str, str]
    unmade: tuple[str, ...] = ()


def chosen_models(
    model: Any,
    *,
    classes: tuple[str, ...] = (),
    name: str | None = None,
    revision: str = "",
    preprocessing: str = "",
    preprocess: Any = None,
    defences: Sequence[str] = (),
    call: str = "evaluate",
    plan: bool = False,
) -> ModelChoice:
    """The models that a call was given.

    Args:
        model: a name, a function or network, a list of these, or functions or networks (or names) by name.
        classes: of the outputs of those that are no alias; empty to ask each model itself.
        name: of the only function.
        revision: of the only function.
        preprocessing: of the functions, as a sentence.
        preprocess: what becomes of a picture before the model gets it, in words or as a function, see
            `variorum.models.brought.objects.adapted`; by default each model's own. Beside networks, functions and
            `module:` names, models of other kinds keep theirs.
        defences: in words, such as `crossmax with=judge_gate k=2`: each model stands bare and behind each of them.
        call: what begins an error: the function that was called.
        plan: whether the models are only planned with, so that no file of a `module:` name runs.

    Raises:
        RecipeError: `model` is none of these, has a name twice, or a name or revision is given for several models;
            or the preprocessing isn't understood, or is given for a model that has its own.
    """
    pairs = _named(model, name, call)
    if not pairs:
        raise RecipeError(f"{call}: no model is given; name one, such as timm:resnet50.a1_in1k, or give a function")
    functions = [one for _, one in pairs if not isinstance(one, str)]
    if revision and len(functions) != 1:
        raise RecipeError(f"{call}: revision is that of one function, but {len(functions)} are given")
    for what, text in (("revision", revision), ("preprocessing", preprocessing)):
        if not isinstance(text, str) or not NOTE.fullmatch(text):
            raise RecipeError(f"{call}: {what} must be a text of up to 1000 characters, without line breaks")
    names = [called for called, _ in pairs]
    if twice := next((called for called in names if names.count(called) > 1), None):
        raise RecipeError(
            f"{call}: model {cut(twice)!r} is given twice; give functions of the same name as a mapping from "
            f"name to function"
        )
    names, inside = _behind(names, defences)
    given = dict(pairs)
    pairs = [(name, given.get(name, name)) for name in dict.fromkeys([*names, *inside]) if not split(name)[1]]
    brought: dict[str, BroughtModel] = {}
    adapts = any(not isinstance(one, str) or one.startswith("module:") for _, one in pairs)
    named = any(not isinstance(one, str) or is_brought(one) for _, one in pairs)
    for called, one in pairs:
        if not isinstance(one, str):
            model = from_function(
                one, name=called, revision=revision, preprocessing=preprocessing, preprocess=preprocess
            )
            brought[called] = with_classes(model, classes) if classes else model
        elif preprocess is not None and one.startswith("module:") and not isinstance(preprocess, str):
            raise RecipeError(
                f"{call}: model {cut(one)!r} is given by name and its answers are kept, so preprocess must be in "
                "words; give the network itself, or let the file return a pair of the network and the function"
            )
        elif preprocess is not None and not adapts:
            raise RecipeError(
                f"{call}: model {cut(one)!r} has preprocessing of its own; leave preprocess out for it, or bring the "
                "network itself as module:FILE.py:NAME"
            )
        elif classes and not named:
            raise RecipeError(f"{call}: alias {cut(one)!r} has classes of its own; leave classes out for it")
        elif plan and one.startswith("module:"):
            brought[called] = with_classes(unmade(one), classes) if classes else unmade(one)
        elif (classes and is_brought(one)) or (preprocess is not None and one.startswith("module:")):
            prepare = preprocess is not None and one.startswith("module:")
            model = prepared(one, preprocess) if prepare else find(one)
            brought[called] = with_classes(model, classes) if classes else model
    revisions = {called: brought[called].revision for called, one in pairs if not isinstance(one, str)}
    unrun = {called for called, one in pairs if plan and isinstance(one, str) and one.startswith("module:")}
    uncached = _with({called for called, own in revisions.items() if not own} | unrun, names)
    return ModelChoice(tuple(names), brought, uncached, revisions, _with(unrun, names))


def _with(some: Set[str], names: Sequence[str]) -> tuple[str, ...]:
    """Those names that are among some models, or use one of them."""
    return tuple(name for name in names if not some.isdisjoint([name, *_used(name)]))


def _behind(names: Sequence[str], defences: Sequence[str]) -> tuple[list[str], list[str]]:
    """All models of a call, bare ones before defended ones; and those that defences use.

    A model isn't put behind a defence that uses it.
    """
    words = (" ".join(one.split()) for one in defences)
    inside = {one: entry_of("", one, None).uses for one in words}  # which says what isn't understood
    behind = {name: [f"{name}{JOINED}{one}" for one, used in inside.items() if name not in used] for name in names}
    every = list(with_bare(one for name in names for one in (name, *behind[name])))
    return every, [used for name in every for used in _used(name)]


def _used(name: str) -> Iterator[str]:
    """The models that a defended model uses, and those that they use."""
    model, words = split(name)
    for used in entry_of(model, words, None).uses if words else ():
        yield used
        yield from _used(used)


def with_classes(model: BroughtModel, classes: tuple[str, ...]) -> BroughtModel:
    """The model with other classes, which are part of its revision, if it has one.

    Raises:
        RecipeError: it is known to have another number of outputs.
    """
    if model.outputs and model.outputs != len(classes):
        raise RecipeError(
            f"model {cut(model.name)!r} has {model.outputs} outputs, and {len(classes)} classes are given for them; "
            f"give one for each output, in their order"
        )
    told = f"classes:{digest(list(classes))[:12]}"
    revision = f"{model.revision}{',' if ';' in model.revision else ';'}{told}" if model.revision else ""
    return replace(model, classes=classes, outputs=len(classes), revision=revision)


def _named(model: Any, name: str | None, call: str) -> list[tuple[str, Any]]:
    """Each model with what it is called."""
    if isinstance(model, Mapping):
        if model and all(type(one).__name__ in ("Tensor", "Parameter") for one in model.values()):
            raise no_model(f"{call}: the model", model)
        if name is not None:
            raise RecipeError(f"{call}: name is for one function; in a mapping the keys are the names")
        pairs = list(model.items())
    else:
        listed = list(model) if isinstance(model, list | tuple) else [model]
        if name is not None and (len(listed) != 1 or isinstance(listed[0], str)):
            raise RecipeError(f"{call}: name is for one function; give several as a mapping from name to function")
        pairs = [(one if isinstance(one, str) else name or _own_name(one), one) for one in listed]
    for called, one in pairs:
        if not isinstance(called, str) or not NAME.fullmatch(called):
            raise RecipeError(
                f"{call}: a model can't be called {cut(repr(called))}; use up to 200 characters without < > | `"
            )
        if not isinstance(one, str) and not is_model(one):
            raise no_model(f"{call}: model {cut(called)!r}", one)
        if isinstance(one, str) and one != called:
            raise RecipeError(f"{call}: {cut(one)!r} can't become {cut(called)!r}; models by name keep their names")
    return pairs


def _own_name(function: Callable[..., Any]) -> str:
    """A function's own name, or its class's."""
    found = getattr(function, "__name__", None) or type(function).__name__
    return "function" if found == "<lambda>" else str(found)


def read_classes(given: Sequence[str] | str | PathLike[str] | None) -> tuple[str, ...]:
    """Classes of a model's outputs from a list or a file: one per line, or a JSON list.

    Raises:
        SourceError: the file can't be read, or has something else.
    """
    if given is None:
        return ()
    if isinstance(given, str | PathLike):
        path = path_of("classes", given)
        where = cut(str(path))
        if not path.exists():
            raise SourceError(f"classes: no file {where}; it has one class per line, in the order of the outputs")
        try:
            text = read_file(path).decode("utf-8-sig")
            found = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
        except UnicodeDecodeError:
            raise SourceError(f"classes: {where} isn't text in UTF-8") from None
        except (ValueError, RecursionError):
            raise SourceError(f"classes: {where} begins with [ but isn't a JSON list") from None
        while isinstance(found, list) and found and found[-1] == "":
            found.pop()
    elif not isinstance(given, Iterable) or isinstance(given, Set):
        raise SourceError(f"classes: give a list or a file, not {type(given).__name__}")
    else:
        where, found = "the list", list(given)
    found = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in found]
    if not found:
        raise SourceError(f"classes: {where} is empty; give one class per output, in their order")
    for place, one in enumerate(found):
        if not isinstance(one, str) or not one.strip() or len(one) > LONGEST:
            raise SourceError(
                f"classes: entry {place} of {where} is {cut(ascii(one))}; each must be a wnid, an id or a name"
            )
    return tuple(one.strip() for one in found)
