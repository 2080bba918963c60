"""Figures from rows whose answers are known, and a small edition through the real pipeline."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest

from variorum.edition.store import Store
from variorum.evaluation.content_dilution.retrieval_robustness import RetrievalRobustness
from variorum.pipeline import Job, run
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.table import Table
from variorum.stages.evaluate import check_judges

CTX = Context(seed=1, models=None, memo=None)


def row(name, angle, kind="original", parent="", labels=("a",), belongs=None):
    variant = kind if kind == "original" else f"{kind}_3"
    embedding = 5 * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))], np.float32)
    made = {"id": name, "parent": parent, "variant": variant, "kind": kind, "labels": json.dumps(sorted(labels))}
    return {**made, "embedding": embedding} | ({} if belongs is None else {"set": belongs})


def figures_of(rows, **fields):
    return RetrievalRobustness(**fields).figures(table_of(rows), CTX)


def table_of(rows):
    columns = {name: pa.array([one[name] for one in rows]) for name in rows[0] if name != "embedding"}
    vectors = np.stack([one["embedding"] for one in rows])
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return Table(pa.table(columns))


def edition(belongs=None, labels=(("a",), ("b",), ("a",))):
    """Originals at 0, 40 and 80 degrees; fog moves the second to the third's place, snow moves nothing far."""
    at = {"p0": 0, "p1": 40, "p2": 80}
    rows = [
        row(name, angle, labels=own, belongs=belongs) for (name, angle), own in zip(at.items(), labels, strict=True)
    ]
    for kind, angles in (("fog", (2, 79, 81)), ("snow", (1, 42, 78))):
        rows += [
            row(f"{kind} {number}", angle, kind, f"p{number}", labels[number], belongs)
            for number, angle in enumerate(angles)
        ]
    return rows


def test_figures_by_parent():
    found = figures_of(edition())
    assert found["gallery"] == {"size": 3, "originals": 3, "distractors": 0}
    assert found["clean"]["mrr"] == 100
    fog = found["kinds"]["fog"]
    assert (fog["n"], fog["no_relevant"], fog["recall_1"]) == (3, 0, pytest.approx(66.67))
    assert fog["mrr"] == pytest.approx(100 * (1 + 1 / 2 + 1) / 3, abs=0.01)
    assert fog["variance"] == pytest.approx(np.var([1, 0.5, 1]), abs=1e-4)
    assert fog["worst"] == 50
    assert fog["drop_rate"]["value"] == pytest.approx(16.67)
    assert fog["drop_rate"]["low"] < fog["drop_rate"]["value"] < fog["drop_rate"]["high"]
    assert found["kinds"]["snow"]["drop_rate"]["value"] == 0
    assert found["families"]["weather"]["kinds"] == 2
    assert found["families"]["weather"]["drop_rate"]["value"] == pytest.approx(8.33)
    assert (found["adversarial"]["n"], found["adversarial"]["mrr"]) == (3, fog["mrr"])


@pytest.mark.parametrize("relevance", ["parent", "label"])
def test_a_report_has_the_same_recall_by_photograph(relevance):
    rows, found = edition(), figures_of(edition(), relevance=relevance)
    (answers,) = RetrievalRobustness(encoder="mine", relevance=relevance).rows(table_of(rows), CTX)
    assert (answers.figure, answers.model, answers.note) == ("recall", "mine", "a gallery of 3")
    assert answers.columns == ("fog_3", "snow_3")
    assert answers.axes["kind"] == ("fog", "snow")
    shares = 100 * answers.top.sum(axis=0) / answers.bottom.sum(axis=0)
    assert shares == pytest.approx([found["variants"][name]["recall_1"] for name in answers.columns], abs=0.01)
    assert answers.bottom.sum() == found["queries"]["n"]
    if relevance == "parent":
        assert list(answers.photographs) == ["p0", "p1", "p2"]
        np.testing.assert_array_equal(answers.top, [[1, 1], [0, 1], [1, 1]])
        shown = answers.pictures
        lost = shown.ids.index("fog 1")
        assert (shown.said[lost], shown.p_label[lost], shown.right[lost]) == ("rank 2", 0.5, False)


def test_an_edition_without_edits_has_no_row():
    (answers,) = RetrievalRobustness().rows(table_of(edition()[:3]), CTX)
    assert answers.why_not == "it takes originals and edits of them"


def test_originals_that_look_in_an_edited_gallery():
    corpus = figures_of(edition())["kinds"]["fog"]["corpus"]
    # 40 is nearest to 2 and then to 79, its own; 80 is equally near to 79 and 81
    assert corpus["mrr"] == pytest.approx(100 * (1 + 1 / 2 + 2 / 3) / 3, abs=0.01)
    assert corpus["drop_rate"]["value"] == pytest.approx(100 - corpus["mrr"], abs=0.01)


