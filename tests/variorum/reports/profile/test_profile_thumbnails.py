"""Thumbnails of a report's pictures: from the shards, whole, small, blurred where an edition has a warning."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from plausible_report import report

from variorum.edition.store import Store
from variorum.pipeline import Job, run
from variorum.pixels import blurred
from variorum.reports.profile.page import page
from variorum.reports.profile.thumbnails import thumbnails
from variorum.reports.rows import edition_rows
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """A function: manifest and store of the photographs, with or without a warning."""
    store, source = Store(str(tmp_path_factory.mktemp("shown"))), {"name": "image_folder", "path": str(photos)}
    found = {}
    for warning in ("", "spiders"):
        recipe = {"dataset": f"d{bool(warning):d}", "version": "1.0.0", "source": source}
        found[warning] = run(Job(Recipe.parse(recipe | ({"warning": warning} if warning else {})), store)), store
    return found.__getitem__


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def showing(ids, plain=None):
    """A report that shows these samples of the edition `edits`, in each of its rows."""
    plain = plain or report()
    rows = tuple(
        row.model_copy(
            update={
                "pictures": tuple(
                    one.model_copy(update={"id": ids[number % len(ids)]}) for number, one in enumerate(row.pictures)
                )
            }
        )
        for row in plain.rows
    )
    return plain.model_copy(update={"rows": rows})


def test_the_shown_pictures_are_whole_and_small_and_lie_in_the_page(made):
    manifest, store = made("")
    ids = edition_rows(manifest, store, ("id",))["id"].to_pylist()
    asked = showing([*ids[:5], "gone"])
    found = thumbnails(asked, {"edits": (manifest, store)})
    assert sorted(found) == sorted(("edits", one) for one in ids[:5])
    assert all(decoded(data).shape == (64, 96, 3) and len(data) <= 6000 for data in found.values())
    assert found == thumbnails(asked, {"edits": (manifest, store)})
    assert page(asked, found).count(b"not shown") == 18


def test_nothing_can_be_recognised_with_a_warning(made):
    plain, warned = (
        thumbnails(showing(edition_rows(*made(name), ("id",))["id"].to_pylist()[:1]), {"edits": made(name)})
        for name in ("", "spiders")
    )
    (clear,), (seen,) = ([decoded(data) for data in found.values()] for found in (plain, warned))
    wanted = np.asarray(blurred(Image.fromarray(clear.astype(np.uint8)))).astype(int)
    assert np.abs(seen - wanted).mean() < 3 < np.abs(seen - clear).mean()


def test_a_page_of_ten_models_and_twenty_rows_stays_below_two_megabytes(tmp_path):
    (tmp_path / "pictures" / "noise").mkdir(parents=True)
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (256, 256, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "pictures" / "noise" / f"{number}.png")
    store, source = Store(str(tmp_path / "store")), {"name": "image_folder", "path": str(tmp_path / "pictures")}
    manifest = run(Job(Recipe.parse({"dataset": "noise", "version": "1.0.0", "source": source}), store))
    models = [f"timm:vit_base_patch16_224.augreg2_in21k_ft_in1k.{number}" for number in range(10)]
    asked = showing(edition_rows(manifest, store, ("id",))["id"].to_pylist(), report(models, rows=20))
    found = thumbnails(asked, {"edits": (manifest, store)})
    assert all(max(decoded(data).shape) >= 32 for data in found.values())
    assert 1_000_000 < len(page(asked, found)) < 2_000_000
