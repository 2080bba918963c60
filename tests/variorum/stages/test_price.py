"""What a run is said to cost: amounts from receipts, times the user's prices."""

import json

import pytest

from variorum.edition.store import Store
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Receipt, ShardInfo
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build
from variorum.stages.estimate import Estimate
from variorum.stages.job import Job
from variorum.stages.planned import planned
from variorum.stages.price import Prices, busy_seconds, made_on, priced, read_prices

GPU = {"gpu": "Tester 9000", "gpu_peak_memory": 5 * 10**9}


def receipt(began, seconds, cpu, pid=1, host="one", size=10**6, **more):
    made = {"host": host, "pid": pid, "began": began, "seconds": seconds, "cpu_seconds": cpu, **more}
    table, shard = (ShardInfo(sha256=f"{began:064x}", size=number, samples=10) for number in (1000, size))
    return Receipt(
        unit=f"{began:064x}", start=0, stop=10, shards={"test": shard}, members=["png"], rows=table, made=made
    )


def estimated(*receipts, left=100):
    return Estimate(len(receipts), 20, 10 * len(receipts), 10**9, None, None, 0.0, left, receipts)


def amounts(price):
    return {one.what: one for one in price.amounts}


def test_hours_are_those_of_the_samples_left():
    found = amounts(priced(estimated(receipt(0, 60, 90), receipt(100, 60, 30)), Prices(cpu_hour=0.5)))
    assert found["CPU"].number == pytest.approx(120 / 20 * 100 / 3600)
    assert found["CPU"].cost == pytest.approx(0.5 * found["CPU"].number)
    assert found["CPU"].basis == "from 2 units made on one machine"
    assert "GPU" not in found
    assert "energy" not in found  # nobody has said how many watts


def test_a_gpu_is_paid_by_the_time_that_it_is_held():
    made = (receipt(0, 60, 90, **GPU), receipt(60, 60, 30, host="two", **GPU))
    price = priced(estimated(*made), Prices("EUR", gpu_hour=2.5, cpu_hour=9, watts=700, kwh=0.3, gb_month=0.02))
    found = amounts(price)
    hours = 120 / 20 * 100 / 3600
    assert found["GPU"].number == pytest.approx(hours)
    assert found["GPU"].basis == "from 2 units made on 2 machines with Tester 9000"
    assert found["energy"].number == pytest.approx(0.7 * hours)
    assert "CPU" not in found  # it is part of the GPU's hour
    assert price.total("run") == pytest.approx(hours * (2.5 + 0.7 * 0.3))
    assert price.total("month") == pytest.approx(0.02)
    assert price.lines()[-1] == ("price", "0.45 EUR to build what is left, 0.02 EUR a month to keep the edition")


def test_units_made_at_the_same_time_count_once():
    alone = [receipt(0, 10, 9), receipt(10, 10, 9)]
    assert busy_seconds(alone) == (20, 18)
    together = [receipt(0, 20, 18), receipt(1, 18, 18)]  # each has the CPU time of both
    busy, used = busy_seconds(together)
    assert busy == 20
    assert 18 <= used < 20
    assert busy_seconds([receipt(0, 20, 9), receipt(1, 20, 9, pid=2)]) == (40, 18)


def test_requests_are_those_of_the_files():
    small, large = receipt(0, 1, 1), receipt(1, 1, 1, size=100 << 20)
    found = amounts(priced(estimated(small, left=10), Prices(writes_1000=1, reads_1000=2)))
    assert (found["writes"].number, found["reads"].number) == (4, 3)  # shard, table, receipt, copy
    assert (found["writes"].cost, found["reads"].cost) == (0.004, 0.006)
    assert amounts(priced(estimated(large, left=10), Prices()))["writes"].number == 4 + 8  # seven parts, begin, end


def test_nothing_is_guessed():
    assert priced(Estimate(0, 20), Prices(cpu_hour=1)).lines() == []
    price = priced(estimated(receipt(0, 60, 60)), Prices())
    assert price.total("run") is price.total("month") is None
    assert all(one.cost is None and one.basis for one in price.amounts)
    assert [what for what, _ in price.lines()] == ["CPU", "storage"]


def test_a_small_cost_is_not_called_nothing():
    lines = dict(priced(estimated(receipt(0, 1, 1), left=10), Prices("EUR", cpu_hour=0.04, writes_1000=0)).lines())
    assert lines["CPU"].startswith("0.000278 core-hours, under 0.01 EUR (from 1 unit ")
    assert lines["writes"].startswith("4 requests, 0.00 EUR (")


def test_what_receipts_say_is_only_data():
    odd = receipt(0, 60, 60, gpu="x" * 500).model_copy(update={"made": {"seconds": "1e999", "cpu_seconds": -1}})
    assert busy_seconds([odd]) == (0, 0)
    assert len(made_on([receipt(0, 60, 60, gpu="x" * 500)])) < 300


def test_a_plan_prices_what_is_left(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    from PIL import Image

    for number in range(4):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    source = {"name": "image_folder", "path": str(tmp_path / "photos")}
    recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source, "samples_per_shard": 1})
    job = Job(recipe, Store(str(tmp_path / "store")))
    assert planned(job).price.amounts == ()

    stage = Build(job)
    for part in stage.parts()[:2]:
        stage.make(part, lambda _: None)
    (tmp_path / "prices.toml").write_text('currency = "EUR"\ncpu_hour = 3600\ngb_month = 1.5\n')
    monkeypatch.setenv("VARIORUM_PRICES", str(tmp_path / "prices.toml"))
    found = planned(job)
    said = json.loads(json.dumps(found.as_json()))["price"]
    cpu = sum(stage.kept(part).made["cpu_seconds"] for part in stage.parts()[:2])
    assert said["currency"] == "EUR"
    assert said["total"]["run"] == pytest.approx(cpu)  # as many units are left as were made
    assert said["total"]["month"] == pytest.approx(1.5e-9 * found.disk_bytes)
    assert "from 2 units made on one machine" in str(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu_hour = ", "can't be read as TOML"),
        ("gpu_hours = 2", r"no price 'gpu_hours'; there are: currency, gpu_hour"),
        ("gpu_hour = 'two'", "gpu_hour must be a number from 0"),
        ("gpu_hour = true", "gpu_hour must be a number from 0"),
        ("gpu_hour = -1", "gpu_hour must be a number from 0"),
        ("gpu_hour = nan", "gpu_hour must be a number from 0"),
        ("currency = '\\u001b[31m'", "currency must be up to 8 characters"),
        ("a = " + "[" * 5000, "can't be read as TOML"),
        ("#" * 100_000, "not a file, or larger than 64 kB"),
    ],
)
def test_a_wrong_table_is_named(tmp_path, text, said):
    (tmp_path / "prices.toml").write_text(text)
    with pytest.raises(RecipeError, match=said):
        read_prices(tmp_path / "prices.toml")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"prices .*none.toml: not a file"):
        read_prices(tmp_path / "none.toml")
