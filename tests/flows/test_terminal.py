"""What the command line shows of figures: tables that fit, whole words, and where the rest is."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from variorum.flows import terminal
from variorum.flows.terminal import first_tables, parts_that_fit, widths_of

WIDE = """### The generated set against real pictures

Embeddings by e. 1000 real pictures | or so.

| set | n | recognised % | FID | KID × 1000 | precision | recall | density | coverage | Vendi | spread |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
| *real* | 500 | 93.8 [91.3, 95.6] | 27.98\\* | -0.03 ± 0.38 | 0.88 | 0.90 | 0.94 | 0.88 | 6.25 | 0.362 |
| guidance_1.5 | 499 | 93.2 [90.6, 95.1] | 68.33\\* | 48.99 ± 2.21 | 0.80 | 0.27 | 0.67 | 0.38 | 4.36 | 0.269 |

| other | table |
|---|---|
| 1 | 2 |
"""
NARROW = """### Accuracy drop: classifier, a &#91;b&#93;

| variant | drop |
|---|---:|
| a&#124;b&#91;red]c | -1.5 [-3.2, 0.1] |
| **average over edits** | 2.0 [1.0, 3.0] |
"""


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_wide_table_comes_in_parts_that_fit_with_whole_words(width):
    ((title, rows),) = first_tables(WIDE)
    assert title == "The generated set against real pictures"
    assert rows[1][:4] == ["real", "500", "93.8 [91.3, 95.6]", "27.98*"]
    parts = list(parts_that_fit(rows, width))
    assert len(parts) == {40: 5, 80: 2, 200: 1}[width]
    assert all(sum(widths_of(part)) <= width for part in parts)
    assert all([row[0] for row in part] == ["set", "real", "guidance_1.5"] for part in parts)
    assert [name for part in parts for name in part[0][1:]] == rows[0][1:]
    assert parts[0][1][2] == ("93.8 [91.3, 95.6]" if width == 200 else "93.8")


def test_a_narrow_table_keeps_its_intervals_and_a_column_that_cannot_fit_stands_alone():
    ((_, rows),) = first_tables(NARROW)
    assert list(parts_that_fit(rows, 60)) == [rows]
    assert rows[1:] == [["a|b[red]c", "-1.5 [-3.2, 0.1]"], ["average over edits", "2.0 [1.0, 3.0]"]]
    assert [row[1] for row in next(parts_that_fit(rows, 10))] == ["drop", "-1.5", "2.0"]
    assert list(first_tables("### Nothing\n\nno table\n")) == []
    ((_, rows),) = first_tables("### Bars\n\n|C| grows.\n\n| a | b |\n|---|---:|\n| 1 | 2 |\n")
    assert rows == [["a", "b"], ["1", "2"]]


@pytest.mark.parametrize(
    ("card", "told"), [(WIDE + NARROW, "figures in x/README.md"), ("old", "come with `variorum card`")]
)
def test_figures_are_short_and_say_where_the_rest_is(monkeypatch, capsys, card, told):
    monkeypatch.setattr("variorum.report.card.render_evaluations", lambda *_: WIDE + NARROW)
    monkeypatch.setattr(terminal, "console", lambda: Console(width=80))
    store = SimpleNamespace(read_beside=lambda *_: card.encode(), edition_path=lambda _: "x")
    terminal.print_evaluations(None, None, store)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "guidance_1.5  499          93.2" in shown
    assert "a|b[red]c" in shown
    assert "table" not in shown
    assert told in shown
