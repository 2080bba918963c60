"""What captions still say: figures whose answers are known, a judge of pictures and texts, and the card."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from variorum.evaluation.content_dilution.caption_retrieval import CaptionRetrieval
from variorum.reports.card import _render
from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

CLASSES = (ClassInfo("cat", "cat"), ClassInfo("sofa_bed", "sofa_bed"))
PICTURE = np.full((8, 8, 3), 90, np.uint8)
CAPTIONS = {
    "a": ("original", "A cat and a lamp.", "cat"),
    "b": ("original", "The cat on grass.", "cat"),
    "c": ("original", "Some red shoe.", "sofa_bed"),
    "d": ("original", "A blue shoe on gravel.", "sofa_bed"),
    "a1": ("mild", "A cat and a lamp. Is it a lamp?", "cat"),
    "b1": ("strong", "The cat on grass. A blue shoe, a red shoe, gravel and a shoe.", "cat"),
    "c1": ("strong", "", "sofa_bed"),
}


class Judge:
    """A model whose embeddings are what a text names: cats, shoes; and of pictures, their first level."""

    temperature = 10.0

    def get(self, alias: str) -> Any:
        return {"zero_shot": self, "classifier": lambda images: np.zeros((len(images), 3))}[alias]

    def embed_texts(self, texts: Any) -> np.ndarray:
        found = np.array([[1, "cat" in text, "shoe" in text or "sofa bed" in text] for text in texts], np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def embed_pictures(self, images: Any) -> np.ndarray:
        return self.embed_texts(["a photo of a cat" for _ in images])


CTX = Context(1, Judge(), None, classes=CLASSES)  # type: ignore[arg-type]


def samples() -> list[Sample]:
    return [
        Sample(
            name,
            PICTURE,
            labels=(label,),
            variant=variant,
            parent="" if variant == "original" else name[0],
            annotations=Annotations(texts=(Text(text),) if text else ()),
        )
        for name, (variant, text, label) in CAPTIONS.items()
    ]


def measured(**fields: Any) -> tuple[CaptionRetrieval, dict[str, Any]]:
    step = CaptionRetrieval(bootstrap=100, **fields)
    rows = list(step.measure(samples(), CTX))
    vectors = {
        name: np.stack([one.pop(name) for one in rows]) for name in ("picture_at", "caption_at") if name in rows[0]
    }
    table = pa.Table.from_pylist(rows)
    for name, values in vectors.items():
        table = table.append_column(name, pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]))
    found = step.figures(Table(table, "caption_retrieval"), CTX)
    json.dumps(found, allow_nan=False)
    return step, found


def values(one: dict[str, Any]) -> dict[str, float]:
    return {what: found["value"] for what, found in one.items() if isinstance(found, dict) and "value" in found}


def test_by_words_a_caption_finds_its_own_and_its_class():
    step, found = measured()
    assert step.uses() == []
    assert found["names"] == ["original", "mild", "strong"]
    original, mild, strong = (found["variants"][name] for name in found["names"])
    assert found["gallery"] == original["n"] == 4
    assert values(original) == {"own": 100, "own_mrr": 100, "label": 100}
    assert values(mild) == {"own": 100, "own_mrr": 100, "label": 100}
    assert strong["n"] == 2  # one says more of shoes than of its cat, one says nothing and ties with all four
    assert values(strong)["own"] == 0
    assert 0 < values(strong)["own_mrr"] < 50
    assert strong["lost"]["own"]["value"] == 100
    assert strong["lost"]["label"]["low"] <= strong["lost"]["label"]["value"]


def test_a_judge_finds_pictures_and_classes():
    step, found = measured(judge="zero_shot")
    assert [one.alias for one in step.uses()] == ["zero_shot"]
    original = values(found["variants"]["original"])
    assert (original["picture"], original["text"]) == (50, 100)  # all pictures are of cats
    assert original["shown"] == 0  # equal pictures share their rank
    strong = found["variants"]["strong"]
    assert strong["lost"]["text"]["value"] == pytest.approx(50)  # the one without words says cat, the first class
    text = _render(
        "_caption_retrieval", figures=found, models={"zero_shot": "clip@1"}, plots=dict.fromkeys(step.plots(found), "!")
    )
    assert "| captions | n | own caption first, % |" in text
    assert "By clip: whether" in text or "By clip@1: whether" in text
    assert list(step.plots(found)["captions"].series)[:3] == [
        "own caption first",
        "class of the nearest",
        "own picture first",
    ]


def test_without_captions_or_with_another_model():
    with pytest.raises(RecipeError, match="'classifier' gives no embeddings of pictures and texts"):
        measured(judge="classifier")
    step = CaptionRetrieval()
    found = step.figures(Table(pa.table({}), "caption_retrieval"), CTX)
    assert "no original captions" in _render("_caption_retrieval", figures=found, models={}, plots=step.plots(found))
