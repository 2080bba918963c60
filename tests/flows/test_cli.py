import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture
def cli(photos, tmp_path):
    """Runs the command in a folder with `recipe.yaml` in it; returns the finished process."""
    data = {
        "dataset": "d",
        "version": "1.0.0",
        "samples_per_shard": 4,
        "source": {"name": "image_folder", "path": str(photos)},
        "generate": [{"name": "probe"}],
        "evaluate": [{"name": "brightness"}],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    environment = {
        **os.environ,
        "PYTHONPATH": str(PLUGINS),
        "VARIORUM_CACHE": str(tmp_path / "cache"),
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return call


def test_from_plan_to_verify(cli, tmp_path):
    planned = cli("plan", "recipe.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "image_folder, 12 samples, 3 classes" in planned.stdout
    assert "3 of up to 4; 0 done already" in planned.stdout

    ran = cli("run", "recipe.yaml", "--no-prefect", "--workers", "2")
    assert ran.returncode == 0, ran.stderr
    assert "negative_0" in ran.stdout
    edition = tmp_path / "store" / "editions" / "d" / "1.0.0"
    assert {path.name for path in edition.iterdir()} >= {"manifest.json", "README.md", "contact_sheet.png", "data"}
    assert (edition / "evaluation-brightness.json").exists()

    assert "3 done already" in cli("plan", "recipe.yaml").stdout
    assert cli("show").stdout == "d@1.0.0\n"
    assert "load it: " in cli("show", "d").stdout
    verified = cli("verify", "d")
    assert (verified.returncode, verified.stdout) == (0, "d@1.0.0: 3 shards and 24 pictures match their hashes\n")

    shard = next((edition / "data").iterdir()).resolve()
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    verified = cli("verify", "d@1.0.0")
    assert verified.returncode == 1
    assert "content doesn't match its name" in verified.stderr
    named = [path for path in (tmp_path / "store" / "objects").iterdir() if path.name in verified.stderr]
    assert [path.read_bytes() for path in named] == [bytes(content)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "imagenet_f"), "error: no recipe 'imagenet_f'"),
        (("run", "recipe.yaml", "--no-prefect", "--set", "generate.probe.strenth=1"), "strenth: no such field"),
        (("run", "recipe.yaml", "--no-prefect", "--set", "source.path=nowhere"), "path nowhere is not there"),
        (("build", "recipe.yaml", "--no-prefect", "--store", "recipe.yaml"), "choose another place with --store"),
        (("evaluate", "recipe.yaml", "--no-prefect"), "no edition 'd@1.0.0' in store; there are: none yet"),
        (("verify", "e"), "no edition 'e' in store; there are: none yet"),
        (("card", "recipe.yaml"), "no edition 'd@1.0.0'"),
    ],
)
def test_an_error_is_one_line_and_no_traceback(cli, arguments, said):
    done = cli(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_an_unknown_option_is_an_error_of_usage(cli):
    done = cli("run", "recipe.yaml", "--stor", "x")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
