"""The leaderboard: order, marks, what is left out, and pages without anybody's markup."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from answering import by_warmth, constant, edition, forged

import variorum as va
from variorum.api.edition import Edition
from variorum.edition.records import parse
from variorum.edition.store import Store
from variorum.evaluation.classifiers.figures import Given, figures
from variorum.evaluation.classifiers.pictures import arranged
from variorum.evaluation.classifiers.ranking import Answered, ranked
from variorum.reports.card import render_card
from variorum.reports.leaderboard import leaderboard_page
from variorum.reports.result_files import LARGEST
from variorum.reports.results import EditionName, Method, ModelFacts, Result, answers
from variorum.reports.standing import Leaderboard, by_baseline, by_variant, read_leaderboard, standing, to_markdown
from variorum.schemas.canonical import digest
from variorum.schemas.recipe import Recipe

HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><b>', "| a | [x](javascript:1) `"]


@pytest.fixture(autouse=True)
def few_will_do(request, monkeypatch):
    """Figures of a dozen pictures are shown, except where a test is about that."""
    if request.function is not test_below_thirty_photographs_no_figure_is_shown:
        monkeypatch.setattr("variorum.reports.standing.FEWEST", 1)
        monkeypatch.setattr("variorum.reports.results.FEWEST", 1)


def test_below_thirty_photographs_no_figure_is_shown(board):
    assert standing(board).rows[0][1:] == ("too few (12)", "", "", "")
    text, page = (
        to_markdown(board),
        re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", leaderboard_page(board), flags=re.S),
    )
    for shown in (text, page):
        assert "too few (12)" in shown
        assert "No figure of fewer than 30 photographs is shown" in shown
        assert not re.search(r"\[-?\d+\.\d, ", shown)


@pytest.fixture(scope="module")
def stores(photos, tmp_path_factory):
    """An edition, a folder with its store as it was made and with results of three models, and their leaderboard."""
    folder = tmp_path_factory.mktemp("leaderboard")
    manifest = edition(photos, str(folder / "made"))
    shutil.copytree(folder / "made", folder / "answered", symlinks=True)
    models = {"warm": by_warmth, "cat": constant(1), "cup": constant(2)}
    shots = Edition(manifest, Store(str(folder / "answered"), writable=False))
    return manifest, folder, va.evaluate(shots, models, progress=False).leaderboard


@pytest.fixture
def shots(request, stores, tmp_path) -> Edition:
    """The edition in a store of the test's own, with results if the test uses their leaderboard."""
    manifest, folder, _ = stores
    kept = folder / ("answered" if "board" in request.fixturenames else "made")
    shutil.copytree(kept, tmp_path / "store", symlinks=True)
    return Edition(manifest, Store(str(tmp_path / "store"), writable=False))


@pytest.fixture
def board(stores) -> Leaderboard:
    return stores[2]


@pytest.mark.parametrize(
    ("right", "of", "classes", "told"),
    [
        (0, 40, 1000, True),
        (0, 12, 1000, True),
        (0, 5, 1000, False),  # too few to say
        (1, 40, 1000, False),  # a hard set
        (3, 12, 4, False),
        (10, 40, 4, True),
        (0, 40, 4, True),  # its classes are in another order
        (20, 40, 4, False),
        (500, 1000, 2, True),
        (6, 12, 2, False),
    ],
)
def test_answers_at_chance_are_named_where_there_are_enough(board, right, of, classes, told):
    entry = board.entries[0]
    figures = entry.figures.model_copy(update={"n": of, "original_accuracy": round(100 * right / of, 2)})
    facts = entry.model.model_copy(update={"classes": classes})
    one = board.model_copy(update={"entries": (entry.model_copy(update={"figures": figures, "model": facts}),)})
    said = f"{entry.model.name} is right on {right} of {of} originals, and chance is {100 / classes:.2g} %"
    assert any(said in line for line in one.warnings()) == told
    assert (f"1. {entry.model.name} ?" in repr(va.api.leaderboard.Ranking(one))) == told
    assert ("<small>at chance</small>" in leaderboard_page(one)) == told
    assert (said in leaderboard_page(one)) == (said in to_markdown(one)) == told


def renamed(board: Leaderboard, names: list[str]) -> Leaderboard:
    entries = [
        entry.model_copy(update={"model": entry.model.model_copy(update={"name": name, "preprocessing": name})})
        for entry, name in zip(board.entries, names, strict=False)
    ]
    return board.model_copy(update={"entries": tuple(entries)})


