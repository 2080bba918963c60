"""Deciding by `sql` and by `policy`, with the same rules: CPU time and peak memory.

The rules are those of `curate_folder`, without the one that drops copies, which `sql` doesn't have; and the same with a
condition on every other column of numbers, so that all of them are read. Each decider runs in its own process on the
edition that decide.py makes. The verdicts must be the same but for the name of the decider.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
from rules_decide import columns_of, cost, make, opened
from timing import measure, peak_mb

from variorum.curation.rules import query
from variorum.curation.rules.policy import Policy
from variorum.curation.rules.rule import Condition, Rule
from variorum.curation.rules.sql import Sql
from variorum.edition.lazy_columns import WideTable
from variorum.machine.cache import cache_dir
from variorum.schemas.table import Table
from variorum.stages.decide import decided

DECIDERS = ("policy", "sql")
NEVER = 1e30
"""No column has larger numbers."""
OFTEN = 0.2
"""Seconds between looks at the size of what lies on the disk."""


def numbers(table: WideTable) -> list[str]:
    """The columns of numbers that detectors gave."""
    kinds = (pa.types.is_floating, pa.types.is_integer)
    return [one.name for one in table.schema if "." in one.name and any(kind(one.type) for kind in kinds)]


def every(policy: Policy, names: list[str]) -> Policy:
    """The rules, and one for each column, which never matches."""
    more = [
        Rule(when=(Condition(column=name, above=NEVER),), action="review", reason=f"column_{place}")
        for place, name in enumerate(names)
    ]
    return policy.model_copy(update={"rules": (*policy.rules, *more)})


def as_sql(policy: Policy) -> Sql:
    """The same rules as a query: the first that matches acts, all others are noted."""
    matched = " UNION ALL ".join(
        f"SELECT id, {place} AS rule, '{rule.action}' AS action, '{rule.reason}' AS reason, "
        f"{rule.to or 'NULL'} AS label, {rule.value or 'NULL'} AS value, "
        f"({'NULL' if rule.chance is None else rule.chance} * {rule.worth})::DOUBLE AS worth, "
        f"{rule.guarded} AS guarded FROM pictures WHERE {' AND '.join(map(test, rule.when))}"
        for place, rule in enumerate(policy.rules)
    )
    text = f"""WITH matched AS ({matched}), ranked AS (
            SELECT *, min(rule) OVER (PARTITION BY id) AS first, max(worth) OVER (PARTITION BY id) AS most FROM matched)
        SELECT id, CASE WHEN rule = first THEN action ELSE 'note' END AS action, reason, label, value, most AS worth,
            guarded FROM ranked"""
    return Sql(query=text, min_class_size=policy.min_class_size, max_share_per_class=policy.max_share_per_class)


def test(condition: Condition) -> str:
    """A condition in SQL."""
    bounds = (
        (">", condition.above),
        (">=", condition.at_least),
        ("<", condition.below),
        ("<=", condition.at_most),
        ("=", condition.equals),
    )
    return " AND ".join(f"{condition.column} {sign} {limit!r}" for sign, limit in bounds if limit is not None)


def deciding(folder: Path, name: str, *, all_columns: bool) -> dict[str, Any]:
    """Decide in this process; the cost of the decider alone, and a digest of its verdicts."""
    job, manifest, columns = opened(folder)
    table = columns_of(job, manifest, columns)
    (policy,) = (step for step in job.recipe.curate if isinstance(step, Policy))
    policy = policy.model_copy(update={"rules": tuple(rule for rule in policy.rules if not rule.drops_copies())})
    policy = every(policy, numbers(table)) if all_columns else policy
    step = as_sql(policy) if name == "sql" else policy
    before, disk, stop = peak_mb() / 1024, [0], threading.Event()
    watch = threading.Thread(target=watched, args=(disk, stop))
    watch.start()
    said: list[pa.Table] = []
    took = measure(lambda: said.append(decided(step, Table(table, name), job.judging)))
    stop.set()
    watch.join()
    return {
        **cost(took, peak_mb() / 1024),
        "peak_before_gib": round(before, 2),
        "disk_gib": round(max(disk) / 2**30, 2),
        "columns": len({column for rule in policy.rules for column in rule.columns()}),
        "verdicts": len(said[0]),
        "sha256": digest(said[0]),
    }


def watched(sizes: list[int], stop: threading.Event) -> None:
    """Note how much DuckDB has on the disk, until it is stopped."""
    while not stop.wait(OFTEN):
        found = 0
        for path in (cache_dir() / "duckdb").glob("*"):
            try:
                found += path.stat().st_size
            except OSError:  # deleted meanwhile
                continue
        sizes.append(found)


def digest(said: pa.Table) -> str:
    """Digest of verdicts in the order of ids, without the name of the decider."""
    found = hashlib.sha256()
    for batch in said.sort_by([(name, "ascending") for name in ("id", "action", "reason")]).to_batches(1 << 16):
        for name in ("id", "action", "reason", "labels", "value", "worth"):
            found.update(repr(batch.column(name).to_pylist()).encode())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--memory", default=query.MEMORY, help="what DuckDB may hold")
    parser.add_argument("--folder", type=Path, help="an edition that was made already, of as many rows as it has")
    parser.add_argument("--decider", choices=DECIDERS, help="decide on that folder in this process")
    parser.add_argument("--all-columns", action="store_true")
    options = parser.parse_args()
    query.MEMORY = options.memory
    if options.decider:
        print(json.dumps(deciding(options.folder, options.decider, all_columns=options.all_columns)))
        return
    report: dict[str, Any] = {"memory": options.memory, "sizes": {}}
    for rows in sorted(options.rows):
        with tempfile.TemporaryDirectory() as place:
            folder = options.folder or Path(place)
            if not options.folder:
                make(rows, folder)
            report["sizes"][str(rows)] = found = {}
            for more in ([], ["--all-columns"]):
                for name in DECIDERS:
                    command = [sys.executable, __file__, "--folder", str(folder), "--decider", name, *more]
                    command += ["--memory", options.memory]
                    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    found[" ".join([name, *more])] = json.loads(told)
                    print(name, *more, told, file=sys.stderr)
    report["same_verdicts"] = all(
        len({one["sha256"] for one in size.values()}) == 1 for size in report["sizes"].values()
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
