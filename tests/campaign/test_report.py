"""The page of promises has a row for each marked test, and each marked test says what it holds."""

import re

from report import BEGIN, END, HERE, NEW, PAGE, THEMES, part_of, rows, summary, tables, title, total


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


def test_a_run_is_cut_into_parts_that_cost_alike():
    tests = [f"test_{number}" for number in range(40)]
    costs = {name: float(number) for number, name in enumerate(tests) if number < 38}
    placed = part_of(tests, costs, 4)
    assert placed == part_of(reversed(tests), costs, 4)
    assert sorted(placed) == sorted(tests)
    sums = [sum(costs.get(name, NEW) for name in tests if placed[name] == part) for part in (1, 2, 3, 4)]
    assert max(sums) - min(sums) < 38, sums


def test_the_time_between_parts_doesnt_count():
    one = {"tried": 1, "held": 1}
    found = {"a": one | {"began": 0.0, "seconds": 120.0}, "b": one | {"began": 60.0, "seconds": 120.0}}
    assert (
        total(found | {"c": one | {"began": 9000.0, "seconds": 60.0}})
        == "In all, 3 trials in 4 minutes: 3 held, 0 fell."
    )
