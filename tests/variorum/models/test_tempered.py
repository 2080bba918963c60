"""A model at a temperature: one in words, or one fitted on a folder."""

import shutil

import numpy as np
import pytest
from PIL import Image

from variorum.models import ModelTable
from variorum.models.brought import from_function
from variorum.models.gradients import adversary
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist
from variorum.statistics import best_temperature

pytestmark = pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's package dataset-fashion-mnist isn't installed")


@pytest.fixture(scope="module")
def clothes():
    ctx = Context(0, ModelTable("embedded"), lambda key, compute: compute())
    return list(FashionMnist(part="test", per_class=6).read(0, 60, ctx))


@pytest.fixture
def folder(clothes, tmp_path):
    for number, one in enumerate(clothes):
        (tmp_path / "fit" / one.labels[0]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(one.image).save(tmp_path / "fit" / one.labels[0] / f"{number}.png")
    return tmp_path / "fit"


def test_no_answer_changes_only_how_sure_it_is(clothes):
    table, images = ModelTable("embedded"), [one.image for one in clothes[:12]]
    bare, soft = (table.get(name)(images) for name in ("judge", "judge + tempered t=2"))
    root = np.sqrt(bare)
    np.testing.assert_allclose(soft, root / root.sum(axis=1, keepdims=True), rtol=1e-4)
    assert (soft.argmax(axis=1) == bare.argmax(axis=1)).all()
    name = "judge + tempered t=2"
    network = adversary(name, table.get(table.steering(name)))
    np.testing.assert_allclose(network.answers(images), soft, atol=1e-6)
    assert "temperature 2." in table.get(name).preprocessing


def test_a_temperature_is_fitted_on_a_folder_whose_content_is_part_of_the_pin(clothes, folder):
    name = f"judge + tempered from={folder}"
    table, judge = ModelTable("embedded"), ModelTable("embedded").get("judge")
    logp = np.log(np.maximum(judge([one.image for one in clothes]).astype(float), 1e-30))
    label = logp[np.arange(60), [judge.classes.index(one.labels[0]) for one in clothes]]
    assert f"temperature {best_temperature(logp, label):.4g} fitted on fit." in table.get(name).preprocessing
    pin = table.pin(name)
    next(folder.glob("*/*.png")).unlink()
    assert ModelTable("embedded").pin(name) != pin
    assert str(folder) not in pin


def test_outputs_without_classes_are_not_taken_for_imagenets(folder):
    (folder / "ankle_boot").rename(folder / "n02123045")
    net = from_function(lambda images: [[0.1] * 10] * len(images), name="net", revision="1")
    for one in folder.iterdir():
        if one.name != "n02123045":
            shutil.rmtree(one)
    with pytest.raises(RecipeError, match="folder 'n02123045' is no class of net"):
        ModelTable("embedded").with_models({"net": net}).get(f"net + tempered from={folder}")


def test_what_cannot_be_fitted_is_an_error(folder, tmp_path):
    def load(words):
        return ModelTable("embedded").get(f"judge + tempered {words}".strip())

    for words in ("", f"t=2 from={folder}"):
        with pytest.raises(RecipeError, match="give one of t=NUMBER and from=FOLDER"):
            load(words)
    with pytest.raises(RecipeError, match=r"greater than or equal to 0.05"):
        load("t=0.01")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match="from=empty has no pictures"):
        load(f"from={tmp_path / 'empty'}")
    (folder / "bag" / "notes.txt").write_text("no picture")
    with pytest.raises(RecipeError, match="a file in 'bag' is no picture"):
        load(f"from={folder}")
    (folder / "a_sofa").mkdir()
    (folder / "a_sofa" / "x.png").write_bytes(next(folder.glob("bag/*.png")).read_bytes())
    with pytest.raises(RecipeError, match="folder 'a_sofa' is no class of judge"):
        load(f"from={folder}")
