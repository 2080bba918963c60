import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from people_mistakes import Mistake, read_mistakes, read_panel_labels

from variorum.schemas.errors import SourceError


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_both_spellings_of_out_of_vocabulary_are_one(tmp_path):
    entry = {"top_prediction": 3, "failure severity": "Major"}
    spelled = ("Fine-grained error with OOV", "Fine-grained with OOV", "Fine-grained error", "Spurious Correlation")
    path = write(tmp_path / "m.json", {str(i): {**entry, "failure category": name} for i, name in enumerate(spelled)})
    found = read_mistakes(path)
    assert found["0"] == found["1"] == Mistake(3, "fine_grained_oov", "major")
    assert [found[key].category for key in ("2", "3")] == ["fine_grained", "spurious_correlation"]


def test_files_of_another_form_are_refused(tmp_path):
    path = tmp_path / "m.json"
    with pytest.raises(SourceError, match="can't be read as JSON"):
        read_mistakes(path)
    with pytest.raises(SourceError, match="holds a list"):
        read_mistakes(write(path, []))
    entry = {"top_prediction": 1, "failure category": "Non-prototypical", "failure severity": "Major"}
    for key, value in (("failure category", "Blurred"), ("failure severity", "Awful"), ("top_prediction", "bagel")):
        write(path, {"a": {**entry, key: value}})
        with pytest.raises(SourceError, match=rf"m\.json: a: .*{value.lower()}.* is missing or unknown"):
            read_mistakes(path)
    with pytest.raises(SourceError, match="it needs initial_annots"):
        read_panel_labels(write(path, {"a": {}}))
