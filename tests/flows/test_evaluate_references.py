"""An evaluation with references as Prefect tasks: the same figures as the plain loop's, and nothing measured twice."""

from __future__ import annotations

import pytest

from variorum.edition.store import Store
from variorum.schemas.errors import SourceError
from variorum.schemas.recipe import Recipe
from variorum.stages.build import build
from variorum.stages.context import open_context
from variorum.stages.evaluate import evaluate as plain_evaluate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_cache")]


@pytest.fixture(scope="module")
def server():
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


def recipe(photos, train):
    real = {"name": "image_folder", "path": str(photos)}
    entry = {"name": "generated_set", "encoder": "judge_encoder", "judge": None, "train": train, "test": real}
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 6,
            "source": real,
            "generate": [{"name": "probe", "originals": False}],
            "evaluate": [entry],
        }
    )


def test_a_flow_finds_what_the_plain_loop_finds(server, photos, tmp_path, monkeypatch):
    from variorum.evaluation.generated_set import GeneratedSet
    from variorum.flows.evaluate import evaluate_flow

    what = recipe(photos, {"name": "corrupted", "of": {"name": "image_folder", "path": str(photos)}})
    figures = []
    for name in ("flow", "plain"):
        store = Store(str(tmp_path / name))
        ctx = open_context(what, "embedded")
        manifest = build(what, ctx, store, profile="embedded")
        if name == "flow":
            figures.append(evaluate_flow(what.dump(), "embedded", str(tmp_path / name))["generated_set"])
            assert figures[0]["variants"]["negative_0"]["n"] == 12
        else:
            figures.append(plain_evaluate(manifest, what.evaluate[0], ctx, store))
    assert figures[0] == figures[1]

    def nothing(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(GeneratedSet, "measure", nothing)
    assert evaluate_flow(what.dump(), "embedded", str(tmp_path / "flow"))["generated_set"] == figures[0]


def test_a_run_without_its_reference_makes_no_picture(server, photos, tmp_path):
    from variorum.flows.run import run_flow

    what = recipe(photos, {"name": "fashion_mnist", "path": str(tmp_path / "nowhere")})
    with pytest.raises(SourceError, match="dataset-fashion-mnist"):
        run_flow(what.dump(), "embedded", str(tmp_path / "store"))
    assert not list(tmp_path.glob("store/objects/*"))
