"""Models from a Python file of the user's own."""

from __future__ import annotations

import hashlib
import textwrap

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
    import sys

    name = f"module:{file}:load"
    find(name), find(name)
    (module,) = [one for key, one in sys.modules.items() if getattr(one, "__file__", None) == str(file)]
    assert module.calls == [1]
    before = look_up(name).pin
    file.write_text(file.read_text().replace("weights 7", "weights 8"))
    assert look_up(name).pin != before
    assert find(name).revision.endswith("weights 8")


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
    with pytest.raises(ModelUnavailable, match="nothing gave NoneType; it must return something that is called with"):
        find(f"module:{file}:nothing")
    with pytest.raises(ModelUnavailable, match="number gave int"):
        find(f"module:{file}:number")
    with pytest.raises(RecipeError, match=r"has no 'lode'; what can be called there: Bright, load, classify, ready"):
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
        ("import helpers", r"broken\.py imports helpers\.py beside it, but its own content is the model's identity"),
        ("raise SystemExit(2)", r"can't be imported: SystemExit: 2 \(.*broken\.py:1\)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(tmp_path, text, message):
    (tmp_path / "helpers.py").write_text("")
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ModelUnavailable, match=message):
        find(f"module:{tmp_path / 'broken.py'}:load")
