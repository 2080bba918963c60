"""The simulation of many workers that `benchmarks/simulate_scale.py` makes, with few of them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from simulate_scale import Clock, Cluster, World, policies, real

WORLD = World(workers=15, units=60, failures=20.0, strays=0.5)
"""A worker fails every third unit."""


def test_failures_and_a_kill_leave_the_same_edition(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    found = real(WORLD)  # compares digests and receipts itself
    assert 0 < found["finished_before_the_kill"] < WORLD.units
    assert found["failures"]["died"] > 3
    assert found["finished_twice"] > 0
    kinds = found["requests"]
    assert kinds["COPY"] == WORLD.units
    assert kinds["PUT"] >= 3 * (WORLD.units + found["finished_twice"])
    alone = found["requests_of_one_process"]
    assert alone["sealing"] >= 2 * WORLD.units  # tables and copies
    assert alone["looking twice"] >= 2 * WORLD.units
    assert 1 <= found["workers_requests_a_second"]["peak"] <= sum(kinds.values()) - sum(alone.values())


def test_no_unit_is_left_out_whatever_the_way_to_share():
    for how in ({}, {"static": True}, {"backups": True}):
        made = []
        cluster = Cluster(WORLD, Clock(), **how)
        cluster.work(range(WORLD.units), make=lambda unit, seen: made.append(unit))  # noqa: B023
        assert set(made) == set(range(WORLD.units))
        assert len(made) == WORLD.units + cluster.count.twice


def test_without_failures_no_work_is_lost():
    calm = World(workers=40, units=400, failures=1e-9)
    cluster = Cluster(calm, Clock())
    cluster.work(range(calm.units))
    assert cluster.count.useful >= calm.durations.sum()
    assert cluster.count.lost == cluster.count.twice == cluster.count.deaths == 0
    assert cluster.clock.now >= cluster.count.useful / calm.workers


def test_a_queue_is_no_slower_than_static_ranges():
    found = policies(World(workers=100, units=2000))
    assert found["queue"]["efficiency"] > found["static ranges (peer)"]["efficiency"]
    assert found["queue"]["limit_s"] == pytest.approx(found["static ranges (peer)"]["limit_s"], rel=0.05)
