import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from people_mistakes import Mistake, read_mistakes, read_panel_labels

from variorum.kit.raters.accuracy import COLLAPSED, multi_label_accuracy, real_accuracy
from variorum.schemas.errors import SourceError

# picture: given label, prediction, correct, unclear, wrong
PANEL = {
    "a1": (10, 10, [10], [], []),
    "a2": (10, 11, [10, 11], [], []),  # two objects
    "a3": (10, 12, [10], [12], []),  # an unclear one
    "a4": (10, 13, [10], [], [13]),
    "b1": (20, 20, [20], [], []),
    "b2": (20, 21, [20], [], [21]),
    "b3": (20, 20, [20], [], []),  # problematic
    "c1": (836, 837, [836], [], []),  # two names of one class
    "c2": (836, 836, [836], [], []),
    "d1": (30, 31, [30], [], [31]),
}


@pytest.fixture
def panel(tmp_path):
    annotations = {
        picture: {
            key: [f"n{label:08d}" for label in labels]
            for key, labels in zip(("correct", "unclear", "wrong"), row[2:], strict=True)
            if labels
        }
        for picture, row in PANEL.items()
    }
    path = tmp_path / "human_accuracy.json"
    whole = {"initial_annots": annotations, "problematic_images": {"b3": "collage"}, "imagenet_m": ["a4", "d1"]}
    path.write_text(json.dumps(whole))
    labels, slice_ = read_panel_labels(path)
    assert slice_ == ["a4", "d1"]
    given, predictions = (np.array([row[i] for row in PANEL.values()]) for i in (0, 1))
    correct, unclear = (
        [{int(label[1:]) for label in getattr(one, name)} for one in labels.values()] for name in ("correct", "unclear")
    )
    return predictions, given, correct, unclear, np.array([one.problematic for one in labels.values()])


def test_multi_label_accuracy_by_hand(panel):
    found = multi_label_accuracy(*panel, collapsed=COLLAPSED)
    assert found.by_class == pytest.approx((3 / 4 + 1 / 2 + 2 / 2 + 0 / 1) / 4)
    assert found.by_picture == pytest.approx(6 / 9)
    assert (found.classes, found.pictures) == (4, 9)


def test_each_part_of_the_measure_counts(panel):
    predictions, given, correct, unclear, problematic = panel
    apart = multi_label_accuracy(*panel)
    assert apart.by_class == pytest.approx((3 / 4 + 1 / 2 + 1 / 2 + 0) / 4)
    assert apart.by_picture == pytest.approx(5 / 9)
    strict = multi_label_accuracy(predictions, given, correct, [set()] * 10, problematic, COLLAPSED)
    assert strict.by_class == pytest.approx((2 / 4 + 1 / 2 + 2 / 2 + 0) / 4)
    everything = multi_label_accuracy(predictions, given, correct, unclear, np.zeros(10, bool), COLLAPSED)
    assert everything.by_class == pytest.approx((3 / 4 + 2 / 3 + 2 / 2 + 0) / 4)
    assert everything.by_picture == pytest.approx(7 / 10)


def test_collapsing_has_a_direction():
    none = [set()]
    mug, cup = 504, 968
    hit = multi_label_accuracy(np.array([cup]), np.array([mug]), [{mug}], none, np.array([False]), COLLAPSED)
    miss = multi_label_accuracy(np.array([mug]), np.array([cup]), [{cup}], none, np.array([False]), COLLAPSED)
    assert (hit.by_picture, miss.by_picture) == (1, 0)


def test_real_accuracy_leaves_out_pictures_without_labels():
    labels = [[1, 2], [], [3], [1]]
    found = real_accuracy(np.array([2, 1, 4, 1]), np.array([1, 1, 3, 1]), labels)
    assert found.by_picture == pytest.approx(2 / 3)
    assert found.by_class == pytest.approx((1 + 0) / 2)
    assert found.pictures == 3


def test_nothing_to_measure_is_nan():
    nothing = real_accuracy(np.array([1]), np.array([1]), [[]])
    assert np.isnan(nothing.by_class)
    assert nothing.pictures == 0
    with pytest.raises(SourceError, match="2 predictions, 1 given labels"):
        real_accuracy(np.array([1, 2]), np.array([1]), [[1]])


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
