import re
import tomllib
from pathlib import Path

from variorum.schemas import extras

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_errors_name_extras_that_there_are(monkeypatch):
    named = {extra.name for extra in extras.EXTRAS.values()}
    assert named <= set(PROJECT["optional-dependencies"])
    assert extras.needs("curate.sql", "duckdb") == "curate.sql needs the package duckdb: pip install 'variorum[duckdb]'"
    assert extras.needs("it", "other") == "it needs the package other: pip install other"
    monkeypatch.setattr(extras, "find_spec", lambda package: None if package == "ray" else object())
    assert [extra.name for extra in extras.not_installed()] == ["ray"]


def test_no_extra_is_installed_by_everybody():
    base = {re.split(r"[\[<>=]", line)[0] for line in PROJECT["dependencies"]}
    wanted = PROJECT["optional-dependencies"]
    only = {name for name in wanted if name not in ("dev", "http")}
    assert not {re.split(r"[\[<>=]", line)[0] for name in only for line in wanted[name]} & base
