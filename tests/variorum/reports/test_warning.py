"""Content warnings: what is shown of such an edition is blurred in the bytes, and its card is gated and says so."""

import base64
import io
import re

import numpy as np
import pytest
import skimage.data
import yaml
from PIL import Image
from pydantic import ValidationError

import variorum as va
from variorum.edition.editions import folder_of
from variorum.edition.read_at import stored_sample
from variorum.edition.store import Store
from variorum.generators.watermark.strips import _drawn
from variorum.pipeline import Job, build
from variorum.pixels import blurred
from variorum.reports.card import render_card, write_card
from variorum.reports.contact_sheet import contact_sheet
from variorum.reports.hub_types import check_header
from variorum.reports.page.preview import preview
from variorum.reports.page.write import write_view
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

pytestmark = pytest.mark.usefixtures("own_cache")

WARNING = "Some pictures show spiders | and *snakes*"
RULES = [
    {"when": [{"column": "duplicates.flag", "equals": True}], "action": "drop", "reason": "copy", "guarded": False}
]
PATCH = 16
"""Pixels along the side of a patch of a blurred picture of 96 pixels."""


def shuffled(pixels: np.ndarray) -> np.ndarray:
    """Another picture with the same colours on average where a patch crosses a row: what is seen in it is gone."""
    runs = pixels.reshape(-1, PATCH, 3).copy()
    for run in runs:
        np.random.default_rng(int(run.sum())).shuffle(run)
    return runs.reshape(pixels.shape)


PHOTOGRAPH = skimage.data.astronaut()
SEEN = [np.ascontiguousarray(PHOTOGRAPH[top : top + 64, left : left + 96]) for top in (40, 90) for left in (150, 190)]


def recipe(folder, name, **more) -> Recipe:
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(folder / name)},
            **more,
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function: job and manifest of the pictures, or of their shuffled ones, with or without a warning."""
    folder, found = tmp_path_factory.mktemp("warned"), {}
    for name, change in (("seen", np.array), ("shuffled", shuffled)):
        (folder / name / "a").mkdir(parents=True)
        for number, pixels in enumerate(SEEN):
            Image.fromarray(change(pixels)).save(folder / name / "a" / f"{number}.png")
    for name in ("seen", "shuffled"):
        for warning in ("", WARNING):
            more = {"warning": warning} if warning else {}
            job = Job(recipe(folder, name, **more), Store(str(folder / f"{name}{bool(warning)}")))
            found[name, bool(warning)] = job, build(job)
    return lambda name, warned=True: found[name, warned]


def pictures(page: str) -> list[bytes]:
    """Thumbnails of a page."""
    block = re.search(r'id="pictures-0">\n(.*?)</script>', page, re.DOTALL)[1]
    return [base64.b64decode(line) for line in block.split("\n") if line]


def view(job, manifest, path, **other) -> list[bytes]:
    write_view(manifest, job.store, **other, to=path / "page.html")
    return pictures((path / "page.html").read_text())


def detail(image: Image.Image) -> np.ndarray:
    """What is finer than the patches, of a picture that is 32 pixels high."""
    grey = image.convert("L").resize((48, 32), Image.Resampling.BOX)
    rough = grey.resize((6, 4), Image.Resampling.BOX).resize((48, 32), Image.Resampling.BICUBIC)
    return (np.asarray(grey, float) - np.asarray(rough, float)).ravel()


def left(given: Image.Image, shown: Image.Image) -> float:
    """The share of a picture's detail that is shown."""
    return abs(float(detail(given) @ detail(shown) / (detail(given) @ detail(given))))


def test_nothing_finer_than_the_patches_is_left():
    for pixels in SEEN:
        one, other = (blurred(Image.fromarray(some)) for some in (pixels, shuffled(pixels)))
        assert one.size == (96, 64)
        assert one.tobytes() == other.tobytes()
    for size in ((8, 8), (9, 30), (3000, 8)):
        noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
        found = blurred(Image.fromarray(noise))
        assert found.size == size
        assert np.asarray(found).std() < noise.std() / 2
    assert blurred(Image.new("CMYK", (1, 1))).mode == "RGB"


