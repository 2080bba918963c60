"""Text from data can't command the terminal, and an empty store isn't the working folder."""

import json
import logging

import pytest
from rich.console import Console
from typer.testing import CliRunner

from variorum.flows import terminal, terminal_editions
from variorum.flows.cli import app
from variorum.reports.diff import Change
from variorum.reports.figures import Shown

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp.\udcff[/b][red]x"
UNSAFE = "\x1b\x07\x9b\r\u202e\udcff"


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(terminal, "console", lambda **_: Console(width=300))


def harmless(text: str) -> bool:
    return text != "" and not set(text) & set(UNSAFE) and "[/b][red]x" in text


def test_tables_and_lines_hold_no_control_characters_and_no_markup(monkeypatch, capsys):
    terminal.print_table([HOSTILE], [[HOSTILE]], HOSTILE)
    assert harmless(capsys.readouterr().out)
    for kind in ("changed", "moved"):
        terminal_editions.print_diff([Change(kind, "id", HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,))], 5)
        assert harmless(capsys.readouterr().out)
    monkeypatch.setattr(
        "variorum.reports.card.evaluation_tables", lambda *_: [Shown(HOSTILE, ("a", "b"), [(HOSTILE, "")])]
    )
    monkeypatch.setattr("variorum.reports.card.evaluations", lambda *_: {HOSTILE: {"figures": {}}})
    monkeypatch.setattr("variorum.edition.editions.folder_of", lambda *_: HOSTILE)
    monkeypatch.setattr("variorum.edition.editions.read_beside", lambda *_: b"a card")
    terminal_editions.print_evaluations(None, None, None)
    assert harmless(capsys.readouterr().out)
    terminal.say(f"a\tb\n{HOSTILE}", err=True)
    said = capsys.readouterr().err
    assert harmless(said)
    assert said.startswith("a\tb\n")


def test_json_keeps_every_character_and_is_safe_to_print(capsys):
    terminal.print_json({HOSTILE: "ü"})
    printed = capsys.readouterr().out
    assert not set(printed) & set(UNSAFE)
    assert json.loads(printed) == {HOSTILE: "ü"}
    assert "ü" in printed


def test_log_records_are_plain():
    record = terminal.PlainRecord("x", logging.WARNING, "f", 1, "%s is left out", (HOSTILE,), None)
    assert harmless(record.getMessage())


def test_an_error_about_data_is_plain(command, tmp_path):
    (tmp_path / "r.yaml").write_text('dataset: d\nversion: 1.0.0\nsource: {name: image_folder, path: x, "\\e[2J": 1}\n')
    done = command("plan", "r.yaml")
    assert done.returncode == 1
    assert "no such field" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("arguments", [("show",), ("verify", "d"), ("plan", "imagenet_e")])
def test_an_empty_store_is_refused(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*arguments, "--store", ""], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 2
    assert "is empty; give a folder or a URL" in done.output
    assert list(tmp_path.iterdir()) == []
