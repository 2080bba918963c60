"""The calibration error of a million answers: CPU seconds, and the distance to netcal's where it is installed."""

import json
import time
from importlib.util import find_spec

import numpy as np

from variorum.kit.predicted.calibration import expected_calibration_error, reliability

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1.5, 1_000_000)
    right = rng.random(len(confidence)) < confidence**1.3
    begun = time.process_time()
    error = expected_calibration_error(reliability(confidence, right))
    found = {"rows": len(right), "cpu_seconds": round(time.process_time() - begun, 3), "goal": 0.2, "ece": error}
    if find_spec("netcal"):
        from netcal.metrics.confidence import ECE

        found["distance"] = abs(ECE(15).measure(confidence, right * 1) - error)
    print(json.dumps(found, indent=1))
