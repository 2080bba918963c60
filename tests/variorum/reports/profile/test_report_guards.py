"""Limits that guard a model in CI."""

from __future__ import annotations

import numpy as np
import pytest
from asked_rows import answers, asked

from variorum.reports.profile.guards import Wanted, failed, judged, read_guards
from variorum.reports.profile.measure import measure
from variorum.schemas.errors import RecipeError
from variorum.schemas.rows import Answers

MODELS = "timm:resnet50.a1", "torchvision:resnet50", "module:mine.py:load"
A, B, MINE = MODELS
ROWS = "originals", "background"


@pytest.fixture(scope="module")
def rows():
    """Accuracies of 90 % and 50 %; `mine` has no figure. In `error` less is better, in `cues` neither."""
    right = {name: answers(np.arange(40) < count) for name, count in zip(MODELS, (36, 20), strict=False)}
    said = {**right, MINE: Answers("f", MINE, why_not="gives no embedding")}
    return measure(
        [asked("background", said), asked("error", said, better="lower"), asked("cues", said, better="none")],
        MODELS,
        seed=1,
    )


def test_names_may_have_colons_and_be_short():
    found = read_guards(
        ["background=50", "timm:resnet50.a1:background=50.5", "load:originals=5 %"],
        ["resnet50:originals=2"],
        ROWS,
        MODELS,
    )
    assert found == (
        Wanted("background", "", 50, "below"),
        Wanted("background", A, 50.5, "below"),
        Wanted("originals", MINE, 5, "below"),
        Wanted("originals", B, 2, "worse"),
    )


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("backgroud=50", r"no row is called 'backgroud'. Do you mean background\? The rows: originals, background"),
        (
            "theirs:background=50",
            "no model is called 'theirs'. The models: timm:resnet50.a1, torchvision:resnet50, module",
        ),
        ("net50:background=50", "no model is called 'net50'"),
        ("background", r"write \[MODEL:\]ROW=VALUE, such as --fail-below background=50"),
        ("background=high", "VALUE is a number from 0 to 100, not 'high'"),
        ("background=nan", "VALUE is a number from 0 to 100, not 'nan'"),
        ("background=-5", "VALUE is a number from 0 to 100"),
    ],
)
def test_a_wrong_limit_names_what_there_is(limit, message):
    with pytest.raises(RecipeError, match=message):
        read_guards([limit], [], ROWS, MODELS)


def test_a_short_name_of_two_models_is_refused():
    with pytest.raises(RecipeError, match="2 models end in 'resnet50': timm:resnet50, torchvision:resnet50"):
        read_guards(["resnet50:background=50"], [], ROWS, ["timm:resnet50", "torchvision:resnet50"])


@pytest.mark.parametrize(
    ("below", "outcomes"),
    [
        ("background=30", ["kept", "kept"]),
        ("background=55", ["kept", "undecided"]),
        ("background=70", ["kept", "failed"]),
        ("error=70", ["failed", "kept"]),
        ("error=45", ["failed", "undecided"]),
        (f"{B}:background=99", ["failed"]),
    ],
)
def test_below_is_judged_by_the_whole_interval(rows, below, outcomes):
    assert [one.outcome for one in guards([below], [], rows)] == outcomes


def guards(below, worse, rows, reference=A):
    return judged(read_guards(below, worse, [row.id for row in rows], MODELS), rows, reference)


@pytest.mark.parametrize(
    ("worse", "reference", "outcome"),
    [
        ("background=10", A, "failed"),
        ("background=40", A, "undecided"),
        ("background=60", A, "kept"),
        ("background=0", B, "kept"),
        ("error=0", A, "kept"),
        ("error=10", B, "failed"),
        ("cues=10", A, "failed"),
        ("cues=10", B, "failed"),
        ("cues=60", B, "kept"),
    ],
)
def test_worse_is_judged_by_the_paired_difference(rows, worse, reference, outcome):
    [found] = guards([], [worse], rows, reference)
    assert found.model != reference
    assert found.outcome == outcome


def test_undecided_fails_only_if_strict(rows):
    undecided, broken = guards([f"{B}:background=55"], [], rows), guards(["background=70"], [], rows)
    assert (failed(undecided, False), failed(undecided, True)) == (False, True)
    assert failed(broken, False)
    assert not failed((), True)


@pytest.mark.parametrize(
    ("below", "worse", "message"),
    [
        (
            [f"{MINE}:background=5"],
            [],
            "module:mine.py:load:background=5: the row can't be measured: gives no embedding",
        ),
        ([], [f"{MINE}:background=5"], "gives no embedding"),
        ([], [f"{A}:background=5"], "timm:resnet50.a1 is the reference"),
    ],
)
def test_a_limit_without_a_figure_is_an_error(rows, below, worse, message):
    with pytest.raises(RecipeError, match=message):
        guards(below, worse, rows)
