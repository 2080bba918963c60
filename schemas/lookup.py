"""Finding a component by the name that a recipe gives it.

Three places are searched: this project's folders, installed packages that declare the entry-point group
`variorum.components`, and, for a name that ends in `.py`, that file. A name that stands for two components is an error.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import math
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, PlainSerializer, ValidationError, ValidationInfo

from variorum.schemas.component import (
    ClassInfo,
    Component,
    Context,
    Decider,
    Detector,
    Evaluation,
    Generator,
    Models,
    Source,
    place_of,
    stored_secrets,
)
from variorum.schemas.errors import RecipeError, StoredSettings
from variorum.schemas.errors import cut as cut
from variorum.schemas.more import hook_names, warning_of
from variorum.schemas.secrets import remember
from variorum.schemas.uses import all_models, uses_of

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

GROUP = "variorum.components"
"""Entry-point group of plugin packages: `frost = "acme.frost"`, where the module's last part is the name."""
OWN = "variorum"
"""Origin of this project's own components."""
MOST_LINES = 20
"""Problems of one component that an error lists."""
SECRET = "holds a password or a token, but is stored with the edition; use an environment variable"  # noqa: S105 - a message
"""What is said of a field that may not hold a secret."""
WORDS = re.compile(r"[\w ,!&()©®™-]{0,200}")
"""A text that can be no path, address, module, loader or defence, as all of them have other signs or are one word."""
BARE = re.compile(r"\w{1,200}")
"""A model's alias in a table."""
PLACES = "files, modules, addresses, loaders and defences of models aren't taken from what is stored with an edition"
DIGEST = re.compile("[0-9a-f]{64}")
_STORED: ContextVar[bool] = ContextVar("stored", default=False)
"""Whether the component that is being built, with all that it holds, comes from stored settings."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A part of a recipe and the components that it takes.

    Attributes:
        package: where this project's own lie, one file each.
        classes: base classes.
        noun: what people call one.
        hooks: methods of which each must override one at least.
    """

    package: str
    classes: tuple[type[Component], ...]
    noun: str
    hooks: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "source": Kind("variorum.sources", (Source,), "source", ("read",)),
    "generate": Kind("variorum.generators", (Generator,), "generator", ("edit", "generate")),
    "curate": Kind("variorum.curation", (Detector, Decider), "detector or decider", ("measure", "score", "decide")),
    "evaluate": Kind("variorum.evaluation", (Evaluation,), "evaluation", ("measure",)),
}
"""By the recipe's key."""


@cache
def kinds() -> Mapping[str, Kind]:
    """`KINDS`, and those that things bring: `KINDS` in the `__init__.py` of a folder right below one of a kind.

    Fields of components hold these, such as the marks of the generator `watermark`.
    """
    brought = (getattr(plate, "KINDS", {}) for kind in KINDS.values() for plate in _plates(kind.package))
    return {**KINDS, **{part: kind for some in brought for part, kind in some.items()}}


@dataclass(frozen=True, slots=True)
class Found:
    """An installed module that may hold a component: where it comes from, and its import."""

    origin: str
    load: Callable[[], ModuleType]

    def fits(self, part: str) -> bool:
        """Return whether it holds a component of this part; a module that can't be imported doesn't."""
        try:
            return self.origin == OWN or bool(_components(part, self.load()))
        except Exception:  # a broken plugin is named when a recipe asks for it, and by `variorum components`
            return False


def component_names(part: str) -> list[str]:
    """Names of the installed components that a part of a recipe takes, plugins included."""
    return sorted(name for name, found in _installed(part).items() if any(one.fits(part) for one in found))


def component_origin(part: str, name: str) -> str:
    """Where an installed component comes from: `variorum`, or a package with its version."""
    return " and ".join(one.origin for one in _installed(part)[name] if one.fits(part))


def names_file(given: str) -> bool:
    """Return whether a "name or file" of a command line or a recipe is a file: it has an ending, or a folder before it.

    Anything else is the name of what is shipped, whatever lies in the current folder, which may be somebody else's.
    """
    return bool(Path(given).suffix or os.sep in given or given in (".", ".."))


