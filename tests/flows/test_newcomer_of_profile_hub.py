"""What a newcomer types for profile hub, in a new home folder: from fetch to card, on tiny checkpoints."""

from __future__ import annotations

import json
import os
from functools import partial

import hub_layouts
import pytest
from model_hub import TOKEN, serving
from warm_command import run_fresh

pytestmark = pytest.mark.slow
ALIASES = ("segmenter", "inpainter", "encoder", "classifier", "classifier_small")
DOCTOR = ("doctor", "--for", "imagenet_e", "--profile", "hub")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A Hub that has the checkpoints that `imagenet_e` uses, and a table that pins them."""
    home = tmp_path_factory.mktemp("published")
    table = hub_layouts.table(home, ALIASES)
    with serving(home / "hub") as hub:
        for place, file in hub_layouts.single_files(home, ALIASES):
            hub.put(place.repo, hub_layouts.SOME_COMMIT, {place.file: file.read_bytes()})
        yield hub, table


def test_from_fetch_to_card(published, tmp_path):
    hub, table = published
    home = tmp_path / "home"
    hub_layouts.link_embedded(home)
    own = {"VARIORUM_CACHE": str(home / "variorum"), "VARIORUM_MODELS": str(table), "COLUMNS": "200", "NO_COLOR": "1"}
    variables = {**os.environ, **own, **hub.variables(home)}
    type_in = partial(run_fresh, folder=tmp_path, environment=variables)

    before = type_in(DOCTOR)
    assert before.returncode == 1
    assert "licence: CreativeML OpenRAIL-M: inpainter" in before.stdout
    assert f"download them: variorum {' '.join(DOCTOR)} --fetch" in before.stdout

    hub.gated.add("facebook/dinov2-base")
    fetched = type_in((*DOCTOR, "--fetch"))
    assert fetched.returncode == 1
    lines = fetched.stdout.splitlines()
    terms = f"log in with `hf auth login` and accept its terms at {hub.url}/facebook/dinov2-base"
    assert [line for line in lines if line.startswith("encoder: ")] == [
        f"encoder: facebook/dinov2-base is gated: {terms}"
    ]
    (announced,) = [line for line in fetched.stderr.splitlines() if line.startswith("to download: ")]
    given = sum(hub.given.values())
    assert announced.startswith(f"to download: {given / 1e6:.1f} MB (segmenter ")
    assert "inpainter" in announced
    assert "encoder" not in announced
    assert "fetching segmenter: " in fetched.stderr

    hub.consented = True
    hub.given.clear()
    type_in = partial(run_fresh, folder=tmp_path, environment={**variables, "HF_TOKEN": TOKEN})
    assert type_in((*DOCTOR, "--fetch")).returncode == 0
    assert {name for name, size in hub.given.items() if size} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    hub.asked.clear()
    rows = json.loads(type_in((*DOCTOR, "--json")).stdout)
    assert {row["state"] for row in rows} == {"ready"}
    assert {row["alias"] for row in rows if row["needed"] == "required"} >= {*ALIASES, "salience", "classifier_gate"}

    done = type_in(("run", "imagenet_e", "--profile", "hub", "--limit", "1", "--runner", "threads"))
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "store" / "editions" / "imagenet_e" / "3.0.0-dev-r1" / "README.md").read_text()
    assert f"stable-diffusion-inpainting@git:{hub_layouts.entries()['inpainter'].hub_repo.revision[:12]}" in card
    assert "| segmenter | sam-vit-b@sha256:" in card
    assert hub.asked == []
