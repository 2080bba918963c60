"""Files of results: the same bytes each time, and nothing believed that a stranger's file says."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from answering import by_warmth, constant, edition, forged, other_answers
from hypothesis import given, settings
from hypothesis import strategies as st

import variorum as va
from variorum.api.edition import Edition
from variorum.api.leaderboard import method_of
from variorum.edition.records import parse
from variorum.edition.store import Store
from variorum.evaluation.classifiers.pictures import pictures_of
from variorum.evaluation.classifiers.ranking import edition_name, leaderboard_of
from variorum.reports.leaderboard import leaderboard_page
from variorum.reports.result_files import LARGEST, parse_result, read_file, result_files
from variorum.reports.results import ModelFacts, digest_of, packed, slug, unpacked
from variorum.reports.standing import Leaderboard, to_markdown
from variorum.schemas.errors import SourceError


@pytest.fixture(scope="module")
def shots(photos, tmp_path_factory) -> Edition:
    store = str(tmp_path_factory.mktemp("shots"))
    return Edition(edition(photos, store), Store(store, writable=False))


@pytest.fixture(scope="module")
def results(shots):
    return va.evaluate(shots, {"warm": by_warmth, "cat": constant(1)}, progress=False, save=False)


@pytest.fixture(scope="module")
def data(results) -> bytes:
    return results.files["warm"].to_bytes()


def left_out(shots, tmp_path, content: bytes) -> str:
    """Why a file isn't in the leaderboard."""
    file = tmp_path / "theirs.json"
    file.write_bytes(content)
    (why,) = va.leaderboard(shots, [file]).left_out.values()
    return why


@given(st.lists(st.booleans(), max_size=70))
def test_bits_survive_the_way(bits):
    found = unpacked(packed(np.array(bits, bool)), len(bits))
    assert found.tolist() == bits


@pytest.mark.parametrize(
    ("text", "number", "said"),
    [("AA==", 9, "1 bytes where 9"), ("AAA=", 8, "2 bytes"), ("AQ==", 7, "after the last"), ("A", 8, "base64")],
)
def test_bits_that_do_not_fit(text, number, said):
    with pytest.raises(ValueError, match=said):
        unpacked(text, number)


def test_a_file_has_the_same_bytes_each_time_and_says_nothing_of_its_place(shots, data, tmp_path):
    again = va.evaluate(shots, {"warm": by_warmth}, progress=False, save=False)
    assert again.files["warm"].to_bytes() == data
    text = data.decode()
    assert str(shots.store.root) not in text
    assert os.uname().nodename not in text or len(os.uname().nodename) < 4
    assert "20" + "26-" not in text
    found = parse_result("here", data)
    assert found == again.files["warm"]
    assert found.edition.digest == shots.digest
    ids = [sample.id for sample in shots.samples()]
    assert found.answers.ids == digest_of(ids)


def test_names_of_files():
    assert slug("timm:resnet50.a1_in1k") == "timm-resnet50-a1_in1k"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("Ö::") == "model"
    assert len(slug("a" * 200)) == 60
    one, other = (ModelFacts(name="m", revision=revision, classes=3).pin() for revision in ("1", "2"))
    assert one != other


def test_what_is_read_is_checked(data):
    assert parse_result("here", forged(data)).model.name == "warm"
    for content, said in [
        (b"", "not a result"),
        (data[: len(data) // 2], "not a result"),
        (data.replace(b'"warm"', b'"ward"'), "has changed"),
        (b"[" * 100_000, "not a result"),
        (b'"\xff"', "not a result"),
        (b"\x80\x04N.", "not a result"),
        (forged(data, format=2), "another version"),
        (forged(data, format=True), "format"),
        (forged(data, further=1), "further"),
        (forged(data, figures__accuracy=101.0), "accuracy"),
        (forged(data, figures__variants__negative_0__n=-1), "n: "),
        (forged(data, evaluation__bootstrap=10**9), "bootstrap"),
        (forged(data, evaluation__confidence=1.0), "confidence"),
        (forged(data, evaluation__name="../x"), "evaluation.name"),
        (forged(data, model__name="two\nlines"), "model.name"),
        (forged(data, model__name="turned \u202e round"), "model.name"),
        (forged(data, model__preprocessing="x" * 1001), "preprocessing"),
        (forged(data, edition__digest="../../x"), "edition.digest"),
        (forged(data, answers__pictures=41), "answers"),
        (forged(data, answers__pictures=10**12), "pictures"),
        (forged(data, answers__correct="AAAA"), "answers"),
        (forged(data, answers__correct="!"), "answers"),
        (forged(data, variorum="<b>"), "variorum"),
        (re.sub(rb'"accuracy": [0-9.]+', b'"accuracy": NaN', data), "not a result"),
        (forged(data, evaluation__bootstrap=10_001), "bootstrap"),
    ]:
        with pytest.raises(SourceError, match=said) as raised:
            parse_result("here.json", content)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 400


ODD = [None, True, -1, 0, 2**70, 1e308, "", "x" * 5000, "\ud800", [], [[]] * 9, {}, {"a": {}}, "<script>", 0.5]


def leaves(value, path=()):
    """Paths of all values in a file."""
    yield path
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, name))


