"""Numbers and paths that people give to calls."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import variorum as va
from variorum.api.arguments import from_here, path_of, share, whole_number
from variorum.api.progress import shown
from variorum.schemas.errors import RecipeError, SourceError, StoreError

MINE = {"dataset": "mine", "version": "2.0.0", "source": {"name": "image_folder", "path": "photos"}}


def test_integers_of_numpy_are_whole_numbers():
    assert whole_number("n", np.int64(3), 1, 3, RecipeError) == 3
    assert type(whole_number("n", np.uint8(3), 1, None, RecipeError)) is int


@pytest.mark.parametrize("value", [0, 4, -1, True, np.True_, 2.0, "2", None, [1], 10**30])
def test_what_is_no_whole_number_of_the_range(value):
    with pytest.raises(RecipeError, match="n: must be a whole number from 1 to 3, not "):
        whole_number("n", value, 1, 3, RecipeError)


def test_a_share_lies_between_0_and_1():
    assert share("n", np.float32(0.5), RecipeError) == 0.5


@pytest.mark.parametrize("value", [0, 1, -0.5, float("nan"), "0.5", None, True, 10**400])
def test_what_is_no_share(value):
    with pytest.raises(RecipeError, match=r"n is .*; it must lie between 0 and 1"):
        share("n", value, RecipeError)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("to", "~/a.html") == path_of("to", Path("~/a.html")) == tmp_path / "a.html"


@pytest.mark.parametrize("value", [None, 3, b"a", "", "a\0b", ["a"]])
def test_what_is_no_path(value):
    with pytest.raises(StoreError, match=r"^to: "):
        path_of("to", value)


def test_a_path_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert from_here(str(tmp_path / "a" / "b")) == "a/b"
    assert from_here("/elsewhere/a") == ""
    assert from_here("s3://bucket/a") == ""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert from_here(str(gone / "a")) == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: va.run(MINE, workers=2.0), "workers: must be a whole number"),
        (lambda: va.plan(MINE, limit="3"), "limit: must be a whole number"),
        (lambda: va.plan(""), "a recipe has an empty name"),
        (lambda: va.plan(MINE, store="a\0"), "null character"),
        (lambda: va.open("mine", "memory://[1]*/s"), r"store memory://\[1\]\*/s: no folder or URL"),
        (lambda: va.view("mine", most=2.5), "most: must be a whole number"),
        (lambda: va.view("mine", to=3), "to: give a path"),
        (lambda: va.view("mine", to=f"{'a' * 300}.html", progress=False), "File name too long"),
        (lambda: va.verify("mine", digest=3), "digest: give it as text"),
        (lambda: va.components(["curate"]), r"no part \['curate'\]"),
        (lambda: va.open("mine").show(2.0), "rows: must be a whole number of at least 1"),
        (lambda: va.open("mine").show(1).save(None), "path: give a path"),
        (lambda: va.open("mine").table(3), "columns: give a list of names, not int"),
        (lambda: va.open("mine").table(ledger=None), "ledger: must be a whole number"),
        (lambda: va.open("mine")["\udcff" * 6], "no picture with an id"),
        (lambda: va.open("m" * 5000), "^no edition 'm{199}…"),
        (lambda: va.leaderboard("mine", 3), "files: give a path"),
        (lambda: va.leaderboard("mine", ["photos", None]), "files: give a path"),
        (lambda: va.leaderboard("mine", confidence="x"), "leaderboard: confidence is 'x'"),
        (lambda: va.evaluate("mine", "classifier", classes=3, save=False), "classes: give a list or a file"),
        (lambda: va.curate(""), "curate: pictures: '' can't be a path"),
    ],
)
def test_what_no_call_takes_is_one_line(shared, call, message):
    with pytest.raises((RecipeError, SourceError, StoreError, va.errors.VariorumError)) as error:
        call()
    assert re.search(message, str(error.value))
    assert "\n" not in str(error.value)


def test_numbers_of_numpy_are_taken(shared, tmp_path):
    assert va.plan(MINE, limit=np.int64(3)).samples == 3
    assert va.open("mine").show(np.int64(1)).image.size
    assert va.view("mine", to=tmp_path / "a.html", most=np.int64(2), progress=False).pictures == 2
    assert va.open("mine").table(ledger=np.int64(1)).num_columns > va.open("mine").table().num_columns


def test_a_process_without_standard_error_has_no_bars(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with shown() as bars:
        bars.start("reading", 2)
        bars.advance(2)
