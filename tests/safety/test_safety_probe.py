"""A probe on coloured shapes: from judged pictures to a file, a labeler and its figures."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from training.safety_probe import Data, fit, main, save
from variorum.curation.safety.labelers.head import Head
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.pipeline import Job, build, evaluate
from variorum.pixels import encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.safety import Shown
from variorum.sources.unsafebench import Unsafebench

COLOURS = {"violence": (220, 30, 30), "health": (30, 60, 220)}
"""A disc of this colour stands for "unsafe" in a category, a green square for "safe"."""


def disc(rng: np.random.Generator, colour: tuple[int, int, int] | None) -> np.ndarray:
    """A picture of noise with a disc, or with a green square."""
    image = rng.integers(90, 150, (64, 64, 3)).astype(np.uint8)
    x, y, size = (int(value) for value in rng.integers(20, 44, 3))
    if colour:
        cv2.circle(image, (x, y), size // 2, colour, -1)
    else:
        cv2.rectangle(image, (x - 10, y - 10), (x + 10, y + 10), (30, 180, 40), -1)
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """120 pictures in the layout of UnsafeBench, a third of them for testing; `spam` has too few."""
    root, rng = tmp_path_factory.mktemp("judged"), np.random.default_rng(0)
    for split, number in (("train", 40), ("test", 20)):
        images, rows = root / split / "images", []
        images.mkdir(parents=True)
        for category, colour in COLOURS.items():
            for k in range(number):
                name = f"{category}{k}.png"
                (images / name).write_bytes(encode_png(disc(rng, colour if k % 2 else None)))
                label = "Unsafe" if k % 2 else "Safe"
                rows.append({"image_fname": name, "label": label, "category": category, "source": "Laion5B"})
        rows[-1]["category"] = "spam"
        (root / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="module")
def probe(folder, tmp_path_factory):
    """The trained probe's folder, through the command line."""
    out = tmp_path_factory.mktemp("probes") / "shapes"
    main(["--folder", str(folder), "--encoder", "encoder", "--out", str(out)])
    return out


def table(root, probe, monkeypatch):
    """A table of models with the probe."""
    (root / "models.toml").write_text(
        f'[shapes]\nname = "shapes"\nloader = "embedding_head"\nlocal = {{ path = "{probe}" }}\n'
        'licence = "none"\nsource = "a test"\n'
    )
    monkeypatch.setenv("VARIORUM_MODELS", str(root / "models.toml"))


def test_a_probe_becomes_a_labeler_that_knows_unseen_pictures(probe, folder, monkeypatch, tmp_path):
    table(tmp_path, probe, monkeypatch)
    ctx = Context(0, ModelTable("embedded"), DiskMemo(tmp_path / "memo"))
    labeler = Head(model="shapes", embeddings="encoder", categories=("violence", "health"))
    rng = np.random.default_rng(7)
    images = [disc(rng, colour) for colour in (*COLOURS.values(), None) for _ in range(8)]
    shown = Shown(images, ctx.models.get("encoder")(images), "", Unsafebench().categories)
    said = [
        [one.scores[name] >= labeler.threshold for name in ("violence", "health")]
        for one in labeler.opinions(shown, ctx)
    ]
    right = np.array([[True, False]] * 8 + [[False, True]] * 8 + [[False, False]] * 8)
    assert (np.array(said)[:8, 0] == right[:8, 0]).mean() >= 0.85
    assert (np.array(said)[8:16, 1] == right[8:16, 1]).mean() >= 0.85
    assert (np.array(said)[16:] == right[16:]).mean() >= 0.85


def test_the_card_says_what_it_learned_and_what_it_cannot(probe):
    text = (probe / "README.md").read_text()
    assert "| violence | 20, 20 |" in text
    assert "- spam: 0 safe and" in text
    assert "isn't a proof that a picture is safe" in text


def test_the_same_data_give_the_same_file(folder, probe, tmp_path):
    again = tmp_path / "again"
    main(["--folder", str(folder), "--encoder", "encoder", "--out", str(again)])
    assert (again / "head.safetensors").read_bytes() == (probe / "head.safetensors").read_bytes()


def data(rows: int = 400) -> Data:
    """Embeddings of which two directions decide, with rare unsafe pictures, and labels that are right in 95 %."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 20)).astype(np.float32)
    truths = np.full((rows, 2), np.nan)
    half = rows // 2
    truths[:half, 0] = x[:half, 0] > 1.0
    truths[half:, 1] = x[half:, 1] + 0.5 * rng.normal(size=rows - half) > 0
    splits = tuple("test" if number % 5 == 0 else "train" for number in range(rows))
    return Data(x, truths, ("hate", "spam"), tuple(map(str, range(rows))), splits)


def test_scores_are_calibrated_and_test_pictures_teach_nothing():
    found = data(4000)
    results = fit(found)
    one = results["spam"]
    assert one.figures["auroc"] > 0.9
    rows = ~np.isnan(found.truths[:, 1]) & (np.array(found.splits) == "test")
    scores = 1 / (1 + np.exp(-(found.embeddings[rows] @ one.weight + one.bias)))
    assert abs(scores.mean() - found.truths[rows, 1].mean()) < 0.05
    test = np.array(found.splits) == "test"
    spoiled = found._replace(embeddings=np.where(test[:, None], 1e3, found.embeddings).astype(np.float32))
    assert np.array_equal(fit(spoiled)["spam"].weight, one.weight)


def test_too_little_data_is_said(tmp_path):
    few = data(20)
    with pytest.raises(SourceError, match="enough data for no category: hate: "):
        save(fit(few), tmp_path, encoder="e", about="nothing")


def test_an_edition_teaches_the_same_and_judges_the_probe(folder, probe, tmp_path, monkeypatch):
    from safetensors.numpy import load_file

    table(tmp_path, probe, monkeypatch)
    labelers = [{"name": "head", "model": "shapes", "embeddings": "encoder", "categories": [*COLOURS]}]
    recipe = Recipe.parse(
        {
            "dataset": "judged",
            "version": "1.0.0",
            "masters": "original",
            "warning": "discs",
            "source": {"name": "unsafebench", "path": str(folder)},
            "evaluate": [{"name": "safety", "labelers": labelers, "split": "test"}],
        }
    )
    job = Job(recipe, str(tmp_path / "store"))
    manifest = build(job)
    out = tmp_path / "probe"
    main(["--edition", "judged@1.0.0", "--store", str(tmp_path / "store"), "--out", str(out)])
    one, other = (load_file(where / "head.safetensors") for where in (probe, out))
    np.testing.assert_allclose(one["weight"], other["weight"], atol=1e-3)
    cells = evaluate(job, manifest)["safety"]["by_labeler"]["shapes"]["cells"]
    assert {name: (cell["all"]["safe"], cell["all"]["unsafe"]) for name, cell in cells.items()} == {
        "violence": (10, 10),
        "health": (10, 9),
    }
    assert all(cell["all"]["f1"]["value"] >= 90 for cell in cells.values())
