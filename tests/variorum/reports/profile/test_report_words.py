"""What a report says in words, on the page and in Markdown."""

from __future__ import annotations

import re

import numpy as np
import pytest
from asked_rows import answers, asked, report_of

from variorum.reports.profile.document import Difference, Guard, NotMeasured, Photographs
from variorum.reports.profile.markdown import markdown
from variorum.reports.profile.measure import measure
from variorum.reports.profile.words import LONGEST, lead, marks
from variorum.schemas.rows import Answers, Figure

A, B, C = MODELS = "timm:one", "two", "three"


@pytest.fixture(scope="module")
def report():
    """`two` is worse at one row and differs in another; `three` gives no boxes."""
    half, most = answers(np.arange(40) < 20), answers(np.arange(40) < 36)
    none = Answers("f", C, why_not="gives no boxes")
    rows = measure(
        [
            asked("common_corruptions", {A: most, B: half, C: most}, of="corruption_error.right"),
            asked("cue_conflict", {A: most, B: half, C: most}, better="none"),
            asked("detection", {A: half, B: half, C: none}, figure=Figure("error", better="lower")),
        ],
        MODELS,
        seed=1,
    )
    return report_of(rows, MODELS)


def test_the_lead_has_a_sentence_for_each_model_but_the_reference(report):
    assert report.lead == (
        "two is worse at common corruptions; different at cue conflict; in 1 of 3 rows it can’t be told apart.",
        "three can’t be told apart in any of 2 rows.",
    )
    assert lead(report.rows, report.models, B) == (
        "one is better at common corruptions; different at cue conflict; in 1 of 3 rows it can’t be told apart.",
        "three is better at common corruptions; different at cue conflict.",
    )
    assert lead(report.rows[:1], report.models, A)[1] == "three can’t be told apart in the only row."
    assert lead((), report.models, A)[0].startswith("two can’t be compared")


def test_a_long_lead_counts_rows_and_keeps_abbreviations(report):
    names = ["PGD-10"] + [f"A rather long title of a row, number {place}" for place in range(19)]
    many = [report.rows[0].model_copy(update={"title": name}) for name in names]
    few = lead(many[:4], report.models, A)[0]
    assert few.startswith("two is worse at PGD-10, a rather long title of a row, number 0, a rather")
    for title in ("x" * 60, "x" * 400):
        [said, _] = lead([row.model_copy(update={"title": title}) for row in many], report.models, A)
        assert len(said) <= LONGEST
        assert "more" in said or "20 rows" in said


def test_limits_stand_only_where_they_apply(report):
    assert [one.title for one in report.limits] == [
        "Nothing about other photographs.",
        "No overall score.",
        "≈ is not “as good as”.",
        "Perhaps seen in training.",
        "Edits are not the world.",
    ]
    assert "isn’t known for one, two and three." in report.limits[3].text
    [row] = measure([asked("originals", {"a": answers(np.ones(40))})], ["a"], seed=1)
    alone = report_of([row], ["a"])
    assert [one.title for one in alone.limits] == ["Nothing about other photographs.", "Perhaps seen in training."]
    certified = report_of([row.model_copy(update={"kind": "bound"})], ["a"])
    assert "Certificates are lower bounds." in [one.title for one in certified.limits]
    attacked = report_of([row.model_copy(update={"of": "adaptive_accuracy.withstood"})], ["a"])
    assert "A stronger attack may find more." in [one.title for one in attacked.limits]
    assert alone.lead == ()


def test_only_marks_that_are_there_are_explained(report):
    assert [mark for mark, _ in marks(report.rows)] == ["▲ ▼", "≈", "◆"]
    assert marks(report.rows[2:]) == (("≈", "can’t be told apart with these photographs; that isn’t “equal”."),)


def test_markdown_has_values_differences_and_the_small_print(report):
    limits = [
        Guard(row="detection", model=B, limit=20, kind="below", outcome="undecided", value=50, low=35, high=65),
        Guard(row="cue_conflict", model=B, limit=5, kind="worse", outcome="failed", value=-40, low=-55, high=-25),
    ]
    lacking = NotMeasured(id="boxes", title="Boxes", why_not="the photographs have none", way_out="add a COCO file")
    text = markdown(report.model_copy(update={"guards": tuple(limits), "not_measured": (lacking,)}))
    assert "| row | n | one | two | three |" in text
    assert re.search(r"\| Common corruptions: accuracy \| 40 \| 90\.0 \[[\d.]+, [\d.]+\] \| 50\.0 \[", text)
    assert "| – gives no boxes |" in text
    assert "| Detection: error, lower is better |" in text
    assert re.search(r"\| ▼ −40\.0 \[−5\d\.\d, −2\d\.\d\], p &lt; \.001 \|", text)
    assert "- undecided: detection ≤ 20 for two: 50.0 [35.0, 65.0]" in text
    assert "- **failed**: cue_conflict at most 5 points worse than one for two: −40.0 [−55.0, −25.0]" in text
    assert "- **Boxes**: the photographs have none; add a COCO file" in text
    assert "```sh\nvariorum report --suite quick\n```" in text
    assert "7" * 64 in text
    assert text == markdown(report.model_copy(update={"guards": tuple(limits), "not_measured": (lacking,)}))


def test_names_from_users_stay_text():
    nasty = "x|<b>`*a*\n# head\u202e[l](http://h)"
    said = {nasty: answers(np.arange(40) < 20), "b": answers(np.arange(40) < 36)}
    report = report_of(
        measure([asked("originals", said)], list(said), seed=1),
        list(said),
        photographs=Photographs(n=40, classes=2, source=nasty),
        command=f"variorum report --model '{nasty}' ```",
        credits=(nasty,),
    )
    report = report.model_copy(
        update={"not_measured": (NotMeasured(id="x", title=nasty, why_not=nasty, way_out=nasty),)}
    )
    text = markdown(report)
    fenced = text.split("````sh\n")[1].split("\n````")[0]
    assert "\n" not in fenced
    outside = text.replace(fenced, "")
    assert not [part for part in ("<b>", "\u202e", "x|", "\n# head", "](http", "*a*") if part in outside]
    tables = [line for line in outside.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in tables} <= {4, 5}


def test_differences_without_a_verdict_say_so(report):
    found = Difference(value=5, low=-5, high=15, of=B, to=A, n=15, p=0.5, holm=1, verdict="")
    row = report.rows[0].model_copy(update={"differences": (found,)})
    assert "| +5.0 [−5.0, +15.0], too few for a verdict | – | " in markdown(report_of([row], MODELS))
