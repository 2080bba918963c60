"""A query gives the verdicts that rules give, and the same ones however DuckDB goes about it."""

import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import yaml

from variorum.curation.rules import query, sql
from variorum.curation.rules.query import named_columns, opened
from variorum.curation.rules.sql import Sql
from variorum.edition.verdicts import verdict_table
from variorum.schemas.component import FLAGS, NUMBERS, TEXTS, Context
from variorum.schemas.errors import RecipeError, TemporaryError
from variorum.schemas.lookup import build_component
from variorum.schemas.more import known_columns, without
from variorum.schemas.recipe import check_curation
from variorum.schemas.table import Table

CONTEXT = Context(0, None, None)
KNOWN = {"d": {"score": NUMBERS, "proposed": NUMBERS, "flag": FLAGS, "layer": TEXTS}}
SOME = "SELECT id, 'review' AS action, 'odd' AS reason FROM pictures"


@pytest.fixture(autouse=True)
def cache(own_cache):
    """DuckDB writes what doesn't fit the memory to the cache folder."""


def edition(rows: int, classes: int) -> pa.Table:
    rng = np.random.default_rng(rows)
    label = rng.integers(-1, classes, rows)
    score = np.round(rng.random(rows), 2)
    score[rng.random(rows) < 0.1] = np.nan
    return pa.table(
        {
            "id": [f"{one:032x}" for one in rng.permutation(rows)],
            "sha256": [f"{one:064x}" for one in range(rows)],
            "label": pa.array(label),
            "labels": pa.array([[f"c{one}"] if one >= 0 else [] for one in label], pa.list_(pa.string())),
            "variant": ["original"] * rows,
            "d.score": score,
            "d.proposed": np.where(rng.random(rows) < 0.5, label, rng.integers(-1, classes + 1, rows)),
            "d.flag": rng.random(rows) < 0.3,
            "d.layer": np.array(["", "file", "pixels"], object)[rng.integers(0, 3, rows)],
            "gate.p": rng.random(rows),
        }
    )


@pytest.fixture(scope="module")
def small() -> pa.Table:
    return edition(3000, 40)


def said(step, table: pa.Table) -> pa.Table:
    return verdict_table(step.decide(Table(table, step.component_name()), CONTEXT), table)


def verdicts(text: str, table: pa.Table, **fields) -> pa.Table:
    return said(Sql(query=text, **fields), table)


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables are equal bit for bit; of Arrow's NaN no two are."""
    bits = [pa.array(table[name].to_numpy().view(np.int64)) for table in (one, other) for name in ("value", "worth")]
    texts = [table.drop_columns(["value", "worth"]) for table in (one, other)]
    return texts[0].equals(texts[1]) and bits[0].equals(bits[2]) and bits[1].equals(bits[3])


def test_a_query_says_what_rules_say(small):
    rules = [
        {"when": [{"column": "d.layer", "equals": "file"}, {"column": "d.score", "above": 0.9}],
         "action": "drop", "reason": "blank", "guarded": False},
        {"when": [{"column": "d.flag", "equals": True}, {"column": "d.score", "at_least": 0.5}],
         "action": "relabel", "to": "d.proposed", "reason": "wrong_label", "value": "d.score"},
        {"when": [{"column": "gate.p", "below": 0.3}], "action": "drop", "reason": "dull", "value": "gate.p"},
        {"when": [{"column": "d.score", "above": 0.2}], "action": "review", "to": "d.proposed", "reason": "doubtful",
         "value": "d.score", "chance": "gate.p", "worth": 2},
    ]  # fmt: skip
    fields = {"min_class_size": 70, "max_share_per_class": 0.1}
    text = """
        WITH found AS (
            SELECT id, d.proposed AS proposed, d.score AS score, gate.p AS p, CASE
                WHEN d.layer = 'file' AND d.score > 0.9 THEN 1
                WHEN d.flag AND d.score >= 0.5 THEN 2
                WHEN gate.p < 0.3 THEN 3
                WHEN d.score > 0.2 THEN 4
            END AS rule FROM pictures)
        SELECT id,
            CASE rule WHEN 2 THEN 'relabel' WHEN 4 THEN 'review' ELSE 'drop' END AS action,
            CASE rule WHEN 1 THEN 'blank' WHEN 2 THEN 'wrong_label' WHEN 3 THEN 'dull' ELSE 'doubtful' END AS reason,
            proposed AS label,
            CASE WHEN rule = 3 THEN p WHEN rule > 1 THEN score END AS value,
            CASE WHEN score > 0.2 THEN p * 2 END AS worth,
            rule > 1 AS guarded
        FROM found WHERE rule IS NOT NULL -- the first that matches
    """
    policy = said(build_component("curate", {"name": "policy", "rules": rules, **fields}, "here"), small)
    policy = policy.filter(pa.compute.not_equal(policy["action"], "note")).drop_columns("by")
    mine = verdicts(text, small, **fields).drop_columns("by")
    reasons = set(mine["reason"].to_pylist())
    assert {"dull_rare", "dull_capped", "wrong_label_without_another_label", "blank", "doubtful"} <= reasons
    assert same(mine.sort_by("id"), policy.sort_by("id"))


