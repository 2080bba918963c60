"""The Python code on the page docs/start/clean.md works as it stands."""

import re
import shutil
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "start" / "clean.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_curates_a_folder(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "photos")
    shutil.copy(photos / "coffee" / "0.jpg", "photos/coffee/copy.jpg")
    quick = {"curate.features.encoder": "encoder"}, ""  # a 28th of the other one's time
    monkeypatch.setattr("variorum.api.curate._smaller_encoder", lambda *_: quick)
    names: dict = {}
    for code in CODE:
        exec(code, names)
    found = names["found"]
    assert capsys.readouterr().out.startswith("13 pictures, 13 labels in 3 classes: ")
    assert len(names["clean"]) == found.keep.sum() < 13
    assert {path for path, keep in zip(found.paths, found.keep, strict=True) if not keep} & {
        "coffee/0.jpg",
        "coffee/copy.jpg",
    }
    assert all(label == path.partition("/")[0] for path, label in names["clean"])
    assert names["asked"].edition.digest == found.edition.digest
    assert names["asked"].ledger.measured == found.ledger.measured
    assert '`found.verdicts("relabel")`' in PAGE
