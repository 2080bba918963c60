"""Wrong labels by the default rule of confident learning: ours against cleanlab, in one process on one thread.

Both get the same float32 probabilities and must find the same samples, which is asserted. Ours includes the check that
every row is a distribution. CPU times are compared by the median of ratios within a round. Extra memory is the growth
of a separate process's peak during the call, after a small call that triggers late imports. Limit: one argmax.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy is loaded

import argparse
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from timing import median, ratio, rounds

from variorum.arrays import Bools, Ints, Singles
from variorum.curation.labels.pruning import check_probabilities, prune_by_noise_rate

SIZES = {"1e6 x 100": (1_000_000, 100, 4.0), "1e5 x 1000": (100_000, 1000, 6.0)}
"""Samples, classes, and the mean advantage of the true class's logit in standard deviations of the others."""
LEAST_FASTER, LEAST_SMALLER = 4.0, 10.0


def example(samples: int, classes: int, lead: float) -> tuple[Ints, Singles]:
    """Labels, a fifth of them replaced by random ones, and softmax probabilities of noisy logits."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, classes, samples)
    y = np.where(rng.random(samples) < 0.2, rng.integers(0, classes, samples), true)
    p = np.empty((samples, classes), dtype=np.float32)
    for start in range(0, samples, 10_000):
        logits = rng.standard_normal((min(10_000, samples - start), classes), dtype=np.float32)
        logits[np.arange(len(logits)), true[start : start + len(logits)]] += lead
        np.exp(logits, out=logits)
        p[start : start + len(logits)] = logits / logits.sum(axis=1, keepdims=True)
    return y, p


def ours(y: Ints, p: Singles) -> Bools:
    check_probabilities(y, p)
    return prune_by_noise_rate(y, p)[0]


def theirs(y: Ints, p: Singles) -> Bools:
    return find_label_issues(y, p, n_jobs=1)


def extra_mebibytes(which: str, size: str) -> float:
    """Growth of peak resident memory during one call, measured in a separate process."""
    command = [sys.executable, __file__, "--memory", which, "--size", size]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_extra_mebibytes(which: str, size: str) -> None:
    work = {"ours": ours, "cleanlab": theirs}[which]
    work(*example(1_000, 10, 4.0))
    y, p = example(*SIZES[size])
    before = _peak_after_reset()
    work(y, p)
    print((_peak() - before) / 1024)


def _peak_after_reset() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory", choices=("ours", "cleanlab"), help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_extra_mebibytes(options.memory, options.size)
        return
    report: dict[str, Any] = {
        "what": "label issues by prune_by_noise_rate, the same samples found",
        "goal": f"cpu_cleanlab_to_ours >= {LEAST_FASTER}, extra_memory_cleanlab_to_ours >= {LEAST_SMALLER}",
        "rounds": options.rounds,
    }
    for size, shape in SIZES.items():
        y, p = example(*shape)
        found = ours(y, p)
        assert (found == theirs(y, p)).all()
        timed = rounds(
            {
                "ours": lambda y=y, p=p: ours(y, p),
                "cleanlab": lambda y=y, p=p: theirs(y, p),
                "limit_argmax": lambda p=p: p.argmax(axis=1),
            },
            options.rounds,
        )
        mebibytes = {which: extra_mebibytes(which, size) for which in ("ours", "cleanlab")}
        report[size] = {
            "found": int(found.sum()),
            "cpu_s": {name: round(median(timed, name), 3) for name in timed[0]},
            "cpu_cleanlab_to_ours": ratio(timed, "cleanlab", "ours"),
            "cpu_ours_to_limit": ratio(timed, "ours", "limit_argmax"),
            "matrix_mib": round(p.nbytes / 2**20),
            "extra_memory_mib": {name: round(value, 1) for name, value in mebibytes.items()},
            "extra_memory_cleanlab_to_ours": round(mebibytes["cleanlab"] / mebibytes["ours"], 1),
        }
    report["met"] = all(
        report[size]["cpu_cleanlab_to_ours"] >= LEAST_FASTER
        and report[size]["extra_memory_cleanlab_to_ours"] >= LEAST_SMALLER
        for size in SIZES
    )
    report["versions"] = {name: version(name) for name in ("cleanlab", "numpy")}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
