"""Panels of an edition with a content warning, and questions whose pictures are veiled: what the server sends."""

import io

import numpy as np
import pytest
from annotated_set import ANNOTATED
from PIL import Image
from served_panels import Browser, application, make_panel

from variorum.edition.store import Store
from variorum.people.panel.kinds import ASKED, VEILED
from variorum.pipeline import Job, build
from variorum.schemas.recipe import Recipe

WARNING = "Some pictures show spiders."


@pytest.fixture(scope="module")
def panels(tmp_path_factory):
    """By whether the edition has a warning, a browser that has joined its panel; the settings don't ask for blur."""
    folder, found = tmp_path_factory.mktemp("warned"), {}
    for warning in ("", WARNING):
        recipe = {
            "dataset": "shapes",
            "version": "1.0.0",
            "masters": "original",
            "source": {**ANNOTATED, "pictures": 4},
            **({"warning": warning} if warning else {}),
        }
        store = Store(str(folder / f"store{bool(warning)}"))
        panel = make_panel(build(Job(Recipe.parse(recipe), store)), store, "main", kinds=("label", "safe"))
        found[bool(warning)] = Browser(application(panel), "ann")
    return found


def picture(browser, address: str) -> Image.Image:
    answer = browser.get(address)
    assert answer.status_code == 200
    return Image.open(io.BytesIO(answer.content)).convert("RGB")


def edges(image: Image.Image) -> float:
    """Mean difference of neighbours."""
    return float(np.abs(np.diff(np.asarray(image, float), axis=1)).mean())


def test_kinds_that_are_veiled_are_known():
    assert {"safe"} <= VEILED
    assert {name for name in VEILED if name not in ASKED} <= {"unsafe"}


@pytest.mark.parametrize("warned", [False, True])
def test_the_page_learns_what_is_veiled(panels, warned):
    panel = panels[warned].get("/api/me").json()["panel"]
    assert panel["blur"] is warned
    assert panel["warning"] == (WARNING if warned else "")
    assert {kind: one["veiled"] for kind, one in panel["kinds"].items()} == {"label": warned, "safe": True}


def test_who_joins_is_warned_before(panels):
    stranger = Browser(panels[True].client.app)
    answer = stranger.get("/api/me")
    assert (answer.status_code, answer.json()["warning"]) == (401, WARNING)


@pytest.mark.parametrize("warned", [False, True])
def test_every_picture_has_a_blurred_version_of_the_same_size(panels, warned):
    browser = panels[warned]
    for task in browser.next(mode="grid", number=8):
        about = task["picture"]
        small, hidden = picture(browser, about["thumbnail"]), picture(browser, about["blurred"])
        assert small.size == hidden.size
        assert edges(hidden) < edges(small) / 2
        mean = [np.asarray(image, float).mean(axis=(0, 1)) for image in (small, hidden)]
        assert np.abs(mean[0] - mean[1]).max() < 6  # its colours stay


def test_a_blurred_picture_is_kept_only_under_its_own_hash_and_shown_to_nobody_else(panels):
    browser = panels[True]
    about = browser.next(mode="grid", number=1)[0]["picture"]
    assert "immutable" in browser.get(about["blurred"]).headers["cache-control"]
    assert browser.get(about["blurred"].partition("?")[0]).headers["cache-control"] == "no-store"
    assert browser.get(f"/blurred/{about['id']}?v=0").status_code == 404
    assert Browser(browser.client.app).get(about["blurred"]).status_code == 401
