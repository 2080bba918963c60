"""Packaged models: they match their pins, load safely, report damage, and do what their cards say."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from training import evaluate_photo_denoiser as measure
from training.photographs import held_out
from variorum.generators.imagenet_e.guided_diffusion import Guidance, Wish, guided
from variorum.kit.pictures import complexity
from variorum.models import ModelTable, doctor, weights
from variorum.models.device import inference
from variorum.models.loaders.class_conditional import FOLDED_UNET
from variorum.models.loaders.classifiers import WEIGHTS, grey_input
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable

ALIASES = ("class_conditional", "judge", "judge_gate")
LIMIT = 10_000_000


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the packaged weights that a test may damage."""
    folder = tmp_path / "packaged"
    shutil.copytree(weights.PACKAGED, folder)
    monkeypatch.setattr(weights, "PACKAGED", folder)
    return folder


def folder_of(alias, root=None):
    return (root or weights.PACKAGED) / ModelTable("embedded").entry(alias).packaged.folder


def test_they_are_ready_with_an_empty_cache_and_in_both_profiles(tmp_path):
    for profile in ("embedded", "hub"):
        table = ModelTable(profile, tmp_path)
        states = {status.alias: status for status in doctor(table) if status.alias in ALIASES}
        assert {status.state for status in states.values()} == {"ready"}
        assert {status.size for status in states.values()} == {0}
        for alias in ALIASES:
            assert table.entry(alias).packaged.sha256[:32] in table.pin(alias)
            assert table.fetch(alias) == folder_of(alias)
    assert not list(tmp_path.iterdir())


def test_every_folder_has_an_entry_a_card_and_no_pickle():
    table = ModelTable("embedded")
    named = {place.folder for alias in table.aliases() if (place := table.entry(alias).packaged)}
    assert {item.name for item in weights.PACKAGED.iterdir()} == named
    files = [item for item in weights.PACKAGED.rglob("*") if item.is_file()]
    assert {item.suffix for item in files} == {".json", ".md", ".safetensors"}
    assert sum(item.stat().st_size for item in files) <= LIMIT
    for name in named:
        card = (weights.PACKAGED / name / weights.MODEL_CARD).read_text()
        for section in ("Data", "Licence", "Training", "Measured"):
            assert f"\n## {section}" in card, name


def test_damage_is_noticed_and_a_card_is_no_weight(copied):
    table = ModelTable("embedded")
    folder = folder_of("judge", copied)
    (folder / weights.MODEL_CARD).write_text("another card")
    assert table.status("judge").state == "ready"
    (path,) = folder.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    status = table.status("judge")
    assert status.state == "corrupt"
    assert status.way_out.endswith("reinstall variorum")
    with pytest.raises(ModelUnavailable, match="is missing or changed; reinstall variorum"):
        table.fetch("judge")


def test_a_folder_that_is_gone_is_missing(copied):
    shutil.rmtree(folder_of("class_conditional", copied))
    status = ModelTable("embedded").status("class_conditional")
    assert (status.state, status.way_out) == ("missing", "reinstall variorum")


def test_the_models_know_the_same_classes_as_the_table_of_names():
    from variorum.sources.class_names import read_classes

    names = tuple(info.id for info in read_classes("fashion_mnist"))
    for alias in ALIASES:
        assert tuple(ModelTable("embedded").entry(alias).options["classes"]) == names


def test_the_unet_is_in_the_layout_of_diffusers():
    folder = folder_of("class_conditional")
    names = {item.name for item in folder.iterdir()}
    assert {"config.json", "diffusion_pytorch_model.fp16.safetensors", "scheduler_config.json"} <= names
    assert json.loads((folder / "config.json").read_text())["_class_name"] == "UNet2DModel"
    assert json.loads((folder / "scheduler_config.json").read_text())["prediction_type"] == "v_prediction"


def test_another_number_of_classes_than_the_network_has_is_refused():
    entry = ModelTable("embedded").entry("class_conditional")
    wrong = Entry.model_validate({**entry.model_dump(exclude_none=True), "options": {"classes": ["a", "b"]}})
    with pytest.raises(ModelUnavailable, match="has 11 classes, including the null class; the table names 2"):
        FOLDED_UNET.load(wrong, folder_of("class_conditional"), {})


def test_the_judge_takes_any_size_and_none_at_all():
    judge = ModelTable("embedded").get("judge")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (28, 56, 8)]
    found = judge(pictures)
    assert found.shape == (3, 10)
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert judge([]).shape == (0, 10)
    assert grey_input(pictures[1], 28).shape == (1, 28, 28)
    assert np.array_equal(grey_input(np.full((28, 28, 3), 255, np.uint8), 28), np.ones((1, 28, 28), np.float32))


