"""API tests of the detectors on random weights; their boxes mean nothing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hub_layouts.detectors import grounding_dino, owlv2
from transformers import GroundingDinoProcessor, Owlv2Processor

from variorum.models.loaders.detection import DETECTION, best
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

TEXTS = ["a cat", "a dog with a hat", "lamp"]
FAMILIES = ["owl", "grounded"]


def entry(folder, **options):
    place = {"path": str(folder)}
    return Entry(name="tiny", loader="detection", local=place, options=options, licence="none", source="random weights")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("detectors")
    owlv2(place / "owl", side=64)
    grounding_dino(place / "grounded", shortest=96, longest=128, window=2, queries=20)
    return place


@pytest.fixture(scope="module")
def models(folders):
    return {name: DETECTION.load(entry(folders / name, threshold=0.0), folders / name, {}) for name in FAMILIES}


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


IMAGES = [noise(0, 60, 90), noise(1, 90, 60), noise(2, 60, 90), noise(3, 64, 64), noise(4, 60, 90)]


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_are_inside_the_picture_and_the_surest_comes_first(models, family):
    found = models[family](IMAGES, TEXTS)
    assert len(found) == len(IMAGES)
    for image, (boxes, scores, texts) in zip(IMAGES, found, strict=True):
        height, width = image.shape[:2]
        assert boxes.dtype == scores.dtype == np.float32
        assert texts.dtype == np.int64
        assert boxes.shape == (len(scores), 4)
        assert len(scores) == len(texts) > 0
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (np.diff(scores) <= 0).all()
        assert ((scores > 0) & (scores <= 1)).all()
        assert set(texts) <= {0, 1, 2}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_found_does_not_depend_on_the_other_pictures(models, family):
    together = models[family](IMAGES, TEXTS)
    for image, there in zip(IMAGES, together, strict=True):
        (alone,) = models[family]([image], TEXTS)
        assert there.boxes == pytest.approx(alone.boxes, abs=1e-3)
        assert there.scores == pytest.approx(alone.scores, abs=1e-5)
        assert np.array_equal(there.texts, alone.texts)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_threshold_leaves_the_surest(models, folders, family):
    everything = models[family](IMAGES[:1], TEXTS)[0]
    middle = float(everything.scores[len(everything.scores) // 2])
    stricter = DETECTION.load(entry(folders / family, threshold=middle), folders / family, {})
    (some,) = stricter(IMAGES[:1], TEXTS)
    assert np.array_equal(some.scores, everything.scores[everything.scores > middle])
    assert 0 < len(some.scores) < len(everything.scores)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_asked_and_nothing_shown(models, family):
    assert models[family]([], TEXTS) == []
    (nothing,) = models[family](IMAGES[:1], [])
    assert nothing.boxes.shape == (0, 4)
    assert nothing.texts.shape == (0,)
    for blank in ("", "  ", *([".?"] if family == "grounded" else [])):
        with pytest.raises(ValueError, match="text 1 of 2 is empty"):
            models[family](IMAGES[:1], ["a cat", blank])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_is_known(models, family):
    assert models[family].knows(TEXTS) == [True] * 3
    assert models[family].knows([]) == []


def test_owls_boxes_are_the_librarys_own(models, folders):
    import torch

    model, (image,) = models["owl"], IMAGES[:1]
    network, processor = model._family._model, Owlv2Processor.from_pretrained(folders / "owl")
    inputs = processor(images=[image], text=[TEXTS], return_tensors="pt", input_data_format="channels_last")
    with torch.inference_mode():
        output = network(**inputs)
    sizes = [image.shape[:2]]
    (theirs,) = processor.post_process_grounded_object_detection(output, threshold=0.0, target_sizes=sizes)
    order = torch.argsort(theirs["scores"], descending=True, stable=True)
    boxes = theirs["boxes"][order].numpy().clip(0, [90, 60, 90, 60])
    shown = (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    (ours,) = model([image], TEXTS)
    assert ours.boxes == pytest.approx(boxes[shown], abs=1e-3)
    assert ours.scores == pytest.approx(theirs["scores"][order].numpy()[shown], abs=1e-5)
    assert np.array_equal(ours.texts, theirs["labels"][order].numpy()[shown])


def test_texts_beyond_owls_context_are_cut(models):
    (long,), (longer,) = (models["owl"](IMAGES[:1], ["x" * n]) for n in (20, 40))
    assert np.array_equal(long.scores, longer.scores)


def test_grounded_captions_are_the_librarys_own_and_scores_means_over_a_texts_tokens(models, folders):
    import torch

    model, (image,) = models["grounded"], IMAGES[:1]
    network, processor = model._family._model, GroundingDinoProcessor.from_pretrained(folders / "grounded")
    inputs = processor(images=[image], text=[TEXTS], return_tensors="pt", input_data_format="channels_last")
    tokens, spans = model._family.tokenize(TEXTS)
    assert tokens.tolist() == inputs["input_ids"].tolist()
    words = processor.tokenizer.convert_ids_to_tokens(tokens[0].tolist())
    found = ["".join(words[first:last]).replace("##", "") for first, last in spans]
    assert found == [text.replace(" ", "") for text in TEXTS]
    with torch.inference_mode():
        output = network(**inputs)
    scores = output.logits.sigmoid()[0].numpy()
    means = np.stack([scores[:, first:last].mean(axis=1) for first, last in spans], axis=1)
    middle, size = np.split(output.pred_boxes[0].numpy() * [90, 60, 90, 60], 2, axis=1)
    corners = np.concatenate([middle - size / 2, middle + size / 2], axis=1).clip(0, [90, 60, 90, 60])
    order = np.argsort(-means.max(axis=1), kind="stable")
    (ours,) = model([image], TEXTS)
    assert ours.scores == pytest.approx(means.max(axis=1)[order], abs=1e-5)
    assert ours.boxes == pytest.approx(corners[order], abs=1e-3)
    assert np.array_equal(ours.texts, means.argmax(axis=1)[order])


def test_stops_and_capitals_make_no_other_grounded_text(models):
    plain, marked = (models["grounded"](IMAGES[:1], [text, "dog"])[0] for text in ("st bernard", " St. Bernard?"))
    assert all(np.array_equal(first, second) for first, second in zip(plain, marked, strict=True))


def test_more_texts_than_grounding_dino_reads_are_refused(models):
    with pytest.raises(ValueError, match=r"90 texts are 272 tokens, but this model reads 256 at once"):
        models["grounded"](IMAGES[:1], ["ab"] * 90)


def test_boxes_are_cut_at_the_border_and_dropped_beyond_it():
    boxes = np.float32([[-5, -5, 10, 10], [90, 10, 120, 20], [10, 10, 20, 20], [0, 0, 5, 5], [30, 30, 30, 40]])
    scores = np.float32([[0.1, 0.5], [0.9, 0.1], [0.5, 0.2], [0.1, 0.1], [0.8, 0.1]])
    found = best(scores, boxes, (60, 90), 0.2)
    assert found.boxes.tolist() == [[0, 0, 10, 10], [10, 10, 20, 20]]
    assert found.texts.tolist() == [1, 0]
    unknown = best(np.full((5, 2), np.nan, np.float32), boxes, (60, 90), 0.2)
    assert unknown.boxes.shape == (0, 4)


# ── what isn't loaded ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pickle_is_refused_and_never_opened(folders, tmp_path, family):
    copied = shutil.copytree(folders / family, tmp_path / "mine")
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(
        ModelUnavailable, match="can't be loaded as AutoModelForZeroShotObjectDetection with safetensors weights"
    ):
        DETECTION.load(entry(copied), copied, {})


def test_code_in_a_folder_is_never_run(folders, tmp_path):
    copied = shutil.copytree(folders / "owl", tmp_path / "mine")
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "mine.py").write_text("raise SystemExit")
    with pytest.raises(ModelUnavailable, match="can't be loaded as AutoModelForZeroShotObjectDetection"):
        DETECTION.load(entry(copied), copied, {})


def test_another_model_is_no_detector(tiny, folders, tmp_path):
    with pytest.raises(ModelUnavailable, match="can't be loaded as AutoModelForZeroShotObjectDetection"):
        DETECTION.load(entry(tiny / "clip"), tiny / "clip", {})
    with pytest.raises(ModelUnavailable, match="can't be loaded as AutoModelForZeroShotObjectDetection"):
        DETECTION.load(entry(tmp_path), tmp_path, {})