def or_file(given: str) -> str:
    """The end of an error about a name that isn't shipped, for a file of that name in the current folder."""
    return f"; for the file here write ./{cut(given)}" if os.path.lexists(given) else ""


def own_code() -> list[tuple[str, str]]:
    """The Python files of the user's that this process has run, for a plan: a component's, or one with a model."""
    loaded = [module for name, module in sys.modules.items() if name.startswith(("variorum_file_", "variorum_model_"))]
    files = sorted({os.path.relpath(module.__file__) for module in loaded if module.__file__})
    return [("runs", f"{', '.join(files)}: code that doesn't come with Variorum")] if files else []


def component_class(part: str, name: str) -> type[Component]:
    """The component of this name.

    Args:
        part: a key of `kinds`.
        name: as the recipe has it, or the path of a Python file.

    Raises:
        RecipeError: there is none, there are two, or the module doesn't define exactly one.
    """
    if name.endswith(".py"):
        return _from_file(part, Path(name).expanduser().absolute())
    kind, found = kinds()[part], _installed(part).get(name, [])
    if len(found) > 1:
        found = [one for one in found if one.fits(part)]
    if not found:
        known, name = ", ".join(component_names(part)) or "none", cut(name)
        raise RecipeError(
            f"no {kind.noun} named {name!r}; there are: {known}. For a file of your own give its path: ./{name}.py"
        )
    if len(found) > 1:
        raise RecipeError(
            f"two {kind.noun}s are named {name!r}: from {' and from '.join(one.origin for one in found)}; "
            "rename one, or uninstall its package"
        )
    (one,) = found
    module = one.load() if one.origin == OWN else _imported(one.load, f"{name!r} from {one.origin}", name)
    return _only_component(part, module, name)


def build_component(part: str, config: Mapping[str, Any], where: str) -> Component:
    """A component from its entry in a recipe. `where` is the path in the recipe that errors name.

    Raises:
        RecipeError: naming each wrong field, with the fields that there are.
    """
    fields = dict(config)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(f"{where}: needs a name; there are: {', '.join(component_names(part)) or 'none'}")
    stored = _STORED.get()
    if stored and DIGEST.fullmatch(str(fields.get("file"))):  # of an identity
        raise RecipeError(f"{where}: the {kinds()[part].noun} {name!r} is from a file of your own, {name}.py")
    try:
        cls = stored_class(part, name) if stored else component_class(part, name)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error.__cause__
    if wrong := [key for key in fields if not isinstance(key, str)]:
        raise RecipeError(f"{where}: {wrong[0]!r} is no field's name; put it in quotes if it is meant as text")
    if stored:
        _check_stored(cls, fields, where)
    remember(fields)
    try:
        component = cls(**fields)
    except ValidationError as error:
        raise RecipeError(explain(error, where, cls)) from None
    except RecipeError as error:  # of a component that a field holds
        raise RecipeError(f"{where}.{error}") from error.__cause__
    if odd := _not_finite(component.config(), where):  # in options that a field holds
        raise RecipeError(odd)
    if secret := stored_secrets(component):
        raise RecipeError(f"{where}.{secret[0]}: {SECRET}")
    try:
        uses_of(component)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    needed: object = component.needs() if isinstance(component, Detector | Decider) else ()
    if isinstance(needed, str):
        raise RecipeError(f"{where}: needs of {cls.__name__} must return a tuple of names: ({needed!r},)")
    return component


def stored_class(part: str, name: str) -> type[Component]:
    """The installed component of a name that something stored gives. Raises RecipeError for one of a file, or none."""
    if not name.isidentifier():
        raise RecipeError(f"name: {cut(repr(name))} is no {kinds()[part].noun} that is installed; {PLACES}")
    return component_class(part, name)


