"""Cards of released editions that are kept in data_cards/released."""

import re
from pathlib import Path

import pytest

from variorum.reports.card import write_card
from variorum.reports.card_check import DIGEST, check_card
from variorum.reports.kept_cards import keep_card
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import RecipeError, VersionDrift

RELEASED = Path(__file__).parents[3] / "data_cards" / "released"


def test_a_kept_card_has_the_figures_and_no_pictures(everything, tmp_path):
    job, manifest = everything
    text = write_card(job.recipe, manifest, job.store)
    path = keep_card(text, manifest, tmp_path / "kept")
    assert path.name == "shapes-1.0.0.md"
    kept = path.read_text()
    assert "![" in text
    assert "![" not in kept
    assert DIGEST.search(kept)[1] == manifest.digest()
    assert check_card(manifest, job.store, edition_rows(manifest, job.store)) == []
    assert keep_card(text, manifest, tmp_path / "kept") == path  # the same edition may be kept again
    path.write_text(kept.replace(manifest.digest(), "0" * 64))
    with pytest.raises(VersionDrift, match="another edition"):
        keep_card(text, manifest, tmp_path / "kept")
    with pytest.raises(RecipeError, match="may still change"):
        keep_card(text, manifest.model_copy(update={"version": "1.0.0-dev"}), tmp_path / "kept")


def test_the_cards_of_this_project_name_their_editions():
    cards = sorted(RELEASED.glob("*.md"))
    assert cards
    for path in cards:
        dataset, version = re.fullmatch(r"(.+)-(\d+\.\d+\.\d+(?:-r\d+)?)\.md", path.name).groups()
        text = path.read_text()
        assert f"**{dataset}@{version}**" in text
        assert f"{dataset}@{version}, digest {DIGEST.search(text)[1]}" in text  # in the header, as loaders see it