PAGE = Path(__file__).parents[2] / "docs" / "curation" / "rules.md"
OTHERS = ("suspicion", "out_of_distribution")
"""Detectors that the page's query reads, besides `quality`."""
TIGHT = "40MiB"
"""Memory that doesn't hold what the next query needs."""
ORDERED = """
    WITH scored AS (
        SELECT id, label,
            d.score - avg(d.score ORDER BY d.score) OVER (PARTITION BY label) AS apart,
            avg(gate.p::DECIMAL(18, 9)) OVER (PARTITION BY d.layer) AS mean,
            abs(d.score - median(d.score) OVER (PARTITION BY label)) AS far,
            rank() OVER (PARTITION BY label ORDER BY d.score DESC) AS place,
            row_number() OVER (PARTITION BY label ORDER BY d.score, id) AS turn
        FROM pictures),
    classes AS (SELECT label, sum(d.score ORDER BY d.score) AS total, count_if(d.flag) AS flags FROM pictures
        GROUP BY label)
    SELECT id, CASE WHEN place <= 5 THEN 'review' ELSE 'drop' END AS action, 'far' AS reason,
        far + apart + mean + total AS value, flags * far AS worth
    FROM scored JOIN classes USING (label) WHERE apart > 0.1 OR place <= 5 OR turn < 9
    UNION ALL SELECT * FROM (SELECT id, 'note', 'last', sqrt(gate.p), NULL FROM pictures ORDER BY d.score, id LIMIT 50)
"""


def test_the_verdicts_are_the_same_bytes_whatever_the_threads_and_the_memory(monkeypatch, own_cache):
    table, spilled, found, coded = edition(120_000, 200), [], [], sql._coded

    def seen(batch):
        spilled.append(any(own_cache.glob("duckdb/*.tmp")))
        return coded(batch)

    def cut(names, size):
        return (table.slice(start, size).select(names) for start in range(0, len(table), size))

    monkeypatch.setattr(sql, "_coded", seen)
    for threads, memory, size in ((1, "1GiB", 120_000), (2, "1GiB", 30_000), (2, TIGHT, 20_000), (1, TIGHT, 70_000)):
        spilled.clear()
        monkeypatch.setattr(query, "THREADS", threads)
        monkeypatch.setattr(query, "MEMORY", memory)
        monkeypatch.setattr(Table, "blocks", lambda self, names, size=size: cut(names, size))
        found.append(verdicts(ORDERED, table))
        assert any(spilled) == (memory == TIGHT)
    assert len(found[0]) > 1000
    assert all(same(one, found[0]) for one in found[1:])
    assert not any(own_cache.rglob("*.tmp"))


