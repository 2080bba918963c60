"""The flows of deployments: how far a run goes, on which runner, and what is published where."""

import subprocess
import sys

import pytest
import yaml

from variorum.machine.progress import QUIET
from variorum.pipeline import Job, Threads, run
from variorum.schemas.errors import RecipeError, StoreError
from variorum.schemas.recipe import Recipe

pytestmark = [
    pytest.mark.usefixtures("own_cache"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets of the server's client
]


def recipe(photos, **more) -> Recipe:
    fields = {
        "dataset": "d",
        "version": "1.0.0",
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": "probe"}],
        "curate": [{"name": "bright"}, {"name": "bright_rules", "drop": 3}],
        "evaluate": [{"name": "brightness"}],
    }
    return Recipe.parse({**fields, **more})


@pytest.mark.parametrize(
    ("until", "version", "evaluated", "card"),
    [("build", "1.0.0", False, False), ("release", "1.0.0-r1", False, False), ("everything", "1.0.0-r1", True, True)],
)
def test_a_run_goes_as_far_as_it_is_told(photos, tmp_path, until, version, evaluated, card):
    from variorum.flows.scheduled_flows import WORK

    job = Job(recipe(photos), str(tmp_path / "store"))
    manifest = WORK[until](job, Threads(), QUIET)
    folder = tmp_path / "store" / "editions" / "d" / version
    assert manifest.version == version
    assert (folder / "README.md").exists() == card
    assert any("brightness" in path.name for path in folder.iterdir()) == evaluated
    assert run(job).digest() == run(Job(recipe(photos), str(tmp_path / "other"))).digest()


def test_without_curation_a_release_is_the_edition(photos, tmp_path):
    from variorum.flows.scheduled_flows import WORK

    job = Job(recipe(photos, curate=[]), str(tmp_path / "store"))
    assert WORK["release"](job, Threads(), QUIET) == WORK["build"](job, Threads(), QUIET)


def test_parameters_that_cant_work_are_named(photos, tmp_path, monkeypatch):
    from variorum.flows.scheduled_flows import published, scheduled

    monkeypatch.delenv("VARIORUM_ORG", raising=False)
    store = str(tmp_path / "store")
    run(Job(recipe(photos), store))
    with pytest.raises(StoreError, match="d: no repository is given; set repo, or VARIORUM_ORG"):
        published.fn("d", store=store)
    for flow in (published.fn, scheduled.fn):
        with pytest.raises(RecipeError, match="put credentials into the environment"):
            flow("d", store="s3://me:hunter2hunter2@bucket/x")


@pytest.mark.slow
def test_another_runner_gives_the_same_digest(server, photos, tmp_path):
    from variorum.flows.scheduled_flows import scheduled

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(photos).dump()))
    found = scheduled(str(tmp_path / "recipe.yaml"), store=str(tmp_path / "store"), runner="processes", workers=2)
    assert found == run(Job(recipe(photos), str(tmp_path / "other"))).digest()


PUBLISH = """
from variorum.flows.scheduled_flows import published
print(*(published("shots@1.0.0", store={store!r}) for _ in range(2)))
"""


@pytest.mark.slow
def test_an_edition_is_published_once(server, hub, shots, tmp_path):
    from hub_front import TOKEN
    from hub_server import environment
    from prefect.settings import get_current_settings

    variables = environment(hub) | {"VARIORUM_ORG": "nightly"}
    variables |= {"PREFECT_API_URL": str(get_current_settings().api.url), "PREFECT_HOME": str(server)}
    commits = hub.commits
    words = [sys.executable, "-c", PUBLISH.format(store=str(shots / "store"))]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{hub.url}/datasets/nightly/shots"] * 2
    assert {"manifest.json", "view.html"} < set(hub.files("nightly/shots", "1.0.0"))
    assert hub.commits == commits + 1
    assert TOKEN not in done.stdout + done.stderr