def test_by_label_others_of_the_class_count_and_a_class_of_its_own_has_nothing_relevant():
    found = figures_of(edition(), relevance="label")
    assert (found["clean"]["n"], found["clean"]["no_relevant"]) == (2, 1)
    # p0 finds p2 behind p1, and p2 finds p0 behind p1
    assert found["clean"]["mrr"] == 50
    assert found["queries"]["no_relevant"] == 2
    assert found["kinds"]["fog"]["drop_rate"]["value"] == 0
    assert figures_of(edition(labels=((), (), ())), relevance="label")["queries"] == {"n": 0, "no_relevant": 6}


def test_an_edit_without_its_original_is_counted_and_in_no_mean():
    rows = [one for one in edition() if one["id"] != "p1"]
    found = figures_of(rows)
    assert (found["queries"]["n"], found["queries"]["no_relevant"]) == (4, 2)
    assert found["kinds"]["fog"]["mrr"] == 100


def test_distractors_make_the_gallery_harder():
    rows = edition(belongs="")
    rows += [row(f"d{angle}", angle, belongs="distractors") for angle in (1, 2, 3)] + [
        row("p2", 80, belongs="distractors")
    ]
    found = figures_of(rows)
    assert found["gallery"] == {"size": 7, "originals": 3, "distractors": 4}
    # the last is the third original itself: they share the first two ranks
    assert found["clean"]["mrr"] == pytest.approx(100 * (1 + 1 + 2 / 3) / 3, abs=0.01)
    assert found["kinds"]["fog"]["recall_1"] == 0
    # they are in the edited gallery too: 0 finds 2 at 2.5, 40 finds 79 at 4.5 and 80 finds 81 at 2.5
    assert found["kinds"]["fog"]["corpus"]["mrr"] == pytest.approx(100 * (1 / 2.5 + 1 / 4.5 + 1 / 2.5) / 3, abs=0.01)


def test_what_cannot_be_measured_is_said():
    rows = edition()
    rows[4]["embedding"] = np.full(2, np.nan, np.float32)
    rows[5]["embedding"] = np.zeros(2, np.float32)
    found = figures_of(rows)
    assert (found["left_out"], found["kinds"]["fog"]["n"]) == (2, 1)
    why = "it takes originals and edits of them"
    assert figures_of(rows[:3])["why_not"] == figures_of(rows[3:])["why_not"] == why
    assert RetrievalRobustness().figures(Table(pa.table({})), CTX)["why_not"] == why


def test_the_order_of_the_rows_decides_nothing():
    rows = [*edition(), row("p3", 40), row("fog 3", 41, "fog", "p3")]
    forwards, backwards = figures_of(rows), figures_of(rows[::-1])
    assert {name: forwards["kinds"][name] for name in backwards["kinds"]} == backwards["kinds"]
    assert forwards["adversarial"] == backwards["adversarial"]


def test_the_card_shows_them():
    for fields in ({}, {"relevance": "label"}):
        rows = [*edition(), row("fog 3", 41, "fog", "p3")]
        found = json.loads(json.dumps(figures_of(rows, **fields)))
        models = {"encoder": "net@sha256:" + "a" * 64}
        shown = {"models": models, "order": [], "plots": {}, "counts": []}
        text = _render("_retrieval_robustness", figures=found, **shown)
        assert "The gallery has 3 pictures: 3 originals and 0 distractors." in text
        assert re.search(r"\| weather \| \d+ \|", text)
        assert "have nothing relevant in the gallery; they are in no mean" in text
        assert RetrievalRobustness().plots(found)["kinds"].rows == ("fog", "snow")
    text = _render("_retrieval_robustness", figures=figures_of(rows[:3]), **shown)
    assert "Nothing was measured: it takes originals and edits of them." in text


def test_an_edition_with_distractors(photos, tmp_path):
    source = {"name": "image_folder", "path": str(photos)}
    recipe = Recipe.parse(
        {
            "dataset": "foggy",
            "version": "1.0.0",
            "limit": 3,
            "source": source,
            "generate": [{"name": "corruption", "kinds": ["pixelate"], "severities": [1, 5], "frame": None}],
            "evaluate": [{"name": "retrieval_robustness", "distractors": source}],
        }
    )
    job = Job(recipe, Store(str(tmp_path)))
    manifest = run(job)
    (path,) = tmp_path.glob("editions/foggy/1.0.0/evaluation-retrieval_robustness.json")
    found = json.loads(path.read_text())["figures"]
    assert found["gallery"] == {"size": 15, "originals": 3, "distractors": 12}
    assert found["clean"]["mrr"] == pytest.approx(66.67)  # each original is among the distractors too
    assert found["kinds"]["pixelate"]["variants"] == 2
    assert "### Retrieval robustness" in path.with_name("README.md").read_text()
    filtered = manifest.model_copy(update={"filters": [job.ctx.models.pin("classifier_gate")]})
    with pytest.raises(RecipeError, match="can't judge the result"):
        check_judges(recipe.evaluate[0], filtered, job)