def test_noise_comes_from_its_own_seed_alone():
    model = ModelTable("embedded").get("class_conditional")
    together, alone = model.draw([3, 2**63 - 1, 5]), model.draw([2**63 - 1])
    assert np.array_equal(together[1].numpy(), alone[0].numpy())
    assert together.shape == (3, 4, 14, 14)
    assert abs(float(model.draw(range(200)).std()) - 1) < 0.02


def test_the_judges_encoder_is_what_its_last_layer_sees():
    from safetensors.numpy import load_file
    from skimage import data
    from skimage.transform import resize

    table = ModelTable("embedded")
    images = [np.uint8(255 * resize(image, (28, 28, 3))) for image in (data.chelsea(), data.coffee(), data.rocket())]
    embeddings = table.get("judge_encoder")(images)
    assert embeddings.shape == (3, 128)
    assert embeddings.min() >= 0
    state = load_file(folder_of("judge") / WEIGHTS)
    last = max(int(name.partition(".")[0]) for name in state)
    weight, bias = (state[f"{last}.{name}"].astype(np.float64) for name in ("weight", "bias"))
    raised = np.exp(embeddings @ weight.T + bias)
    assert raised / raised.sum(1, keepdims=True) == pytest.approx(table.get("judge")(images), abs=1e-4)
    assert table.get("judge_encoder")([]).shape == (0, 128)
    assert table.pin("judge_encoder") != table.pin("judge")


# ── photo_denoiser ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def denoiser():
    return ModelTable("embedded").get("denoiser")


@pytest.fixture(scope="module")
def pictures():
    return [np.float32(one / 255) for one in held_out(None, 256)]


@pytest.mark.parametrize(("level", "ahead"), [(25, 0.0), (100, 0.7)])
def test_it_takes_out_more_noise_than_classical_filters(denoiser, pictures, level, ahead):
    sigma, gains = level / 255, []
    for number, clean in enumerate(pictures):
        noisy = clean + sigma * np.random.default_rng(number).standard_normal(clean.shape, np.float32)
        found = [method(noisy, sigma) for method in (measure.bilateral, measure.non_local_means)]
        best = max(measure.psnr(item, clean) for item in found)
        gains.append(measure.psnr(measure.denoised(denoiser, noisy, sigma), clean) - best)
    assert np.mean(gains) > ahead


def test_without_gradients_it_is_the_same_network(denoiser, pictures):
    fixed, images = denoiser.fixed, [(one[:64, :96] * 255).round().astype(np.uint8) for one in pictures[:2]]
    clean = fixed.encode(images)
    np.testing.assert_allclose(clean, denoiser.encode(images).numpy(), atol=1e-6)
    np.testing.assert_array_equal(fixed.decode(clean), images)
    np.testing.assert_array_equal(fixed.signal, denoiser._whole.signal)
    assert (fixed.shrink, fixed.multiple, fixed.size) == (1, denoiser._whole.multiple, denoiser._whole.size)
    state = np.float32(0.8) * clean + np.float32(0.6) * np.random.default_rng(0).standard_normal(
        clean.shape, np.float32
    )
    for step in (1, 150, 319):
        with inference():
            wanted = denoiser.predict(torch.from_numpy(state), step).clean.numpy()
        np.testing.assert_allclose(fixed.predict(state, step).clean, wanted, atol=1e-5)
        alone = fixed.predict(state[:1], step).clean
        np.testing.assert_allclose(fixed.predict(state, step).clean[:1], alone, atol=1e-5)
    state[0, 0, 0, 0] = np.nan
    assert [one.any() for one in fixed.decode(state)] == [False, True]


@pytest.mark.slow
def test_by_default_settings_complexity_follows_lambda(denoiser, pictures):
    settings = Guidance()
    plate = (cv2.resize(pictures[1], (128, 128), interpolation=cv2.INTER_AREA) * 255).round().astype(np.uint8)
    keep = cv2.circle(np.zeros((128, 128), np.uint8), (64, 64), 24, 1, -1) > 0
    weights = (settings.down, settings.down / 20, 0.0, settings.up / 20, settings.up)
    made = guided([Wish(plate, plate, keep, ~keep, 3, weight) for weight in weights], denoiser, settings)
    found = [complexity.masked_hf(item, ~keep)[0] for item in made]
    assert found == sorted(found)
    assert found[0] < 0.75 * found[2]
    assert found[4] > found[2] + settings.least
    assert denoiser.known == 320