def test_the_sheet_and_the_strips_are_blurred(made):
    sheets = {key: contact_sheet(made(*key)[1], made(*key)[0].store) for key in KEYS}
    assert sheets["seen", True] == sheets["shuffled", True]
    assert sheets["seen", False] != sheets["shuffled", False]
    strips = [_drawn([[(pixels, "original")]], 1, warned=True) for pixels in (SEEN[0], shuffled(SEEN[0]))]
    assert strips[0] == strips[1] != _drawn([[(SEEN[0], "original")]], 1, warned=False)


KEYS = [(name, warned) for name in ("seen", "shuffled") for warned in (True, False)]


def test_pages_are_blurred_also_where_a_picture_is_opened(made, tmp_path):
    shown = {key: view(*made(*key), tmp_path) for key in KEYS}
    assert len(shown["seen", True]) == len(SEEN)
    assert shown["seen", True] == shown["shuffled", True]
    assert shown["seen", False] != shown["shuffled", False]
    for before, plain, thumbnail in zip(SEEN, shown["seen", False], shown["seen", True], strict=True):
        given = Image.fromarray(before)
        seen, hidden = (Image.open(io.BytesIO(data)) for data in (plain, thumbnail))
        assert hidden.size == given.size
        assert left(given, seen) > 0.9
        assert left(given, hidden) < 0.1
    published = [preview(made(name)[1], made(name)[0].store)[0].decode() for name in ("seen", "shuffled")]
    assert pictures(published[0]) == pictures(published[1]) == shown["seen", True]
    assert WARNING in published[0]
    text = (tmp_path / "page.html").read_text()
    assert WARNING not in text  # that of the edition without a warning was written last
    write_view(made("seen")[1], made("seen")[0].store, to=tmp_path / "page.html")
    assert WARNING in (tmp_path / "page.html").read_text()


def test_a_difference_to_an_edition_with_a_warning_is_blurred(made, tmp_path):
    (job, manifest), (other, later) = made("shuffled", False), made("seen")
    shown = view(job, manifest, tmp_path, other=later, other_store=other.store)
    assert len(set(shown)) == len(SEEN)  # both sides look the same
    assert len(shown) == 2 * len(SEEN)


def test_a_notebook_shows_blurred_pictures_and_says_why(made):
    html = [va.open("d", made(name)[0].store)._repr_html_() for name in ("seen", "shuffled")]
    assert html[0].split("<img")[1] == html[1].split("<img")[1]
    assert "Content warning: Some pictures show spiders | and *snakes*" in html[0]
    assert "Content warning" not in va.open("d", made("seen", False)[0].store)._repr_html_()


def test_a_release_keeps_the_warning_and_what_was_found_is_blurred(tmp_path):
    steps = [{"name": "quality"}, {"name": "duplicates", "embedding": False}, {"name": "policy", "rules": RULES}]
    shown = []
    for change in (np.array, shuffled):
        twice = [change(pixels) for pixels in SEEN for _ in range(2)]
        told = {"store": tmp_path / "store", "curate": steps, "progress": False}
        found = va.curate(twice, **told, dataset=f"d_{change.__name__}", warning=WARNING)
        assert found.release.manifest.warning == WARNING
        assert found.keep.sum() < len(twice)
        shown.append([part.split('"')[0] for part in found._repr_html_().split("base64,")[1:]])
    assert shown[0] == shown[1]
    assert len(set(shown[0])) == len(SEEN)


def test_shards_hold_pictures_as_they_are(made):
    job, manifest = made("seen")
    row = edition_rows(manifest, job.store).to_pylist()[0]
    sample = stored_sample(job.store, manifest.shards[row["group"]][row["shard"]], row)
    assert (np.asarray(Image.open(io.BytesIO(sample.image))) == SEEN[0]).all()


