"""The policy on a million pictures: CPU seconds and peak memory of one `decide`, every verdict built.

Peer: the same rules in a plain loop over the rows, on a hundredth of them. Limit: making the same number of verdicts
of nothing.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from timing import measure

from curation.policy import Policy
from schemas.verdict import Verdict

MOST_SECONDS, MOST_GIB = 30.0, 4.0
RULES = [
    {
        "when": [{"column": "duplicates.redundant", "equals": True}],
        "action": "drop",
        "reason": "copy",
        "guarded": False,
    },
    {"when": [{"column": "quality.flag", "equals": True}], "action": "drop", "reason": "damaged", "guarded": False},
    {
        "when": [
            {"column": "confident_learning.flag", "equals": True},
            {"column": "neighbours.flag", "equals": True},
            {"column": "neighbours.score", "above": 0.9},
        ],
        "action": "relabel",
        "reason": "wrong_label",
        "to": "confident_learning.proposed",
        "value": "confident_learning.score",
    },
    {
        "when": [{"column": "confident_learning.flag", "equals": True}],
        "action": "drop",
        "reason": "doubtful_label",
        "value": "confident_learning.score",
    },
    {
        "when": [{"column": "confident_learning.review", "equals": True}],
        "action": "review",
        "reason": "unclear_label",
        "value": "confident_learning.score",
    },
]


def example(rows: int, classes: int = 1000) -> pa.Table:
    """An edition's columns as the detectors leave them, every third label suspected."""
    rng = np.random.default_rng(0)
    label = np.minimum(rng.zipf(1.3, rows), classes) - 1
    names = np.array([f"n{k:08d}" for k in range(classes)])
    score = rng.random(rows)
    return pa.table(
        {
            "id": [f"{number:032x}" for number in range(rows)],
            "sha256": [f"{number:064x}" for number in range(rows)],
            "label": label,
            "labels": pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32), pa.array(names[label])),
            "duplicates.redundant": rng.random(rows) < 0.03,
            "quality.flag": rng.random(rows) < 0.02,
            "confident_learning.score": score,
            "confident_learning.flag": score > 0.7,
            "confident_learning.review": (score > 0.65) & (score <= 0.7),
            "confident_learning.proposed": rng.integers(0, classes, rows),
            "neighbours.score": rng.random(rows),
            "neighbours.flag": rng.random(rows) < 0.5,
        }
    )


def plain_loop(table: pa.Table) -> Counter[str]:
    """The first rule that matches each row, by Python values."""
    found: Counter[str] = Counter()
    for row in table.to_pylist():
        for rule in RULES:
            tests = [
                row[c["column"]] == c["equals"] if "equals" in c else row[c["column"]] > c["above"]
                for c in rule["when"]
            ]
            if all(tests):
                found[str(rule["reason"])] += 1
                break
    return found


def peak_kib() -> int:
    """Most resident memory since the process began, or since it was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    policy, table = Policy.model_validate({"rules": RULES}), example(rows)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the example
    before = peak_kib()
    verdicts: list[Verdict] = []
    ours = measure(lambda: verdicts.extend(policy.decide(table)))
    peak = peak_kib()
    part = table.slice(0, rows // 100)
    looped: list[Counter[str]] = []
    loop = measure(lambda: looped.append(plain_loop(part)))
    held = ("_rare", "_capped", "_without_another_label")
    first = {one.id for one in verdicts} & set(part.column("id").to_pylist())
    assert sum(looped[0].values()) == len(first)
    limit = measure(lambda: [Verdict(v.id, v.sha256, v.action, v.by, v.reason, v.labels, v.value) for v in verdicts])
    gib = peak / 2**20
    report = {
        "what": f"{len(RULES)} rules on {rows} pictures of 1000 classes, {len(verdicts)} verdicts",
        "goal": f"cpu_s <= {MOST_SECONDS}, peak_gib <= {MOST_GIB}",
        "actions": dict(sorted(Counter(one.action for one in verdicts).items())),
        "held_back": sum(one.reason.endswith(held) for one in verdicts),
        "cpu_s": {"ours": round(ours.cpu, 2), "limit_verdicts_alone": round(limit.cpu, 2)},
        "cpu_plain_loop_to_ours": round(loop.cpu * 100 / ours.cpu, 1),
        "peak_gib": {"process": round(gib, 2), "growth_in_decide": round((peak - before) / 2**20, 2)},
        "met": ours.cpu <= MOST_SECONDS and gib <= MOST_GIB,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
