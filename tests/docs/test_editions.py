"""The code on the page docs/guides/editions.md works as it stands, on an edition with everything."""

import gc
import re
from pathlib import Path

import datasets
import pytest
from annotated_set import ANNOTATED, HEIGHT, WIDTH

from variorum.pipeline import Job, run
from variorum.schemas.recipe import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "editions.md").read_text().partition("## Croissant")[0]
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


# webdataset leaves its last file open
@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_page_loads_an_edition(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    recipe = {"dataset": "street", "version": "1.0.0", "masters": "original", "configs": "place", "source": ANNOTATED}
    manifest = run(Job(Recipe.parse(recipe), "store"))
    names: dict = {}
    for code in CODE:
        exec(code.replace('"day"', '"hall"').replace("row = train[0]", "row = train[2]"), names)
    assert len(names["train"]) == len(list(names["stream"])) == manifest.splits()["train"]
    assert len(names["day"]) == manifest.configs()["hall"]["train"]
    assert names["picture"].size == (WIDTH, HEIGHT)
    assert len(names["boxes"]) == len(names["classes"]) == len(names["regions"]) == 2
    for (left, top, width, height), region in zip(names["boxes"], names["regions"], strict=True):
        assert region.shape == (HEIGHT, WIDTH)
        assert (
            region.sum() == region[int(top) : int(top + height), int(left) : int(left + width)].sum() == width * height
        )
    assert names["captions"] == ["2 shapes | on <grey>, picture 8", "what is it?"]
    assert names["states"] == []
    printed = capsys.readouterr().out.splitlines()
    assert {line.split()[-1] for line in printed} == {row["json"]["id"] for row in names["train"]}
    assert len(names["wide"]) == 12
    gc.collect()