def stored_component(
    part: str, settings: object, where: str, way_out: str, models: Models, own: Iterable[Component] = ()
) -> Component:
    """A component from settings that anybody may have written: those in a record, a ledger, a manifest, a file.

    Nothing stored names code, a file or a place. A component is one that is installed, its texts are plain words or the
    defaults of their fields, and its models are aliases of the reader's table. Fields that hold paths, and sources, are
    refused whatever they say.

    Args:
        part: a key of `kinds`.
        settings: its identity, as it was stored.
        where: what holds them, for errors.
        way_out: what the reader can do, for errors.
        models: the reader's table.
        own: components of the reader's own recipe; one with these very settings is taken as it is.

    Raises:
        StoredSettings: it can't be had from these.
    """
    if not isinstance(settings, Mapping):
        raise StoredSettings(f"{where}: these are no settings of a component; {way_out}")
    if found := next((one for one in own if one.identity() == settings), None):
        return found
    stored = _STORED.set(True)
    try:
        component = build_component(part, settings, where)
        for alias in all_models(component):
            if not BARE.fullmatch(alias) or _is_brought(alias, models):
                raise RecipeError(f"{where}: asks for the model {cut(repr(alias))}, no alias of your table; {PLACES}")
    except RecipeError as error:
        raise StoredSettings(f"{error}; {way_out}") from error.__cause__
    finally:
        _STORED.reset(stored)
    return component


def _is_brought(alias: str, models: Models) -> bool:
    with suppress(RecipeError):  # no such alias, which is said where the model is needed
        return models.role(alias) is None
    return False


def _check_stored(cls: type[Component], fields: Mapping[str, Any], where: str) -> None:
    """Raise RecipeError if stored settings give a component of this class a file, a module or another place."""
    if issubclass(cls, Source):
        raise RecipeError(f"{where}: {cls.component_name()} is a source; {PLACES}")
    for name, value in fields.items():
        if name not in cls.model_fields or value is None:
            continue
        kind = cls.model_fields[name].annotation
        odd = value if name in cls.location or _holds_path(kind) else next(_odd(value), None)
        if odd is not None and value != cls.model_construct().model_dump(mode="json").get(name):
            raise RecipeError(f"{where}.{name}: {cut(repr(odd))} is more than plain words; {PLACES}")


def _holds_path(kind: Any) -> bool:
    """Return whether a field of this type can hold a path."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, Component):
        return any(_holds_path(info.annotation) for info in kind.model_fields.values())
    return (isinstance(kind, type) and issubclass(kind, Path)) or any(map(_holds_path, get_args(kind)))


def _odd(value: object) -> Iterator[object]:
    """What is neither a number nor plain words in a value, in its keys too."""
    if isinstance(value, Mapping | list | tuple):
        for one in (*value, *value.values()) if isinstance(value, Mapping) else value:
            yield from _odd(one)
    elif not (value is None or isinstance(value, int | float) or (isinstance(value, str) and WORDS.fullmatch(value))):
        yield value


def _not_finite(value: object, where: str) -> str:
    """A line on the first number in a value that is infinite or not a number; `""` if there is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where}: input should be a finite number (got {value})"
    named = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    return next((found for name, one in named if (found := _not_finite(one, f"{where}.{name}"))), "")


