"""Detectors of fixed categories on random weights, against their networks' outputs decoded by hand."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hub_layouts.more_detectors import BUILDERS

from variorum.models.coco import CATEGORIES
from variorum.models.loaders.object_detection import OBJECT_DETECTION, category
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

FAMILIES = [
    "detector_detr",
    pytest.param("detector_rtdetr", marks=pytest.mark.slow),
    pytest.param("detector_dfine", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """The tiny checkpoint of an alias, built once."""

    def build(alias):
        folder = tmp_path_factory.getbasetemp() / alias
        if not folder.exists():
            BUILDERS[alias](folder)
        return folder

    return build


def detector(folder, **options):
    entry = Entry(
        name="tiny",
        loader="object_detection",
        local={"path": str(folder)},
        options=options,
        licence="none",
        source="random weights",
    )
    model = OBJECT_DETECTION.load(entry, folder, {})
    if "shortest_edge" in model._processor.size:  # 800 pixels would cost seconds
        model._processor.size = type(model._processor.size)(shortest_edge=96, longest_edge=128)
    return model


@pytest.fixture
def pictures(cat):
    return [cat[:120, :160], cat[50:170, 100:260], cat[:100, :100]]


@pytest.mark.parametrize("alias", FAMILIES)
def test_boxes_are_those_of_the_network(folder_of, pictures, alias):
    model = detector(folder_of(alias), threshold=0.0)
    names = [one.name for one in CATEGORIES]
    labels = {name: number for number, name in model._model.config.id2label.items()}
    for picture, found in zip(pictures, model(pictures, names), strict=True):
        inputs = model._processor(images=[picture], return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            output = model._model(pixel_values=inputs["pixel_values"])
        scores = output.logits[0].softmax(-1) if alias == "detector_detr" else output.logits[0].sigmoid()
        centres, sides = output.pred_boxes[0].split(2, -1)
        size = [*picture.shape[1::-1]] * 2
        corners = (torch.cat([centres - sides / 2, centres + sides / 2], -1) * torch.tensor(size)).numpy()
        assert len(found.scores) > 20
        assert (np.diff(found.scores) <= 0).all()
        for score, box, text in list(zip(found.scores, found.boxes, found.texts, strict=True))[:20]:
            same = np.abs(scores[:, labels[names[text]]].numpy() - score) < 1e-5  # random queries may be equally sure
            assert np.abs(corners[same].clip(0, size) - box).max(axis=1).min() < 0.05


def test_a_picture_and_a_text_depend_on_no_other(folder_of, pictures):
    model = detector(folder_of("detector_detr"), threshold=0.0)
    names = [one.name for one in CATEGORIES]
    (first, *_) = model(pictures, names)
    likely = names[first.texts[0]]
    together = model(pictures, ["zebu", "dog" if likely == "cat" else "cat", likely])
    for picture, one in zip(pictures, together, strict=True):
        (alone,) = model([picture], [f"the {likely}"])
        kept = one.texts == 2
        assert alone.boxes == pytest.approx(one.boxes[kept], abs=0.01)
        assert alone.scores == pytest.approx(one.scores[kept], abs=1e-5)
        assert not (one.texts == 0).any()
    assert [len(one.scores) for one in model(pictures, ["zebu"])] == [0, 0, 0]
    assert model([], ["cat"]) == []
    with pytest.raises(ValueError, match="text 1 of 2 is empty"):
        model(pictures, ["cat", " "])


def test_names_of_categories_by_what_people_call_them(folder_of):
    model = detector(folder_of("detector_detr"))
    assert model.knows(["cat", "The Cat", "traffic_light", "tvmonitor", "sofa", "diningtable", "N/A", "zebu"]) == [
        *[True] * 6,
        *[False] * 2,
    ]
    assert category("aeroplane") == category("an airplane") == "airplane"


def test_what_is_no_detector_of_categories_is_refused(tiny, tmp_path, folder_of):
    with pytest.raises(ModelUnavailable, match="makes no boxes; it is for another task"):
        detector(tiny / "clip")
    shutil.copytree(folder_of("detector_detr"), tmp_path / "nameless")
    config = json.loads((tmp_path / "nameless" / "config.json").read_text())
    config["id2label"] = {number: f"LABEL_{number}" for number in config["id2label"]}
    (tmp_path / "nameless" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailable, match="names no categories in id2label"):
        detector(tmp_path / "nameless")
