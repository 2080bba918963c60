"""The benchmarks that are quick with small arguments run, and print one JSON object."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUICK = {
    "shards": "1000",
    "png": "--rounds 1",
    "read_shards": "60",
    "configs": "40",
    "webdataset_source": "0.02",
    "copies_duplicates": "--hashes 5000 --planted 100 --queries 20 --rounds 1",
    "copies_known": "--known 5000 --queries 64 --rounds 1",
    "coco_source": "--boxes 5000 --rounds 1",
    "classifiers_evaluate": "--pictures 64 --rounds 1",
    "classifiers_group_disparity": "--draws 10",
    "imagenet_e_device": "--photographs 2 --unit 2",
    "imagenet_e_edits": "",
    "people_queue": "--pictures 400 4000",
    "people_simulation": "--seeds 1 --runs 1 --pictures 100 --people 200",
    "safety_consensus": "--pictures 1000 --rounds 1",
    "view": "--pictures 100 --rounds 1",
    "watermark_marks": "--pictures 2 --rounds 1",
    "few_shot": "--episodes 10 --few 1",
    "translation": "--sources 2 --rounds 1",
    "cue_conflict": "--rounds 1 --times 1 --photographs 2",
    "quality": "--rounds 1 --pictures 20",
    "imagenet_e_plates": "--number 2",
}
"""At most ten seconds of CPU time each."""
PEERS = {"quality": "cleanvision"}
"""Packages without which a benchmark has nothing to compare with."""


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_benchmark_runs(name):
    if name in PEERS and not find_spec(PEERS[name]):
        pytest.skip(f"{PEERS[name]} isn't installed")
    command = [sys.executable, BENCHMARKS / f"{name}.py", *QUICK[name].split()]
    path = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=path, timeout=600, check=True)
    assert json.loads(done.stdout)
