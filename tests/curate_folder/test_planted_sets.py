"""The sets with planted faults that `benchmarks/curate_folder_planted.py` judges by, and its figures."""

import csv
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from planted_parts.judge import Outcome, Truth, left_with, ranking
from planted_parts.sets import SETS, Shares, write


def made(folder: Path, seed: int = 0):
    shares = Shares(any=0.1, pair=0.05, instance=0.05, copies=0.03, foreign=0.04, blurred=0.02)
    write("tiles", replace(SETS["tiles"], shares=shares), seed, folder)
    with (folder / "truth.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_set_is_the_same_for_the_same_seed(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    one, other, third = (made(folder, seed) for folder, seed in zip(folders, (5, 5, 6), strict=True))
    files = [{row["path"]: (folder / "photos" / row["path"]).read_bytes() for row in one} for folder in folders[:2]]
    assert one == other != third
    assert files[0] == files[1]


def test_faults_are_planted_as_said(tmp_path):
    rows = made(tmp_path)
    by_path = {row["path"]: row for row in rows}
    found = sorted(path.relative_to(tmp_path / "photos").as_posix() for path in (tmp_path / "photos").rglob("*.*"))
    assert found == sorted(by_path)
    own = [row for row in rows if row["kind"] not in ("copy", "foreign")]
    shares = {kind: many / len(own) for kind, many in Counter(row["kind"] for row in rows).items() if kind}
    wanted = {"flip_any": 0.1, "flip_pair": 0.05, "flip_instance": 0.05, "copy": 0.03, "foreign": 0.04, "blurred": 0.02}
    assert shares == pytest.approx(wanted, abs=0.002)
    for row in rows:
        assert row["path"].startswith(row["given"] + "/")
        assert row["kind"].startswith("flip") == (row["true"] not in ("", row["given"]))
        assert (row["kind"] == "foreign") == (row["true"] == "")
        assert (row["kind"] == "copy") == bool(row["copy_of"])
    for row in rows:
        if row["copy_of"]:
            copy, original = (cv2.imread(str(tmp_path / "photos" / row[name])) for name in ("path", "copy_of"))
            assert by_path[row["copy_of"]]["kind"] == ""
            assert row["given"] == by_path[row["copy_of"]]["given"]
            original = cv2.resize(original, copy.shape[1::-1], interpolation=cv2.INTER_AREA)
            assert np.abs(copy.astype(float) - original).mean() < 12


def toy() -> Truth:
    """Ten pictures: two wrong labels (0, 1), one foreign (2), a copy (3) of a picture (4), a blurred one (5)."""
    kind = np.array(["flip_any", "flip_pair", "foreign", "copy", "", "blurred", "", "", "", ""])
    true = np.array([1, 1, -1, 0, 0, 0, 0, 0, 0, 0])
    return Truth(np.zeros(10, np.int64), true, kind, np.where(kind == "copy", 4, -1))


def test_what_a_user_is_left_with():
    new = np.full(10, -1)
    new[[0, 6]] = 1  # one right, one clean picture harmed
    dropped = np.zeros(10, bool)
    dropped[4] = True  # the original goes, the copy stays
    queue = np.array([7, 5, 2, 1])
    figures = left_with(toy(), Outcome(dropped, new, queue), Outcome(dropped, new, queue[:2]))
    assert figures["asked"] == 0.4
    assert figures["clean_asked"] == 0.25
    assert (
        figures["flips_found"] == figures["foreign_found"] == figures["copies_found"] == figures["blurred_found"] == 1
    )
    assert (figures["relabelled"], figures["relabelled_right"], figures["clean_harmed"]) == (2, 1, 1)
    assert figures["found_in_budget"] == pytest.approx(1 / 3)
    assert figures["precision_at_planted"] == pytest.approx(1 / 3)  # of 0, 6 and 7


def test_a_wrong_new_label_finds_nothing():
    truth = toy()
    new = np.where(np.arange(10) == 0, 2, -1)
    figures = left_with(truth, *[Outcome(np.zeros(10, bool), new, np.zeros(0, np.int64))] * 2)
    assert figures["flips_found"] == figures["found_in_budget"] == 0
    assert (figures["relabelled"], figures["relabelled_right"], figures["clean_harmed"]) == (1, 0, 0)


def test_rankings_leave_out_copies_and_blur():
    score = np.array([9, 8, np.nan, 99, 98, 97, 7, 6, 5, 4], float)
    figures = ranking(toy(), score)
    assert figures["precision_at_planted"] == pytest.approx(2 / 3)
    assert figures["ap"] == pytest.approx((1 + 1 + 3 / 7) / 3)
    assert ranking(replace(toy(), kind=np.full(10, "")), score) == {"ap": None, "precision_at_planted": None}
