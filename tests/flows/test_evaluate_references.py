"""An evaluation with references as Prefect tasks: the same figures as on threads, and nothing measured twice."""

from __future__ import annotations

import pytest

from variorum.pipeline import Job, build, evaluate, run
from variorum.schemas.errors import SourceError
from variorum.schemas.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_cache")]


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


def test_a_flow_finds_what_threads_find(server, photos, tmp_path, monkeypatch):
    from variorum.evaluation.imagenet_g.generated_set import GeneratedSet
    from variorum.flows.prefect_runner import in_flow

    what = recipe(photos, {"name": "corrupted", "of": {"name": "image_folder", "path": str(photos)}})
    flow, plain = (Job(what, str(tmp_path / name)) for name in ("flow", "plain"))

    def figures():
        def work(job, runner, progress):
            return evaluate(job, build(job), runner, progress)["generated_set"]

        return in_flow("test", work, flow)

    found = figures()
    assert found["variants"]["negative_0"]["n"] == 12
    assert found == evaluate(plain, build(plain))["generated_set"]

    def nothing(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(GeneratedSet, "measure", nothing)
    for path in (tmp_path / "flow" / "editions").rglob("evaluation-*.json"):
        path.unlink()
    assert figures() == found


def test_a_run_without_its_reference_makes_no_picture(server, photos, tmp_path):
    from variorum.flows.prefect_runner import in_flow

    what = recipe(photos, {"name": "fashion_mnist", "path": str(tmp_path / "nowhere")})
    with pytest.raises(SourceError, match="dataset-fashion-mnist"):
        in_flow("test", run, Job(what, str(tmp_path / "store")))
    assert not list(tmp_path.glob("store/objects/*"))