def test_what_does_not_fit_memory_and_half_of_the_free_disk_ends_in_one_line(monkeypatch, own_cache):
    monkeypatch.setattr(query, "MEMORY", TIGHT)
    monkeypatch.setattr(query.shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    with pytest.raises(TemporaryError, match=r"more than 40MiB of memory and 0\.0 GB of disk, half of what was free"):
        verdicts(ORDERED, edition(120_000, 200))
    assert not any(own_cache.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELEC id", "syntax error"),
        ("", "write one SELECT"),
        ("SELECT 1; SELECT 2", "write one SELECT"),
        ("DROP TABLE pictures", "write one SELECT"),
        ("COPY pictures TO 'x.csv'", "write one SELECT"),
        ("SELECT * FROM 'x.csv'", "no table 'x.csv'; the table is called pictures"),
        ("SELECT * FROM read_csv('x.csv')", "TABLE_FUNCTION isn't allowed"),
        ("SELECT * FROM main.pictures", "no table 'main.pictures'"),
        ("SELECT * FROM information_schema.tables", "no table"),
        ("SELECT * FROM pictures TABLESAMPLE 10%", "samples and DISTINCT ON take rows"),
        ("SELECT * FROM pictures USING SAMPLE 10", "samples and DISTINCT ON take rows"),
        ("SELECT DISTINCT ON (label) id FROM pictures", "samples and DISTINCT ON take rows"),
        ("SELECT id FROM pictures LIMIT 5", "LIMIT needs an ORDER BY that ends with id"),
        ("SELECT id FROM pictures ORDER BY id, label LIMIT 5", "LIMIT needs an ORDER BY that ends with id"),
        ("SELECT id FROM (SELECT id FROM pictures LIMIT 10%)", "LIMIT needs an ORDER BY that ends with id"),
        ("SELECT p.id FROM pictures p POSITIONAL JOIN pictures q", "no POSITIONAL JOIN"),
        ("SELECT p.id FROM pictures p ASOF JOIN pictures q ON p.label >= q.label", "no ASOF JOIN"),
        ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r) SELECT * FROM r", "RECURSIVE_CTE_NODE isn't"),
        ("SELECT random()", "function 'random' isn't one of those"),
        ("SELECT system.main.abs(1)", "function 'abs' isn't one of those"),
        ("SELECT now()", "function 'now' isn't"),
        ("SELECT current_date", "current_date differs"),
        ("SELECT Current_User", "Current_User differs"),
        ("SELECT 'today'::DATE", "no CAST to DATE"),
        ("SELECT any_value(label) FROM pictures", "function 'any_value' isn't"),
        ("SELECT row_number()", "function 'row_number' isn't"),
        ("SELECT sum(gate.p) FROM pictures", r"write sum\(x::DECIMAL\(18, 6\)\)"),
        ("SELECT avg(gate.p ORDER BY gate.p, id) FROM pictures", "depends on their order"),
        ("SELECT avg(gate.p::DOUBLE) OVER () FROM pictures", "depends on their order"),
        ("SELECT row_number() OVER (ORDER BY label) FROM pictures", "row_number OVER needs an ORDER BY that ends"),
        ("SELECT count(*) OVER (ORDER BY label ROWS 3 PRECEDING) FROM pictures", "count OVER needs an ORDER BY"),
        ("SELECT COLUMNS('l.*') FROM pictures", r"COLUMNS\(…\) or ORDER BY ALL isn't allowed"),
        ("SELECT " + "abs(" * 600 + "1" + ")" * 600, "nested too deeply"),
        ("SELECT id FROM pictures WHERE id = $1", "PARAMETER isn't allowed"),
    ],
)
def test_what_may_differ_from_run_to_run_is_refused(text, message):
    with pytest.raises(RecipeError, match=rf"^curate\.sql\.query: .*{message}"):
        named_columns(text)


def test_other_names_of_types_are_the_same_types():
    text = "SELECT x::INT, x::REAL, x::NUMERIC(9, 2), x::TEXT, x::BOOL, sum(x::INT), avg(x::NUMERIC(9, 2))"
    assert named_columns(f"{text} FROM pictures GROUP BY x") == ("x",)


def test_a_sum_without_order_does_differ():
    """The reason for the rules about sums."""
    values = np.random.default_rng(0).random(50_000)
    with opened() as base:
        base.register("x", pa.table({"v": values}))
        base.register("y", pa.table({"v": np.sort(values)}))
        loose, other, exact, same = (
            base.sql(f"SELECT {text} FROM {table}").fetchall()
            for text in ("sum(v)", "sum(v::DECIMAL(18, 9)), avg(v::DECIMAL(18, 9)), sum(v ORDER BY v)")
            for table in "xy"
        )
    assert loose != other
    assert exact == same


def test_the_database_is_closed_to_files_and_to_python(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    x = pa.table({"a": [1]})
    assert len(x) == 1
    for text in (f"FROM read_csv('{tmp_path}/x.csv')", f"COPY (SELECT 1) TO '{tmp_path}/y.csv'", "SET threads = 1",
                 f"ATTACH '{tmp_path}/z.db'", "INSTALL httpfs", "FROM x"):  # fmt: skip
        with pytest.raises(RecipeError), opened() as base:
            base.execute(text).fetchall()
    assert {path.name for path in tmp_path.iterdir()} == {"x.csv", "cache"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SOME + " WHERE d.scor > 1", "d gives no column 'scor'; did you mean d.score"),
        (SOME + " WHERE lable = 1", 'Referenced column "lable" not found'),
        (
            SOME + " WHERE d.score + d.layer > 1",
            r"No function matches the given name and argument types '\+\(DOUBLE, VARCHAR\)'",
        ),
        ("SELECT id, 'drop' AS action FROM pictures", "gives no column 'reason'; it gives id, action, reason and"),
        (f"SELECT *, 1 AS score FROM ({SOME})", "gives a column 'score'"),
        (f"SELECT *, d.layer AS value FROM ({SOME}) JOIN pictures USING (id)", "gives a column"),
        (
            f"SELECT s.*, d.layer AS value FROM ({SOME}) s JOIN pictures USING (id)",
            "value is of type VARCHAR, not DOUBLE",
        ),
        (f"SELECT s.*, d.score AS guarded FROM ({SOME}) s JOIN pictures USING (id)", "guarded is of type DOUBLE"),
        ("SELECT 1 AS id, 'drop' AS action, 'x' AS reason", "id is of type INTEGER, not VARCHAR"),
    ],
)
def test_a_query_that_cannot_work_is_refused_before_any_work(text, message):
    with pytest.raises(RecipeError, match=message):
        Sql(query=text).check_columns(KNOWN)