def test_the_card_is_gated_and_begins_with_the_warning(made):
    job, manifest = made("seen")
    text = write_card(job.recipe, manifest, job.store)
    _, header, body = text.split("---\n", 2)
    found = yaml.safe_load(header)
    assert found["extra_gated_prompt"] == f"Content warning: {WARNING}"
    assert found["extra_gated_heading"]
    assert found["extra_gated_fields"]["Affiliation"] == "text"
    assert "checkbox" in found["extra_gated_fields"].values()
    assert "not-for-all-audiences" in found["tags"]
    assert found["viewer"] is False
    lines = [line for line in body.split("\n") if line]
    assert lines[0] == "# d"
    assert lines[1].startswith("> **Content warning.** Some pictures show spiders &#124; and &#42;snakes&#42;")
    assert body.index("blurred") < body.index("contact_sheet.png")
    assert "blurred" in re.search(r"!\[(.*?)\]\(contact_sheet", body)[1]
    assert check_header(folder_of(manifest, job.store), manifest) == []


def test_a_card_without_a_warning_says_nothing_of_it(made):
    job, manifest = made("seen", False)
    text = render_card(job.recipe, manifest, job.store)
    for word in ("gated", "viewer", "not-for-all", "arning", "blurred"):
        assert word not in text


@pytest.mark.parametrize("template", ["default", "imagenet_e", "coco_o", "watermark", "unsafebench"])
def test_every_template_begins_with_the_warning(made, template):
    job, manifest = made("seen")
    card = job.recipe.card.model_copy(update={"template": template})
    try:
        body = render_card(job.recipe.model_copy(update={"card": card}), manifest, job.store).split("---\n", 2)[2]
    except RecipeError:
        pytest.fail(f"no template {template}")
    assert [line for line in body.split("\n") if line][1].startswith("> **Content warning.**")


def test_a_warning_is_part_of_the_identity_only_where_there_is_one(tmp_path):
    plain, warned = recipe(tmp_path, "seen"), recipe(tmp_path, "seen", warning=WARNING)
    assert "warning" not in plain.identity()
    assert "warning" not in plain.dump()
    assert warned.identity()["warning"] == WARNING
    assert warned.fingerprint() != plain.fingerprint()
    assert Recipe.parse(warned.dump()) == warned


@pytest.mark.parametrize("wrong", ["", "  ", "two\nlines", "x" * 501, "a\x1b[31m", "see https://u:hunter22@host/x"])
def test_what_is_no_warning(tmp_path, wrong):
    with pytest.raises(RecipeError, match="warning"):
        recipe(tmp_path, "seen", warning=wrong)


@pytest.mark.parametrize("wrong", ["", "two\nlines", "x" * 501, 1, ["a"], "\u2028"])
def test_a_manifest_with_a_strange_warning_is_refused(made, wrong):
    fields = made("seen")[1].model_dump(mode="json")
    fields["recipe"]["warning"] = wrong
    with pytest.raises(ValidationError, match=r"recipe\.warning"):
        Manifest.model_validate(fields)


def test_what_is_made_of_an_edition_with_a_warning_needs_one(made, tmp_path):
    job, _ = made("seen")
    inner = {"name": "edition", "edition": "d@1.0.0", "store": str(job.store.root)}
    source = {"name": "concatenated", "of": [{"name": "corrupted", "of": inner}]}
    later = {"dataset": "later", "version": "1.0.0", "source": source}
    with pytest.raises(RecipeError, match=r"^warning: .*spiders"):
        build(Job(Recipe.parse(later), str(tmp_path / "store")))
    made_of = build(Job(Recipe.parse({**later, "warning": WARNING}), str(tmp_path / "store")))
    assert made_of.warning == WARNING
