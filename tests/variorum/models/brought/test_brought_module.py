"""Models from a Python file of the user's own."""

from __future__ import annotations

import hashlib
import sys
import textwrap
import types

import numpy as np
import pytest

from variorum.models.brought import find
from variorum.models.brought.module import makes_model
from variorum.models.brought.names import look_up
from variorum.schemas.errors import ModelFailed, ModelUnavailable, RecipeError

FILE = """
    import numpy as np

    calls = []

    class Bright:
        classes = ["dark", "bright"]
        preprocessing = "Mean of all values."
        revision = "weights 7"

        def __call__(self, images):
            return [[1 - image.mean() / 255, image.mean() / 255] for image in images]

    def load():
        calls.append(1)
        return Bright()

    def classify(images):
        return np.stack([[0.0, 1.0]] * len(images))

    ready = Bright()

    def breaks():
        return 1 / 0

    def nothing():
        return None

    def raises(images):
        raise ValueError("too dark")

    number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_models.py"
    path.write_text(textwrap.dedent(FILE))
    return path


@pytest.mark.parametrize("name", ["load", "ready", "Bright"])
def test_a_loader_an_object_and_a_class_give_the_model(file, pictures, name):
    model = find(f"module:{file}:{name}")
    means = [picture.mean() / 255 for picture in pictures]
    assert model(pictures)[:, 1] == pytest.approx(means, abs=1e-6)
    assert model.classes == ("dark", "bright")
    assert model.preprocessing == "Mean of all values."
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert model.revision == f"sha256:{sha256};weights 7"
    pin = look_up(f"module:{file}:{name}").pin
    assert pin == f"module:my_models.py:{name}@sha256:{sha256[:32]}+brought.1;weights 7"


def test_a_function_that_takes_pictures_is_the_model(file, pictures):
    model = find(f"module:{file}:classify")
    assert np.array_equal(model(pictures), [[0, 1]] * len(pictures))
    assert model.revision == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def test_a_file_is_imported_and_its_loader_called_once_for_each_content(file):
    name = f"module:{file}:load"
    find(name), find(name)
    (module,) = [one for key, one in sys.modules.items() if getattr(one, "__file__", None) == str(file)]
    assert module.calls == [1]
    before = look_up(name).pin
    file.write_text(file.read_text().replace("weights 7", "weights 8"))
    assert look_up(name).pin != before
    assert find(name).revision.endswith("weights 8")
    assert sys.modules[module.__name__] is not module


def test_the_rule_that_tells_a_loader_from_a_model():
    class Module:
        def __call__(self, *images):
            return images

    assert makes_model(Module)
    assert makes_model(lambda: 0)
    assert makes_model(lambda device="cpu": 0)
    assert not makes_model(Module())
    assert not makes_model(lambda images: 0)
    assert not makes_model(3)


def test_what_is_wrong_in_a_file_is_named_with_its_line(file, pictures, tmp_path):
    with pytest.raises(ModelUnavailable, match=rf"breaks\(\) raised ZeroDivisionError: division by zero \({file}:24\)"):
        find(f"module:{file}:breaks")
    with pytest.raises(ModelFailed, match=rf"raised ValueError: too dark on a batch of 7 pictures \({file}:30\)"):
        find(f"module:{file}:raises")(pictures)
    with pytest.raises(RecipeError, match="what nothing gave is of type NoneType; a model is a PyTorch, timm or"):
        find(f"module:{file}:nothing")
    with pytest.raises(RecipeError, match="number' is of type int; a model is"):
        find(f"module:{file}:number")
    with pytest.raises(RecipeError, match=r"has no 'lode'; it has: Bright, load, classify, ready"):
        find(f"module:{file}:lode")
    for name in (f"module:{file}", f"module:{file}:", "module:load", f"module:{file}:a.b"):
        with pytest.raises(RecipeError, match=r"give a Python file and a name in it: module:my_model\.py:load"):
            find(name)
    with pytest.raises(ModelUnavailable, match=r"no\.py doesn't exist"):
        find(f"module:{tmp_path / 'no.py'}:load")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", r"can't be imported: SyntaxError: .* \(.*broken\.py:1\)"),
        ("\nimport missing_package\n", r"ModuleNotFoundError: No module named 'missing_package' \(.*broken\.py:2\)"),
        ("raise SystemExit(2)", r"can't be imported: SystemExit: 2 \(.*broken\.py:1\)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(tmp_path, text, message):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ModelUnavailable, match=message):
        find(f"module:{tmp_path / 'broken.py'}:load")


def test_the_command_in_an_environment_beside_it_is_no_part_of_its_identity(tmp_path, monkeypatch):
    """Libraries that a file imports enter the running script under other names than `__main__`."""
    script = tmp_path / ".venv" / "bin" / "variorum"
    script.parent.mkdir(parents=True)
    script.write_text("# runs the command\n")
    running = types.ModuleType("__main__")
    running.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", running)
    text = "import sys\nsys.modules['__mp_main__'] = sys.modules['__main__']\nscores = lambda images: [[0.5, 0.5]]\n"
    (tmp_path / "mine.py").write_text(text)
    found = look_up(f"module:{tmp_path / 'mine.py'}:scores").pin
    assert hashlib.sha256(text.encode()).hexdigest()[:32] in found
    sys.modules.pop("__mp_main__", None)


def test_files_beside_it_are_imported_and_part_of_its_identity(tmp_path, pictures):
    """Two folders have helpers of the same name; an edit of a helper makes another model."""
    pins = {}
    for folder, first in (("one", 0), ("two", 1)):
        (tmp_path / folder / "parts").mkdir(parents=True)
        (tmp_path / folder / "parts" / "__init__.py").write_text(f"FIRST = {first}\n")
        (tmp_path / folder / "helpers.py").write_text(
            "import numpy as np\nfrom parts import FIRST\n\n\n"
            "def scores(images):\n    return np.eye(3)[[FIRST] * len(images)]\n"
        )
        model = tmp_path / folder / "mine.py"
        model.write_text("def load():\n    from helpers import scores\n\n    return scores\n")
        name = f"module:{model}:load"
        assert find(name)(pictures)[0].argmax() == first
        pins[folder] = look_up(name).pin
    assert pins["one"] != pins["two"]
    assert not {"helpers", "parts"} & set(sys.modules)
    assert str(tmp_path / "one") not in sys.path
    name = f"module:{tmp_path / 'one' / 'mine.py'}:load"
    assert look_up(name).pin == pins["one"]
    (tmp_path / "one" / "parts" / "__init__.py").write_text("FIRST = 2\n")
    assert look_up(name).pin != pins["one"]
    assert find(name)(pictures)[0].argmax() == 2
    assert list(tmp_path.rglob("__pycache__")) == []


def test_modules_of_the_folder_that_were_imported_before_stay(tmp_path, monkeypatch, pictures):
    (tmp_path / "helpers_of_mine.py").write_text("VALUE = 1\n")
    (tmp_path / "mine.py").write_text(
        "import helpers_of_mine\n\n\ndef scores(images):\n    return [[0.5, 0.5]] * len(images)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import helpers_of_mine

    helpers_of_mine.VALUE = 2
    find(f"module:{tmp_path / 'mine.py'}:scores")
    assert sys.modules["helpers_of_mine"] is helpers_of_mine
    assert helpers_of_mine.VALUE == 2
    monkeypatch.delitem(sys.modules, "helpers_of_mine")
