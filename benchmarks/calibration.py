"""Calibration errors of a million answers: CPU seconds, and the distance to netcal's figures where it is installed."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from typing import Any

import numpy as np

from variorum.kit.predicted.calibration import average_calibration_error, expected_calibration_error, reliability

ROWS = 1_000_000
GOAL = 0.2
"""CPU seconds."""


def timed(work: Any) -> tuple[float, Any]:
    """The least CPU seconds of five rounds, and what the work gives."""
    spent = []
    for _ in range(5):
        begun = time.process_time()
        found = work()
        spent.append(time.process_time() - begun)
    return round(min(spent), 3), found


def main() -> None:
    """Measure, and print JSON."""
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1.5, ROWS)
    right = rng.random(ROWS) < confidence**1.3
    seconds, bins = timed(lambda: reliability(confidence, right))
    ours = {"ece": expected_calibration_error(bins), "average": average_calibration_error(bins)}
    found: dict[str, Any] = {"rows": ROWS, "cpu_seconds": seconds, "goal": GOAL, "met": seconds <= GOAL, **ours}
    if find_spec("netcal"):
        from netcal.metrics.confidence import ACE, ECE

        for name, kind in (("ece", ECE), ("average", ACE)):
            spent, theirs = timed(lambda kind=kind: kind(15).measure(confidence, right.astype(int)))
            found[f"netcal_{name}"] = {"cpu_seconds": spent, "distance": abs(theirs - ours[name])}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