@settings(max_examples=25)
@given(chosen=st.data())
def test_no_value_anywhere_in_a_file_stops_the_leaderboard(shots, data, chosen):
    """Whatever somebody writes into a file, it's let in with its answers' figures, or left out in one line."""
    content = json.loads(data)
    content.pop("digest")
    path = chosen.draw(st.sampled_from([one for one in leaves(content) if one]))
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = chosen.draw(st.sampled_from(ODD))
    text = json.dumps(content).encode()
    pictures = pictures_of(shots.manifest, shots.store)
    board = leaderboard_of(edition_name(shots.manifest), pictures, {"theirs.json": text}, method_of(shots.manifest))
    assert len(board.entries) + len(board.left_out) == 1
    for entry in board.entries:
        assert entry.figures == parse_result("x", data).figures
    assert leaderboard_page(board)
    assert to_markdown(board)
    assert parse(board.to_bytes(), Leaderboard) == board


def test_a_liar_is_left_out_with_the_figure_that_gives_him_away(shots, data, tmp_path):
    better = parse_result("x", data).figures
    why = left_out(shots, tmp_path, forged(data, figures__accuracy=99.0))
    assert why == f"its figures don't match its answers: accuracy 99.0 instead of {better.accuracy}"
    drop = better.variants["negative_1"].drop.model_dump()
    why = left_out(shots, tmp_path, forged(data, figures__variants__negative_1__drop={**drop, "low": drop["low"] + 2}))
    assert "negative_1.drop.low" in why
    fewer = {name: one.model_dump() for name, one in better.variants.items() if name != "negative_1"}
    assert "variants negative_0 instead of" in left_out(shots, tmp_path, forged(data, figures__variants=fewer))


def test_answers_to_other_pictures_are_not_mixed_in(shots, data, tmp_path):
    why = left_out(shots, tmp_path, forged(data, edition__digest="0" * 64, edition__name="shots@2.0.0"))
    assert why.startswith("it is of another edition, shots@2.0.0 with digest 000000000000")
    ids = [sample.id for sample in shots.samples()]
    fewer = other_answers(ids[:-1], [True] * 35, [True] * 35)
    assert "answers to 35 pictures; the edition has 36" in left_out(shots, tmp_path, forged(data, answers=fewer))
    mixed = other_answers(ids[::-1], [True] * 36, [True] * 36)
    assert "other pictures" in left_out(shots, tmp_path, forged(data, answers=mixed))


def test_two_results_of_one_model_that_disagree(shots, results, data, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    (folder / "a.json").write_bytes(data)
    (folder / "b.json").write_bytes(data)
    model = results.files["warm"].model.model_dump(mode="json")
    (folder / "c.json").write_bytes(forged(results.files["cat"].to_bytes(), model=model))
    board = va.leaderboard(shots, folder)
    assert board.models == ("warm",)  # the same file twice counts once
    assert board.left_out == {"c.json": "another result of warm has other answers; keep one of them"}


def test_places_that_hold_no_results(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        result_files([tmp_path / "nowhere.json"])
    with pytest.raises(SourceError, match="no results in this folder"):
        result_files([tmp_path])
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(SourceError, match="larger than"):
        read_file(large)
    os.mkfifo(tmp_path / "pipe.json")
    for odd in (tmp_path / "pipe.json", tmp_path):
        with pytest.raises(SourceError, match=r"isn't a regular file|can't be read"):
            read_file(odd)


def test_the_figures_of_a_file_are_those_of_its_answers_at_any_seed(shots, data, tmp_path):
    """A file that was computed with another seed is let in, and its intervals are computed anew."""
    content = json.loads(data)
    other = va.evaluate(shots, {"warm": by_warmth}, confidence=0.8, progress=False, save=False).files["warm"]
    assert other.figures.average_drop.low > content["figures"]["average_drop"]["low"]
    file = tmp_path / "other.json"
    file.write_bytes(other.to_bytes())
    (entry,) = va.leaderboard(shots, file).board.entries
    assert entry.figures.model_dump() == parse_result("x", data).figures.model_dump()