@dataclass(frozen=True, slots=True)
class Nested:
    """Lets a field hold a component, given as a mapping with a name: `Annotated[Mark, Nested("marks")]`.

    Attributes:
        part: a key of `kinds`.
    """

    part: str

    def __get_pydantic_core_schema__(self, base: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        built = Annotated[base, BeforeValidator(self._built), PlainSerializer(lambda held: held.config())]
        return handler.generate_schema(built)

    def _built(self, value: Any, info: ValidationInfo) -> Any:
        where = info.field_name or self.part
        return build_component(self.part, value, where) if isinstance(value, Mapping) else value


NestedSource = Annotated[Source, Nested("source")]
"""Type of a field that holds a source of its own, given as a mapping with a name like a recipe's source."""


class Derived(Source):
    """Pictures of another source, with what that says of them."""

    of: NestedSource
    """The other source: a mapping with its name and fields."""

    def size(self, ctx: Context) -> int:
        """Size of the other source."""
        return self.of.size(ctx)

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """Classes of the other source."""
        return self.of.classes(ctx)

    def captioned(self, ctx: Context) -> bool:
        """As the other source."""
        return self.of.captioned(ctx)

    def annotated(self, ctx: Context) -> bool:
        """As the other source."""
        return self.of.annotated(ctx)

    def warning(self, ctx: Context) -> str:
        """The other source's content warning."""
        return warning_of(self.of, ctx)

    def place(self) -> str:
        """The place of the other source."""
        return place_of(self, ["of"])


def explain(error: ValidationError, where: str, cls: type[BaseModel]) -> str:
    """A pydantic error as one line per problem: path, what is wrong, and for an unknown field the valid ones."""
    lines = []
    for problem in error.errors():
        path = ".".join([where, *(cut(str(part)) for part in problem["loc"])]).lstrip(".")
        line = f"{path}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
        if problem["type"] == "extra_forbidden":
            line = f"{path}: no such field; there are: {', '.join(cls.model_fields) or 'none'}"
        elif problem["type"] == "missing":
            line = f"{path}: missing; give it a value"
        else:
            line += f" (got {cut(repr(problem['input']))})"
        lines.append(line)
    more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return "\n".join([*lines[:MOST_LINES], *more])


@cache
def _installed(part: str) -> dict[str, list[Found]]:
    """By name, this project's components of a part and all plugins, whose part shows when they are imported."""
    package = kinds()[part].package
    found: dict[str, list[Found]] = {}
    for name in _own_modules(package):
        found.setdefault(name.rpartition(".")[2], []).append(Found(OWN, partial(importlib.import_module, name)))
    for point in _entry_points():
        found.setdefault(point.name, []).append(Found(_package(point), partial(_module, point)))
    return found


def _own_modules(package: str) -> Iterator[str]:
    """Modules of a package, and those that the `COMPONENTS` of a folder right below it name."""
    here = importlib.import_module(package).__path__
    yield from (f"{package}.{one.name}" for one in pkgutil.iter_modules(here) if not one.ispkg)
    for plate in _plates(package):
        yield from (f"{plate.__name__}.{name}" for name in getattr(plate, "COMPONENTS", ()))


def _plates(package: str) -> Iterator[ModuleType]:
    """The `__init__.py` of each folder right below a package, imported."""
    for one in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if one.ispkg:
            yield importlib.import_module(f"{package}.{one.name}")


@cache
def _entry_points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _module(point: EntryPoint) -> ModuleType:
    if point.module.rpartition(".")[2] != point.name:
        raise RecipeError(
            f"entry point {point.name} = {point.value!r} of {_package(point)}: both names must be the same, as a "
            f"component's name is its module's; rename the entry point, or the module to {point.name}"
        )
    return importlib.import_module(point.module)


def broken_plugins() -> Iterator[tuple[str, str]]:
    """Entry points that can't be used, each with the reason."""
    for point in _entry_points():
        try:
            module = _module(point)
        except Exception as error:
            yield f"{point.name} from {_package(point)}", f"{type(error).__name__}: {error}"
            continue
        if not any(_components(part, module) for part in kinds()):
            yield f"{point.name} from {_package(point)}", "defines no component"


def _from_file(part: str, path: Path) -> type[Component]:
    try:
        if path.exists() and not path.is_file():
            raise RecipeError(f"{path}: no regular file; the name ends in .py, so it must be a Python file")
        content = path.read_bytes()
    except OSError as error:
        where = cut(str(path))
        raise RecipeError(
            f"{where}: {error.strerror}; a name that ends in .py is the path of a Python file, relative to the recipe"
        ) from None
    if not path.stem.isidentifier():
        raise RecipeError(f"{path}: the file's name becomes the component's, so it must be letters, digits and _")
    sha256 = hashlib.sha256(content).hexdigest()
    module = _imported(lambda: _file_module(path, sha256), str(path), path.stem)
    cls = _only_component(part, module, path.stem)
    cls._own_file, cls._own_sha256 = path, sha256
    return cls


def _file_module(path: Path, sha256: str) -> ModuleType:
    """The file's module, imported once for each content."""
    place = hashlib.sha256(f"{path}\0{sha256}".encode()).hexdigest()[:12]
    name = f"variorum_file_{place}.{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # pydantic resolves annotations there
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
            if missing == name.partition(".")[0] or (missing and (path.parent / f"{missing}.py").is_file()):
                raise RecipeError(
                    f"{path} imports a file beside it; a file named by path must stand alone, as its content is its "
                    "identity: move the code into it, or make a package of both"
                ) from error
            raise
    return sys.modules[name]


def _imported(load: Callable[[], ModuleType], what: str, name: str) -> ModuleType:
    """A module of somebody else's; whatever is wrong in it is one line that names the place."""
    try:
        return load()
    except RecipeError:
        raise
    except (Exception, SystemExit) as error:  # a module that exits must not end the command
        said = str(error).strip().partition("\n")[0]
        raise RecipeError(f"{what} can't be imported: {type(error).__name__}: {said}{_line(error, name)}") from error


def _line(error: BaseException, name: str) -> str:
    """The last line of the component's own file that an error came through, or the line that raised it."""
    if isinstance(error, SyntaxError):
        return ""  # its text names the line
    frames = traceback.extract_tb(error.__traceback__)
    found = [frame for frame in frames if Path(frame.filename).stem == name] or frames
    return f" ({found[-1].filename}, line {found[-1].lineno})" if found else ""


def _components(part: str, module: ModuleType) -> list[type[Component]]:
    """The components of this part that a module defines itself."""
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, kinds()[part].classes) and item.__module__ == module.__name__
    ]


