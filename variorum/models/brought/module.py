"""`module:FILE.py:NAME`: a model that a Python file of the user's own makes.

A function or class NAME that can be called without arguments is called once and returns the model. Anything else is the
model itself: a function that takes pictures, a network or another object, or a pair of a network and its preprocessing
as `adapted` takes it. The file is imported, so its code runs; name only files that you trust. It may import files
beside it. Its content and theirs are the model's identity, and so are the weights of a PyTorch network; what else
decides the output goes into an attribute `revision` of the model.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from variorum.models.brought.failures import LIBRARIES, OURS, own_line
from variorum.models.brought.found import Found
from variorum.models.brought.function import from_function
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.networks import is_network
from variorum.models.brought.objects import is_model, no_model
from variorum.models.brought.places import local
from variorum.schemas.errors import ModelUnavailable, RecipeError, VariorumError
from variorum.schemas.lookup import cut


@dataclass(slots=True)
class Made:
    """An object that was made, and what it was made from: the file, then those beside it that it imports."""

    made: Any
    files: tuple[Path, ...]
    sha256: str
    preprocess: Any = None
    model: BroughtModel | None = None


_LOADED: dict[tuple[Path, str], Made] = {}
_LOCK = threading.RLock()


def find(name: str, rest: str, *, fetch: bool) -> Found:
    """Resolve a name after `module:`. The model is made now, as only it knows its revision.

    Raises:
        RecipeError: that isn't FILE.py:NAME, or the file has no such name.
        ModelUnavailable: the file doesn't exist, can't be imported, or its function raised.
    """
    made = _held(name, rest)
    if made.model is None:
        made.model = _brought(name, made, made.preprocess)
    path, model = made.files[0], made.model
    label = f"module:{path.name}:{rest.rpartition(':')[2]}"
    return Found(name, label, model.revision, str(path), path, lambda: model)


def prepared(name: str, preprocess: Any) -> BroughtModel:
    """The model of a whole name with another preprocessing than its own, see `adapted`. Raises what `find` raises."""
    return _brought(name, _held(name, name.partition(":")[2]), preprocess)


def _brought(name: str, made: Made, preprocess: Any) -> BroughtModel:
    own = str(getattr(made.made, "revision", "") or "")
    revision = f"sha256:{made.sha256}" + (f";{own}" if own else "")
    return from_function(made.made, name=name, revision=revision, file=str(made.files[0]), preprocess=preprocess)


def unmade(name: str) -> BroughtModel:
    """What stands for the model of a whole name in a plan, which runs no file and asks nothing. Raises as `find`."""
    path, _ = _place(name, name.partition(":")[2])
    return BroughtModel(name, "", (), "", lambda images: None, file=str(path))


def _place(name: str, rest: str) -> tuple[Path, str]:
    """The file of a name, and the name in it."""
    file, _, attribute = rest.rpartition(":")
    if not file.endswith(".py") or not attribute.isidentifier():
        raise RecipeError(f"model {name!r}: give a Python file and a name in it: module:my_model.py:load")
    return local(file, name, "file"), attribute


def _held(name: str, rest: str) -> Made:
    """The object of a name, made once for each content of its files."""
    path, attribute = _place(name, rest)
    with _LOCK:
        made = _LOADED.get((path, name))
        if made is None or made.sha256 != _hash(made.files, name):
            made = _LOADED[path, name] = _made(name, path, attribute)
    return made


def _hash(files: Sequence[Path], name: str) -> str:
    """sha256 of a file; of several, also of their names."""
    try:
        contents = [file.read_bytes() for file in files]
    except OSError as error:
        raise ModelUnavailable(f"model {name!r}: {error.filename} can't be read: {error.strerror}") from None
    found = [hashlib.sha256(content).hexdigest() for content in contents]
    if len(found) == 1:
        return found[0]
    folder = files[0].parent
    listed = [f"{file.relative_to(folder).as_posix()} {one}" for file, one in zip(files, found, strict=True)]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _made(name: str, path: Path, attribute: str) -> Made:
    before = _hash([path], name)
    with _imports_beside(path) as beside:
        module = _imported(name, path)
        model, preprocess = _model_of(name, path, module, attribute)
    files = (path, *beside)
    sha256 = _hash(files, name)
    if _hash([path], name) != before:
        raise ModelUnavailable(f"model {name!r}: {path} changed while it was imported; run the same command again")
    return Made(model, files, sha256, preprocess)


def _model_of(name: str, path: Path, module: ModuleType, attribute: str) -> tuple[Any, Any]:
    """The object of a name, and the preprocessing that it comes with, if it does."""
    if not hasattr(module, attribute):
        there = ", ".join(key for key, value in vars(module).items() if callable(value) and key[0] != "_") or "nothing"
        raise RecipeError(f"model {name!r}: {path} has no {attribute!r}; it has: {there}")
    model = getattr(module, attribute)
    if makes := makes_model(model):
        try:
            model = model()
        except VariorumError:
            raise
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {cut(str(error))}".rstrip(": ")
            raise ModelUnavailable(
                f"model {name!r}: {attribute}() raised {said}{own_line(error, str(path))}"
            ) from error
    preprocess = None
    if isinstance(model, tuple) and len(model) == 2 and is_model(model[0]):
        model, preprocess = model
    if is_network(model) and model.training:
        model.eval()  # it is nobody else's, so no copy is needed
    if not is_model(model):
        raise no_model(f"model {name!r}: what {attribute} gave" if makes else f"model {name!r}", model)
    return model, preprocess


@contextmanager
def _imports_beside(path: Path) -> Iterator[list[Path]]:
    """Let a file import others in its folder; the list has those that it imported, when the block ends.

    Their modules are forgotten then, so that files of the same name beside another model are others.
    """
    folder, found = path.parent, list[Path]()
    held = {name: module for name, module in _modules_in(folder).items() if module.__file__ != str(path)}
    for name in held:
        del sys.modules[name]
    importlib.invalidate_caches()
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # code compiled a second ago may be another file's
    sys.path.insert(0, str(folder))
    try:
        yield found
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = written
        new = {name: Path(str(module.__file__)) for name, module in _modules_in(folder).items()}
        beside = {name: file for name, file in new.items() if file != path}
        for name in beside:
            del sys.modules[name]
        sys.modules.update(held)
        found += sorted(set(beside.values()))


def _modules_in(folder: Path) -> dict[str, ModuleType]:
    """Imported modules whose file lies in a folder, without those of packages that are installed there."""
    apart = (OURS, *LIBRARIES)
    main = getattr(sys.modules["__main__"], "__file__", None)  # libraries also enter it under other names
    return {
        name: module
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None))
        and file != main
        and Path(file).is_relative_to(folder)
        and not file.startswith(apart)
        and "site-packages" not in file
    }


def makes_model(value: Any) -> bool:
    """Return whether a value is a function or class that can be called without arguments."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return False
    try:
        inspect.signature(value).bind()
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return False
    return True


def _imported(name: str, path: Path) -> ModuleType:
    """The file as a module."""
    place = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"variorum_model_{place}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up annotations
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {cut(str(error))}".rstrip(": ")
        raise ModelUnavailable(
            f"model {name!r}: {path} can't be imported: {said}{own_line(error, str(path))}"
        ) from error
    return module