class Tags(HTMLParser):
    """All start tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_models_come_by_accuracy_over_the_edits_and_ties_by_name(board):
    order = [(-entry.figures.accuracy, entry.model.name) for entry in board.entries]
    assert order == sorted(order)
    assert [entry.rank for entry in board.entries] == [1, 2, 3]
    cat, cup = (next(entry for entry in board.entries if entry.model.name == name) for name in ("cat", "cup"))
    assert cat.rank < cup.rank  # both are right for a third of the pictures
    for entry in board.entries[1:]:
        assert entry.ties == (entry.behind.low <= 0 <= entry.behind.high)
    rows = standing(board).rows
    assert all(("≈" in row[-1]) == entry.ties for row, entry in zip(rows, board.entries, strict=True))


def test_a_model_that_is_surely_worse_has_no_mark(shots):
    samples = {sample.image.tobytes(): sample.labels[0] for sample in shots.samples()}
    order = ("astronaut", "chelsea", "coffee")

    def perfect(images):
        return [[10.0 * (samples[image.tobytes()] == name) for name in order] for image in images]

    def wrong(images):
        return [[10.0 * (samples[image.tobytes()] != name) for name in order] for image in images]

    board = va.evaluate(shots, {"p": perfect, "w": wrong}, classes=order, progress=False).leaderboard
    assert [entry.figures.accuracy for entry in board.entries] == [100.0, 0.0]
    assert not board.entries[1].ties
    behind = board.entries[1].behind
    assert (behind.value, behind.high) == (100.0, 100.0)
    assert 0 < behind.low < 100  # a dozen pairs can't be sure


def test_the_leaderboard_is_computed_from_the_files_beside_the_edition(shots, board):
    found = va.leaderboard(shots)
    assert found.board == board
    assert va.leaderboard(shots.name, store=shots.store).board == board
    assert read_leaderboard(shots.manifest, shots.store) == board  # evaluate wrote it, for the card
    wider, narrower = (va.leaderboard(shots, confidence=level).board.entries[0] for level in (0.99, 0.5))
    assert wider.figures.average_drop.high >= narrower.figures.average_drop.high


def test_other_peoples_files_join_and_bad_ones_are_listed(shots, board, tmp_path):
    (mine,) = [path for path in (shots.path / "results").iterdir() if path.name.startswith("cat")]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    model = json.loads(mine.read_bytes())["model"]
    (theirs / "cat2.json").write_bytes(forged(mine.read_bytes(), model={**model, "name": "their cat"}))
    (theirs / "bad.json").write_bytes(b"{}")
    (theirs / "note.txt").write_text("not a result")
    found = va.leaderboard(shots, [theirs])
    assert set(found.models) == {"warm", "cat", "cup", "their cat"}
    assert list(found.left_out) == ["bad.json"]
    assert "bad.json" in leaderboard_page(found.board)
    assert "Left out: bad.json" in to_markdown(found.board)
    assert {entry.model.name for entry in found.board.entries if entry.brought} == {"their cat"}
    for text in (leaderboard_page(found.board), to_markdown(found.board)):
        assert "not run here" in text
    assert "not run here" not in to_markdown(board)


@pytest.mark.parametrize("name", ["c\u200bat", "c\u0430t", "\uff23at", "CAT"])
def test_a_name_that_looks_like_another_models(shots, board, tmp_path, name):
    (mine,) = [path for path in (shots.path / "results").iterdir() if path.name.startswith("cat")]
    model = json.loads(mine.read_bytes())["model"]
    (tmp_path / "a.json").write_bytes(forged(mine.read_bytes(), model={**model, "name": name}))
    found = va.leaderboard(shots, tmp_path / "a.json")
    assert set(found.models) == {"warm", "cat", "cup"}
    assert found.left_out == {"a.json": f"its model {name!a} looks like 'cat'; give it a name of its own"}


def test_what_cannot_be_read_hides_no_other_result(shots, board):
    folder = shots.path / "results"
    os.mkfifo(folder / "pipe.json")
    with (folder / "large.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    found = va.leaderboard(shots)
    assert len(found) == 3
    assert set(found.left_out) == {"pipe.json", "large.json"}
    assert va.evaluate(shots, {"warm": by_warmth}, progress=False).models == ("warm",)


def test_the_table_for_pandas(shots, board):
    table = va.leaderboard(shots).table()
    assert table["model"].to_pylist() == [entry.model.name for entry in board.entries]
    assert table["behind"].to_pylist() == [entry.behind and entry.behind.value for entry in board.entries]
    assert table["drop_low"].to_pylist() == [entry.figures.average_drop.low for entry in board.entries]
    assert va.leaderboard(shots).table().schema == table.schema


def test_too_many_files(shots, monkeypatch, tmp_path):
    monkeypatch.setattr("variorum.evaluation.classifiers.ranking.MOST", 1)
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(va.errors.SourceError, match="2 results are more than the 1 of a leaderboard"):
        va.leaderboard(shots, [tmp_path / "a.json", tmp_path / "b.json"])


def test_no_results_yet(shots):
    found = va.leaderboard(shots)
    assert len(found) == 0
    assert "no results" in repr(found)
    assert "No results of this edition yet" in leaderboard_page(found.board)


def test_the_page_holds_all_figures_and_loads_nothing(board):
    page = leaderboard_page(board)
    tags = Tags(page)
    assert page == leaderboard_page(board)
    text = re.sub(r"<[^>]+>", " ", page)
    for entry in board.entries:
        assert f"{entry.figures.accuracy:.1f}" in text
        assert f"[{entry.figures.average_drop.low:.1f}, {entry.figures.average_drop.high:.1f}]" in text
    policy = next(one["content"] for tag, one in tags.found if one.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not [one for _, one in tags.found if {"src", "href", "style"} & one.keys()]
    assert [tag for tag, _ in tags.found if tag == "script"] == ["script"]


def test_the_policy_allows_the_pages_own_style_and_script(board):
    import base64
    import hashlib

    page = leaderboard_page(board)
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        content = page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in page


def test_names_from_files_become_no_markup(board):
    page = leaderboard_page(renamed(board, HOSTILE[:3]))
    tags = Tags(page).found
    assert [tag for tag, _ in tags].count("script") == 1
    assert not [tag for tag, one in tags if tag == "img" or any(name.startswith("on") for name in one)]
    text = to_markdown(renamed(board, [HOSTILE[3], *HOSTILE[:2]]))
    assert "<img" not in text
    assert "](javascript" not in text
    rows = [line for line in text.splitlines() if line.startswith("| 1.")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 6


def test_the_card_shows_the_leaderboard(shots, board, photos):
    recipe = Recipe.parse(
        {
            "dataset": "shots",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": "probe", "copies": 2}],
        }
    )
    store = Store(shots.store.url)
    card = render_card(recipe, shots.manifest, store)
    assert "### Leaderboard: shots@1.0.0" in card
    assert all(f"{entry.rank}. {entry.model.name}" in card for entry in board.entries)
    path = Path(shots.path) / "leaderboard.json"
    path.write_bytes(path.read_bytes().replace(b'"warm"', b'"ward"'))
    assert "Leaderboard" not in render_card(recipe, shots.manifest, store)


def test_saving(shots, board, tmp_path):
    path = va.leaderboard(shots).save(tmp_path / "page" / "board.html")
    assert sorted(one.name for one in path.parent.iterdir()) == ["board.html", "board.json", "board.md"]
    assert va.leaderboard(shots).save(tmp_path).name == "leaderboard.html"
    with pytest.raises(va.errors.StoreError, match="can't be written"):
        va.leaderboard(shots).save(path / "below")


# ── the same photographs ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def paired() -> Leaderboard:
    """A model on three photographs: `a` has two edits and its plate, `b` has one edit, `c` has none.

    It is right on the originals of `a` and `c`, on one edit of `a`, and on the plate.
    """
    made = [("a", "original", 1), ("a", "size", 1), ("a", "turn", 0), ("a", "plate", 1)]
    made += [("b", "original", 0), ("b", "size", 0), ("c", "original", 1)]
    ids = [f"{name}{variant}" for name, variant, _ in made]
    parents = ["" if variant == "original" else f"{name}original" for name, variant, _ in made]
    pictures = arranged(ids, parents, [variant for _, variant, _ in made], np.ones(len(made), bool))
    given = Given(pictures.labelled, np.array([right for *_, right in made], bool))
    method = Method(name="accuracy_drop", revision=1, confidence=0.95, bootstrap=100, seed=0)
    found = figures(pictures, given, method)
    named = EditionName(name="made@1.0.0", digest="0" * 64)
    model = ModelFacts(name="mine", classes=2)
    whole = answers(ids, *given)
    result = Result(edition=named, model=model, evaluation=method, figures=found, answers=whole, variorum="1")
    return ranked(named, pictures, [Answered(result, given, found)], method)


def test_originals_edits_and_drop_are_over_the_same_photographs(paired):
    (entry,) = paired.entries
    # size: a and b, half of the originals and of the edits; turn: a alone, 100 % and 0 %
    assert (entry.original_accuracy, entry.figures.accuracy, entry.figures.average_drop.value) == (75.0, 25.0, 50.0)
    assert entry.photographs == 2
    assert any("the same photographs, 2 with 3 edits" in note for note in paired.notes())
    assert standing(paired).rows[0][1:3] == ("75.0", "25.0")


def test_baselines_stand_apart_with_all_originals(paired):
    assert by_variant(paired).head == ("model", "size", "turn")
    assert by_baseline(paired).head == ("model", "all originals", "plate")
    assert by_baseline(paired).rows == [("mine", "66.7", "100.0")]
    page = leaderboard_page(paired)
    by_edit = page[page.index("Drop by variant") : page.index("Baselines: accuracy")]
    assert "turn" in by_edit
    assert "plate" not in by_edit


def test_a_leaderboard_of_an_earlier_version_is_read(paired):
    content = json.loads(paired.to_bytes())
    for entry in content["entries"]:
        del entry["photographs"]
    del content["digest"]
    old = parse(json.dumps({"digest": digest(content), **content}).encode(), Leaderboard)
    assert standing(old) == standing(paired)
    assert not any("2 with" in note for note in old.notes())
