"""NudeNet's detector of parts on harmless pictures, and that nothing shipped asks for it."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.models import ModelTable
from variorum.models.loaders.nude_parts import NUDE_PARTS, square
from variorum.models.table_entries import Entry
from variorum.models.weights import locate
from variorum.schemas.errors import ModelUnavailable
from variorum.schemas.uses import optional_models, required_models
from variorum.stages.recipe_files import load_recipe, shipped_recipes


@pytest.fixture(scope="module")
def finder(table):
    if table.status("nude_parts").state != "ready":
        pytest.skip("run `variorum doctor nude_parts --fetch`; the weights are under AGPL-3.0")
    return table.get("nude_parts")


@pytest.fixture(scope="module")
def astronaut():
    from skimage import data

    return data.astronaut()


def test_a_face_is_found_where_it_is(finder, astronaut):
    (found,) = finder([astronaut])
    assert found.names[0] == "FACE_FEMALE"
    assert found.scores[0] > 0.6
    left, top, right, bottom = found.boxes[0]
    assert left < 224 < right  # the middle of the face
    assert top < 120 < bottom
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_parts_stay_inside_and_depend_on_their_picture_alone(finder, astronaut, cat):
    pictures = [astronaut, cat, astronaut[:90, :400], np.zeros((5, 700, 3), np.uint8)]
    together = finder(pictures)
    for image, found in zip(pictures, together, strict=True):
        (alone,) = finder([image])
        assert alone.names == found.names
        assert np.array_equal(alone.boxes, found.boxes)
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [image.shape[1], image.shape[0]] * 2).all()
    assert finder([]) == []


def test_a_long_picture_takes_little_memory_and_is_seen_as_a_whole():
    image = np.full((200, 30_000, 3), 255, np.uint8)
    seen = square(image)
    assert seen.shape == (3, 320, 320)
    assert (seen[:, 0] > 0).all()
    assert (seen[:, 3:] == 0).all()
    wide = square(np.full((400, 800, 3), 255, np.uint8))
    assert (wide[:, :160] == 1).all()
    assert (wide[:, 161:] == 0).all()


def test_another_network_is_refused(table):
    entry = Entry(name="other", loader="nude_parts", licence="none", source="somewhere")
    with pytest.raises(ModelUnavailable, match="isn't a YOLOv8 detector"):
        NUDE_PARTS.load(entry, locate(table.entry("segmenter"), table.cache), {})


@pytest.mark.parametrize("profile", ["embedded", "hub"])
def test_no_shipped_recipe_asks_for_a_model_under_the_agpl(profile):
    models = ModelTable(profile)
    asked = {
        alias
        for name in shipped_recipes()
        for component in load_recipe(name).components()
        for alias in (*required_models(component), *optional_models(component))
        if alias in models.aliases()
    }
    assert "classifier" in asked
    assert not [alias for alias in asked if "AGPL" in models.entry(alias).licence]
