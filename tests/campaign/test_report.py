"""The page of promises has a row for each marked test, and each marked test says what it holds."""

import re

from report import BEGIN, END, HERE, PAGE, THEMES, rows, summary, tables, title


def test_every_module_with_marked_tests_is_a_theme():
    marked = {path.stem.removeprefix("test_") for path in HERE.glob("test_*.py") if rows(path.stem[5:])}
    assert marked == set(THEMES)
    assert len({row.test for theme in THEMES for row in rows(theme)}) == sum(len(rows(theme)) for theme in THEMES)


def test_every_marked_test_says_what_is_guaranteed_and_how_it_is_attacked():
    for row in (row for theme in THEMES for row in rows(theme)):
        assert row.guarantee.endswith("."), row.test
        assert row.attack.endswith("."), row.test
        assert "|" not in row.guarantee + row.attack


def test_the_page_has_the_rows_of_the_tests():
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    starts = [row.start for theme in THEMES for row in rows(theme)]
    lines = [line for line in written.splitlines() if line.startswith("| ") and "what we guarantee" not in line]
    assert [re.sub(r" [0-9–]+ \| [0-9–]+ \|$", "", line) for line in lines] == starts
    assert [line[3:] for line in written.splitlines() if line.startswith("## ")] == [title(theme) for theme in THEMES]


def test_figures_are_counted():
    found = {
        "test_signals": {
            "tried": 3,
            "held": 2,
            "began": 90.0,
            "seconds": 1.5,
            "trials": [{"trial": "one", "fell": ""}, {"trial": "two", "fell": "hangs"}, {"trial": "three", "fell": ""}],
        }
    }
    text = summary(found)
    assert re.search(r"^signals +3 +2 +1 +1\.5$", text, re.MULTILINE)
    assert "fell: two: hangs" in text
    assert "one" not in text
    assert text.endswith("In all, 3 trials in 0 minutes: 2 held, 1 fell.\n")
    row = next(row for row in rows("limits") if row.test == "test_signals")
    assert f"{row.start} 3 | 2 |" in tables(found)
