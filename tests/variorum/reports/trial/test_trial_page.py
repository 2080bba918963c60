"""The page of a trial: what it says, what it escapes, and how it fits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from variorum.reports.trial.document import FILE, Line, Trial, read_trial, write_trial
from variorum.reports.trial.page import page, sheets, write_page
from variorum.schemas.errors import RecipeError

EVIL = "<img src=x onerror=alert(1)>\u202e"


def example(folder):
    """A trial with a model, a recipe with a sheet, and names that want to be markup."""
    (folder / "sheets").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "sheets" / "imagenet_e.png")
    lines = [
        Line(check="machine", subject="libraries", state="pass", said="torch 2.13"),
        Line(check="load", subject="detector_grounded, detector_gate", state="pass", said="0.9 GB", seconds=61),
        Line(check="answer", subject="detector_grounded, detector_gate", state="fail", said=EVIL),
        Line(check="sweep", subject="detector_grounded, detector_gate", state="skipped", said="no GPU"),
        Line(check="photographs", subject="imagenet_e", state="pass", figures={"sheet": "sheets/imagenet_e.png"}),
        Line(check="photographs", subject="other", state="pass", figures={"sheet": "../../secret.png"}),
    ]
    return Trial(profile="hub", machine=EVIL, command=f"variorum doctor --try --out '{EVIL}'", lines=tuple(lines))


def test_all_that_comes_from_elsewhere_is_escaped(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"")
    found = example(tmp_path / "a" / "b")
    shown = sheets(found, tmp_path / "a" / "b")
    assert list(shown) == ["imagenet_e"]
    assert len(shown["imagenet_e"]) <= 400_000
    text = page(found, shown)
    assert "<img src=x" not in text
    assert "\u202e" not in text
    assert text.count("<img ") == 1
    assert "<script" not in text
    assert "script-src" in text
    assert "<b>4</b> passed" in text
    assert "<b>1</b> failed" in text
    assert "<b>1</b> skipped" in text


def test_a_record_is_read_back_and_a_foreign_file_refused(tmp_path):
    found = example(tmp_path)
    write_trial(found, tmp_path)
    assert read_trial(tmp_path) == found
    assert read_trial(tmp_path / "nowhere") is None
    (tmp_path / FILE).write_text('{"format": 2}')
    with pytest.raises(RecipeError, match="--out"):
        read_trial(tmp_path)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_and_runs_nothing(browser, tmp_path, width):
    path = write_page(example(tmp_path), tmp_path)
    shown = browser.new_page(viewport={"width": width, "height": 800})
    complaints = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    shown.goto(path.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    shown.get_by_text("detector_grounded").last.click()
    assert shown.get_by_text("no GPU").is_visible()
    assert shown.get_by_role("img", name="failed").count() >= 1
    assert not complaints
