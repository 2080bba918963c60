"""The table of known answers, the public picture, and the notes of confirmed answers."""

from __future__ import annotations

import pytest
from PIL import Image

from variorum.models import ModelTable, known_answers
from variorum.models.known_answers import answered, note_answered, public_picture
from variorum.schemas.errors import ModelUnavailable


def save(path, size=(640, 480), level=0):
    Image.new("RGB", size, (level, 90, 90)).save(path)
    return path


def test_the_known_answers_are_those_of_the_tables_weights():
    table = ModelTable("hub")
    known = known_answers.known_answers()
    pins = {alias: table.pin(alias) for alias in ("classifier", "classifier_small", "encoder")}
    assert {alias: known.of(pin).of for alias, pin in pins.items()} == {
        "classifier": "logits",
        "classifier_small": "logits",
        "encoder": "embedding",
    }
    assert known.of(pins["classifier"].replace("@git:3", "@git:4")) is None


def test_the_public_picture_is_the_one_that_was_used_first(tmp_path):
    first = save(tmp_path / "one.png")
    assert public_picture(tmp_path, first).shape == (480, 640, 3)
    with pytest.raises(ModelUnavailable, match="isn't the picture"):
        public_picture(tmp_path, save(tmp_path / "other.png", level=5))
    with pytest.raises(ModelUnavailable, match="640 × 480"):
        public_picture(tmp_path, save(tmp_path / "small.png", (64, 48)))
    with pytest.raises(ModelUnavailable, match="--picture"):
        public_picture(tmp_path)


def test_an_answer_is_confirmed_for_a_pin_and_the_libraries(tmp_path, monkeypatch):
    note_answered("model@sha256:1+loader.1", tmp_path)
    assert answered("model@sha256:1+loader.1", tmp_path)
    assert not answered("model@sha256:1+loader.2", tmp_path)
    monkeypatch.setattr(known_answers, "library_versions", lambda: {"torch": "99"})
    assert not answered("model@sha256:1+loader.1", tmp_path)
