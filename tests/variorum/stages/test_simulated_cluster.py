"""The simulation of many workers that `benchmarks/simulate_scale.py` makes, with few of them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from simulate_scale import Clock, Cluster, Simulated, World, policies, real

WORLD = World(workers=15, units=60, failures=20.0, strays=0.5)
"""A worker fails every third unit."""
IN_PARTS = World(workers=3, units=6, parts=6, unit_s=360, failures=20.0, strays=0.5)


@pytest.fixture(autouse=True)
def whole_units(monkeypatch):
    monkeypatch.setattr("variorum.stages.plan.MOST", 0)


def test_failures_and_a_kill_leave_the_same_edition(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    found = real(WORLD)  # compares digests and receipts itself
    assert 0 < found["finished_before_the_kill"]["units"] < WORLD.units
    assert found["failures"]["died"] > 3
    assert found["finished_twice"] > 0
    kinds = found["requests"]
    assert "COPY" not in kinds
    assert kinds["PUT"] >= 3 * (WORLD.units + found["finished_twice"])
    alone = found["requests_of_one_process"]
    assert WORLD.units <= alone["sealing"] <= 1.2 * WORLD.units  # tables
    assert alone["looking"] < 5
    assert 1 <= found["workers_requests_a_second"]["peak"] <= sum(kinds.values()) - sum(alone.values())


def test_units_in_parts_are_shared_and_resumed_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path))
    found = real(IN_PARTS)
    before = found["finished_before_the_kill"]
    assert 0 < before["units"] < IN_PARTS.units
    assert before["parts"] > 0
    assert found["failures"]["died"] > 0
    assert found["failures"]["lost contact"] > 0
    assert found["finished_twice"] < IN_PARTS.units * IN_PARTS.parts / 2


def test_no_unit_is_left_out_whatever_the_way_to_share():
    for how in ({}, {"static": True}, {"backups": True}):
        for world in (WORLD, IN_PARTS):
            made = []

            class Noted(Simulated):
                def write(self, attempt, part, made=made):
                    made.append((attempt.unit, part))
                    return super().write(attempt, part)

            cluster = Cluster(world, Clock(), **how)
            cluster.work(range(world.units), Noted(world))
            assert set(made) == {(unit, part) for unit in range(world.units) for part in range(world.parts)}
            assert len(made) == world.units * world.parts + cluster.count.twice


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