def test_columns_of_unknown_kind_fit_anything():
    text = SOME + " p WHERE x.flag AND x.text = 'a' AND p.x.score > 0.5 AND x.score < d.score AND split = 'train'"
    Sql(query=text).check_columns(KNOWN)
    assert Sql(query=text).needs() == ("x", "d")


def test_needs_are_the_detectors_and_no_names_of_the_query():
    text = "WITH r AS (SELECT q.id, q.d.score AS s FROM pictures q) SELECT r.id, 'drop' AS action, 'x' AS reason FROM r"
    assert Sql(query=f"{text} JOIN pictures USING (id) WHERE r.s > gate.p").needs() == ("d",)
    with pytest.raises(RecipeError, match="sql needs d before it"):
        check_curation([Sql(query=text)])
    assert without(Sql(query=text), ["e"]) == Sql(query=text)
    assert without(Sql(query=text), ["d"]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 'x' AS id, 'drop' AS action, 'y' AS reason", "a verdict on x, which isn't a picture"),
        (SOME.replace("id,", "NULL AS id,", 1), "a verdict whose id is NULL"),
        (SOME.replace("review", "burn"), "no action 'burn'; there are: drop, keep, note, relabel, review, weight"),
        (SOME.replace("review", "audit"), "no action 'audit'"),
        (SOME.replace("odd", "Odd one"), "'Odd one' is no reason"),
        (SOME.replace("'odd'", "NULL"), "NULL is no reason"),
        (SOME.replace("'odd'", "'a' || substring(id, 20)"), "3000 different reasons"),
        (f"{SOME} UNION ALL {SOME}", "gives a picture twice with the same action and reason"),
        (SOME.replace("review", "weight"), r"the weight nan, outside \[0, 1\]"),
        (
            SOME.replace("'odd' AS reason", "'odd' AS reason, d.score * 2 AS value").replace("review", "weight"),
            "the weight",
        ),
        (SOME + " WHERE CAST(variant AS INTEGER) = 1", "Could not convert string 'original' to INT32"),
        (SOME + " WHERE e.score > 1", r"no column 'e\.score'"),
    ],
)
def test_verdicts_that_nobody_can_act_on(small, text, message):
    with pytest.raises(RecipeError, match=message):
        verdicts(text, small)


def test_a_missing_number_passes_no_test(small):
    missing = int(np.isnan(small["d.score"].to_numpy()).sum())
    assert missing
    over, under, none = (
        len(verdicts(f"{SOME} WHERE d.score {test}", small)) for test in ("> 0.5", "<= 0.5", "IS NULL")
    )
    assert over + under == len(small) - missing
    assert none == missing


def test_a_row_without_an_action_is_no_verdict(small):
    text = SOME.replace("'review'", "CASE WHEN d.flag THEN 'note' END")
    assert len(verdicts(text, small)) == sum(small["d.flag"].to_pylist())
    assert len(verdicts(f"{SOME} WHERE false", small)) == 0
    assert len(verdicts(SOME, small.slice(0, 0))) == 0


def test_the_order_is_by_action_reason_value_and_id(small):
    text = """SELECT id, CASE WHEN d.flag THEN 'weight' ELSE 'keep' END AS action, d.layer || 'x' AS reason,
        d.score AS value FROM pictures WHERE d.score IS NOT NULL"""
    rows = verdicts(text, small).to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["action"], row["reason"], -row["value"], row["id"]))
    assert all(math.isnan(row["worth"]) for row in rows)


def test_the_page_lists_what_is_allowed_and_its_query_works():
    page = PAGE.read_text()
    for name in query.SCALARS | query.AGGREGATES | query.SUMS | query.PLACES:
        assert f"`{name}`" in page or not re.search("[a-z]", name) or name == "count_star", name
    (step,) = yaml.safe_load(page.partition("## sql")[2].partition("```yaml\n")[2].partition("```")[0])
    parts = [build_component("curate", {"name": name}, "here") for name in ("quality", *OTHERS)]
    known = {part.component_name(): known_columns(part) for part in parts}
    assert None not in known.values()
    found = build_component("curate", step, "here")
    found.check_columns(known)
    assert set(found.needs()) == set(known)


def test_without_duckdb_it_says_what_to_install():
    code = (
        "import sys; sys.modules['duckdb'] = None\nfrom variorum.curation.rules.sql import Sql\n"
        "try: Sql(query='SELECT 1').needs()\nexcept Exception as error: print(type(error).__name__, error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "RecipeError curate.sql needs the package duckdb: pip install 'variorum[duckdb]'"
