"""`import variorum`: its names, its cost, and the examples in the documentation of its functions."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from more_photographs import three_of_each

import variorum as va
from variorum import pipeline, schemas

EXAMPLES = sorted({f"variorum.{place}" for name, place in va._WHERE.items() if name != "errors"})


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_loads_nothing_else():
    loaded = "import sys; before = set(sys.modules); import variorum; print(*sorted(set(sys.modules) - before))"
    found = {name.partition(".")[0] for name in python(loaded).split()}
    assert found - {"variorum"} <= sys.stdlib_module_names
    assert "variorum.schemas" not in python(loaded).split()


def test_opening_loads_no_model_library():
    heavy = (
        "import sys, variorum; variorum.open; print(*{'torch', 'matplotlib', 'datasets', 'prefect'} & set(sys.modules))"
    )
    assert python(heavy) == ""


def test_every_name_is_there_and_documented():
    for name in va.__all__:
        assert getattr(va, name).__doc__, name
    assert {name for name in dir(va) if not name.startswith("_")} == set(va.__all__)
    assert va.errors.VariorumError is importlib.import_module("variorum.schemas.errors").VariorumError


def test_a_name_is_looked_up_once():
    code = "import variorum; variorum.Edition; print('Edition' in vars(variorum))"
    assert python(code) == "True"


def test_modules_keep_their_names():
    assert pipeline.__name__ == "variorum.pipeline"
    assert schemas.__name__ == "variorum.schemas"
    assert callable(va.run)
    assert python("import variorum.pipeline, variorum.evaluation, variorum as va; print(va.evaluation.__name__)") == (
        "variorum.evaluation"
    )


def test_a_misspelt_name_gets_the_right_one():
    with pytest.raises(AttributeError, match="no attribute 'opne'; did you mean 'open'"):
        _ = va.opne
    with pytest.raises(AttributeError, match=r"no attribute 'xyzzy'$"):
        _ = va.xyzzy
    assert not hasattr(va, "__wrapped__")


def thirty_photographs() -> None:
    """Make street@1.0.0: a report takes as many."""
    three_of_each(Path("photos"), Path("street"))
    va.run(dataset="street", version="1.0.0", source={"name": "image_folder", "path": "street"}, progress=False)


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_of_the_documentation(module, here):
    if module == "variorum.api.report":
        thirty_photographs()
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


def test_every_function_has_an_example():
    functions = [getattr(va, name) for name in va.__all__ if name not in ("Edition", "errors")]
    assert len(functions) == 11
    assert [one for one in functions if ">>> " not in one.__doc__] == []
