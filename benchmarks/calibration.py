"""Calibration errors of a million answers: CPU seconds, and the distance to netcal's figures where it is installed."""

import json
import time
from importlib.util import find_spec

import numpy as np

from variorum.kit.predicted.calibration import average_calibration_error, expected_calibration_error, reliability

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1.5, 1_000_000)
    right = rng.random(len(confidence)) < confidence**1.3
    begun = time.process_time()
    bins = reliability(confidence, right)
    ours = {"ECE": expected_calibration_error(bins), "ACE": average_calibration_error(bins)}
    found: dict[str, object] = {
        "rows": len(right),
        "cpu_seconds": round(time.process_time() - begun, 3),
        "goal": 0.2,
        **ours,
    }
    if find_spec("netcal"):
        from netcal.metrics import confidence as netcal

        found["distance"] = {
            name: abs(getattr(netcal, name)(15).measure(confidence, right * 1) - ours[name]) for name in ours
        }
    print(json.dumps(found, indent=1))
