"""Calibration errors of a million answers: CPU seconds, and the distance to netcal's figures where it is installed."""

import json
import time
from importlib.util import find_spec

import numpy as np

from variorum.kit.predicted.calibration import average_calibration_error, expected_calibration_error, reliability

ROWS, GOAL = 1_000_000, 0.2  # CPU seconds

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1.5, ROWS)
    right = rng.random(ROWS) < confidence**1.3
    begun = time.process_time()
    bins = reliability(confidence, right)
    ours = {"ECE": expected_calibration_error(bins), "ACE": average_calibration_error(bins)}
    spent = round(time.process_time() - begun, 3)
    found: dict[str, object] = {"rows": ROWS, "cpu_seconds": spent, "met": spent <= GOAL, **ours}
    if find_spec("netcal"):
        from netcal.metrics import confidence as netcal

        apart = {name: abs(getattr(netcal, name)(15).measure(confidence, right * 1) - ours[name]) for name in ours}
        found["distance_to_netcal"] = apart
    print(json.dumps(found, indent=1))
