"""`module:FILE.py:NAME`: a model that a Python file of the user's own makes.

A function or class NAME that can be called without arguments is called once and returns the model. Anything else is the
model itself: a function that takes pictures, or an object. The file is imported, so its code runs; name only files that
you trust. It must stand alone, as its content is the model's identity: what else decides the output, such as weights
that it reads, goes into an attribute `revision` of the model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import threading
from pathlib import Path
from typing import Any

from variorum.models.brought.failures import own_line
from variorum.models.brought.found import Found
from variorum.models.brought.function import from_function
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.places import local
from variorum.schemas.errors import ModelUnavailable, RecipeError, VariorumError
from variorum.schemas.lookup import cut

_LOADED: dict[tuple[Path, str, str], BroughtModel] = {}
_LOCK = threading.RLock()


def find(name: str, rest: str, *, fetch: bool) -> Found:
    """What a name after `module:` stands for. The model is made now, as only it knows its revision.

    Raises:
        RecipeError: that isn't FILE.py:NAME, or the file has no such name.
        ModelUnavailable: the file doesn't exist, can't be imported, or its function raised.
    """
    file, _, attribute = rest.rpartition(":")
    if not file.endswith(".py") or not attribute.isidentifier():
        raise RecipeError(f"model {name!r}: give a Python file and a name in it: module:my_model.py:load")
    path = local(file, name, "file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(f"model {name!r}: {path} can't be read: {error.strerror}") from None
    sha256 = hashlib.sha256(content).hexdigest()
    with _LOCK:
        if (key := (path, sha256, name)) not in _LOADED:
            _LOADED[key] = _made(name, path, attribute, sha256)
        model = _LOADED[key]
    return Found(name, f"module:{path.name}:{attribute}", model.revision, str(path), path, lambda: model)


def _made(name: str, path: Path, attribute: str, sha256: str) -> BroughtModel:
    module = _imported(name, path, sha256)
    if not hasattr(module, attribute):
        there = ", ".join(key for key, value in vars(module).items() if callable(value) and key[0] != "_") or "nothing"
        raise RecipeError(f"model {name!r}: {path} has no {attribute!r}; what can be called there: {there}")
    model = getattr(module, attribute)
    if makes_model(model):
        try:
            model = model()
        except VariorumError:
            raise
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {cut(str(error))}".rstrip(": ")
            raise ModelUnavailable(
                f"model {name!r}: {attribute}() raised {said}{own_line(error, str(path))}"
            ) from error
    if not callable(model):
        raise ModelUnavailable(
            f"model {name!r}: {attribute} gave {type(model).__name__}; it must return something that is called with "
            "pictures"
        )
    own = str(getattr(model, "revision", "") or "")
    revision = f"sha256:{sha256}" + (f";{own}" if own else "")
    return from_function(model, name=name, revision=revision, file=str(path))


def makes_model(value: Any) -> bool:
    """Whether a value is a function or class that can be called without arguments."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return False
    try:
        inspect.signature(value).bind()
    except TypeError:
        return False
    except ValueError:  # a builtin that doesn't say
        return False
    return True


def _imported(name: str, path: Path, sha256: str) -> Any:
    """The file's module, imported once for each content."""
    place = hashlib.sha256(f"{path}\0{sha256}".encode()).hexdigest()[:12]
    key = f"variorum_model_{place}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module  # where dataclasses look up annotations
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[key]
        beside = isinstance(error, ModuleNotFoundError) and (path.parent / f"{(error.name or '').partition('.')[0]}.py")
        if beside and beside.is_file():
            raise ModelUnavailable(
                f"model {name!r}: {path.name} imports {beside.name} beside it, but its own content is the model's "
                "identity: move the code into it, or make an installed package of both"
            ) from error
        said = f"{type(error).__name__}: {cut(str(error))}".rstrip(": ")
        raise ModelUnavailable(
            f"model {name!r}: {path} can't be imported: {said}{own_line(error, str(path))}"
        ) from error
    except BaseException:
        del sys.modules[key]
        raise
    return module
