"""A generated set from the command line: its plan, and what its generator remembers of a known set."""

from __future__ import annotations

import os

import pyarrow.parquet as pq
import pytest
import yaml
from warm_command import run_command

from variorum.edition.editions import resolve
from variorum.edition.ledgers import read_ledger
from variorum.edition.store import Store


@pytest.fixture
def cli(tmp_path):
    """Runs the command in a folder with recipes of ten, and other ten, drawn pictures."""
    for name, seed in (("known", 0), ("same", 0), ("other", 1)):
        data = {
            "dataset": name,
            "version": "1.0.0",
            "seed": seed,
            "source": {"name": "class_names", "table": "fashion_mnist", "per_class": 1, "licence": "MIT"},
            "generate": [{"name": "class_conditional", "steps": 3, "guidance": [2.0, 3.0]}],
            "curate": [{"name": "features", "encoder": "judge_encoder"}, {"name": "duplicates"}],
        }
        if name != "known":
            data["curate"].append({"name": "leakage", "against": ["known.parquet"], "embedding": False})
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(data))
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}

    def call(*arguments):
        done = run_command(arguments, tmp_path, environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.mark.slow
def test_a_plan_comes_first_and_a_known_set_is_recognised(cli, tmp_path):
    shown = cli("plan", "known.yaml")
    assert "20 pictures; the first:" in shown
    assert "guidance_2" in shown
    (path,) = [line.removeprefix("all rows: ") for line in shown.splitlines() if line.startswith("all rows: ")]
    assert pq.read_metadata(tmp_path / path).num_rows == 20
    for name in ("known", "same", "other"):
        cli("build", f"{name}.yaml", "--runner", "threads")
    cli("curate", "known.yaml", "--runner", "threads")
    said = cli("blocklist", "known", "known.parquet")
    assert "20 pictures of known@1.0.0" in said
    store, figures = Store(str(tmp_path / "store")), {}
    for name in ("same", "other"):
        cli("curate", f"{name}.yaml", "--runner", "threads")
        figures[name] = read_ledger(resolve(name, store), store)[1].figures["leakage"]
    assert figures["same"]["into"] == {"known": 20}
    assert figures["other"]["leaking"] == 0