def _only_component(part: str, module: ModuleType, name: str) -> type[Component]:
    kind, found = kinds()[part], _components(part, module)
    where = module.__file__ or module.__name__
    if not found:
        others = [(key, cls.__name__) for key in kinds() for cls in _components(key, module)]
        goes = f"; {others[0][1]} goes under `{others[0][0]}`" if others else ""
        way_out = goes or f": its class must inherit {' or '.join(cls.__name__ for cls in kind.classes)}"
        raise RecipeError(f"{where} defines no {kind.noun}{way_out}")
    if len(found) > 1:
        listed = ", ".join(cls.__name__ for cls in found)
        raise RecipeError(f"{where} defines {len(found)} {kind.noun}s: {listed}; keep one per file")
    (cls,) = found
    _check_class_variables(cls, name)
    bases = [base for base in cls.__mro__ if base in kind.classes]
    hooks = [hook for hook in kind.hooks if any(hasattr(base, hook) for base in bases)]
    overridden = [hook for hook in hooks if not any(getattr(cls, hook) is getattr(base, hook, None) for base in bases)]
    missing = sorted(getattr(cls, "__abstractmethods__", ())) if inspect.isabstract(cls) else []
    if missing or not overridden:
        wanted = " and ".join(f"`{hook}`" for hook in missing) or " or ".join(f"`{hook}`" for hook in hooks)
        raise RecipeError(f"{name}: {cls.__name__} must define {wanted}")
    return cls


def _check_class_variables(cls: type[Component], name: str) -> None:
    """Raise RecipeError for a class variable that became a field, and for `late` or `location` naming no field."""
    reserved = {variable for base in cls.__mro__[1:] for variable in vars(base).get("__class_vars__", ())}
    if shadowing := sorted(reserved & set(cls.model_fields)):
        raise RecipeError(f"{name}: `{shadowing[0]}` of {cls.__name__} must be annotated as ClassVar; it is no field")
    if taken := sorted(hook_names(cls) & set(cls.model_fields)):
        said = f"`{taken[0]}` of {cls.__name__} has the name of a hook"
        raise RecipeError(f"{name}: {said}; give the field another name, or annotate it as ClassVar if it is the hook")
    for variable in ("late", "location"):
        names: Collection[str] = getattr(cls, variable, ())
        wrong = [names] if isinstance(names, str) else sorted(set(names) - set(cls.model_fields))
        if wrong:
            fields = ", ".join(cls.model_fields) or "none"
            raise RecipeError(f"{name}: `{variable}` must be a set of fields, not {wrong[0]!r}; there are: {fields}")
