"""Watermark editions from end to end: rows, card, strips, results for a leaderboard, and secrets that are nowhere."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from variorum.edition.store import Store
from variorum.evaluation.watermark.mark_results import FOLDER, parse_mark_result
from variorum.generators.watermark.strips import FILE as STRIPS
from variorum.generators.watermark.strips import mark_strips
from variorum.generators.watermark.watermarking.keys import new_keys, read_keys
from variorum.pipeline import Job, evaluate, run
from variorum.reports.card import write_card
from variorum.reports.given import Sealed
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import SourceError
from variorum.schemas.recipe import Recipe

LEADERBOARD = Path(__file__).parents[2] / "leaderboards" / "watermark"


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    """A job on four photographs with two marks and two attacks, one of which has no model here; its store and keys."""
    place = tmp_path_factory.mktemp("marks")
    keys = place / "own.keys"
    new_keys(keys)
    recipe = {
        "dataset": "marked",
        "version": "1.0.0",
        "limit": 4,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [
            {
                "name": "watermark",
                "marks": [{"name": "stdm"}, {"name": "spread_spectrum", "keyed": "shared"}],
                "frame": 128,
                "keys": str(keys),
            },
            {
                "name": "watermark_attack",
                "attacks": [{"name": "distortion", "kind": "jpeg"}, {"name": "instruction_edit"}],
                "strengths": [0.5],
                "keys": str(keys),
            },
        ],
        "evaluate": [{"name": "watermark_detection", "bootstrap": 100, "keys": str(keys)}],
        "card": {"template": "watermark", "title": "Marked"},
    }
    job = Job(Recipe.parse(recipe), str(place / "store"))
    return job, run(job), place, keys


def folder(made):
    _, manifest, place, _ = made
    return place / "store" / "editions" / manifest.dataset / manifest.version


def test_the_card_has_strips_figures_and_missing_cells(made):
    text = (folder(made) / "README.md").read_text()
    assert f"]({STRIPS})" in text
    with Image.open(folder(made) / STRIPS) as strips:
        assert strips.width == 6 + 4 * 198  # original, marked, residual, one attack
        assert strips.height == 6 + 3 * 2 * 212
    assert "#### Missing cells" in text
    assert "unavailable 4" in text
    assert "**Not evaluated against adaptive attacks**" in text


def test_pictures_without_marks_have_no_strips(made):
    job, manifest, *_ = made
    rows = edition_rows(manifest, job.store)
    assert list(mark_strips(Sealed(manifest, rows, job.store))) == [STRIPS]
    unmarked = rows.filter([variant == "original" for variant in rows["variant"].to_pylist()])
    assert mark_strips(Sealed(manifest, unmarked, job.store)) == {}


def test_a_result_is_written_for_each_mark(made):
    files = sorted((folder(made) / FOLDER).iterdir())
    results = [parse_mark_result(file.name, file.read_bytes()) for file in files]
    assert [one.mark.name for one in results] == ["spread_spectrum", "stdm"]
    assert [one.file_name() for one in results] == [file.name for file in files]
    assert len({one.grid for one in results}) == 1
    for one in results:
        assert one.clean.found.value == 100
        assert set(one.attacks) == {"jpeg"}
        assert {row.reasons for row in one.missing} == {"unavailable 4"}
        assert one.quality_of == ("psnr", "ssim", "nmi")
    assert results[1].mark.settings["bits"] == 32


def test_a_changed_or_hostile_file_is_refused(made):
    file = next((folder(made) / FOLDER).glob("stdm-*"))
    content = json.loads(file.read_bytes())
    for change in (
        {"clean": {**content["clean"], "n": 99}},  # doesn't have the digest that it states
        {"format": 2, "digest": None},
        {"photographs": 10**30, "digest": None},
        {"psnr": "NaN", "digest": None},
        {"edition": {"name": "a\x1b[2J", "digest": "0" * 64}, "digest": None},
        {"more": 1, "digest": None},
    ):
        with pytest.raises(SourceError, match=r"^x\.json: ") as refused:
            parse_mark_result("x.json", json.dumps({**content, **change}).encode())
        assert "\n" not in str(refused.value)
    with pytest.raises(SourceError):
        parse_mark_result("x.json", b"[" * 100_000)
    with pytest.raises(SourceError, match="at most"):
        parse_mark_result("x.json", b" " * (5 << 20))


def test_every_shipped_result_is_whole_and_of_a_whole_edition():
    assert (LEADERBOARD / "README.md").is_file()
    for file in LEADERBOARD.glob("*.json"):
        found = parse_mark_result(file.name, file.read_bytes())
        assert found.file_name() == file.name
        assert "-dev" not in found.edition.name


def test_secrets_are_in_no_file(made):
    _, _, place, keys = made
    secret = json.loads(keys.read_text())["secret"]
    known = read_keys(keys)
    found = [known.shared(mark).hex() for mark in ("stdm", "spread_spectrum")]
    ids = {row["id"] for row in rows_of(place)}
    found += [known.of("stdm", picture).hex() for picture in ids]
    assert len(ids) >= 4
    for file in (place / "store").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for one in (secret, *found):
                assert one.encode() not in content, file
                assert bytes.fromhex(one) not in content, file


def rows_of(place):
    import pyarrow.parquet as pq

    tables = [pq.read_table(file) for file in (place / "store").rglob("*.parquet")]
    return [row for table in tables if {"id", "variant"} <= set(table.column_names) for row in table.to_pylist()]


def test_without_keys_detection_is_refused_and_the_edition_stays(made, tmp_path):
    job, manifest, place, _ = made
    copy = tmp_path / "store"
    shutil.copytree(place / "store", copy, symlinks=True)
    fields = job.recipe.dump()
    fields["evaluate"][0]["keys"] = str(tmp_path / "lost.keys")
    fields["evaluate"][0]["bootstrap"] = 101
    lost = Job(Recipe.parse(fields), str(copy))
    with pytest.raises(SourceError, match=r"lost\.keys: no such file of watermark keys"):
        evaluate(lost, manifest)
    store = Store(str(copy))
    assert write_card(lost.recipe, manifest, store)
    assert (copy / "editions" / manifest.dataset / manifest.version / STRIPS).is_file()
