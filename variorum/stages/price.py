"""Estimate what building an edition costs: hours, energy, storage and requests, with the user's table of prices.

Amounts come from the receipts of earlier units, so they hold for the machine on which these were made. Without a price
there is no cost. No amount or price is guessed.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from variorum.edition.bucket import PART
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Receipt, ShardInfo
from variorum.stages.estimate import Estimate, made_number

VARIABLE = "VARIORUM_PRICES"
"""Environment variable that names the table."""
MOST_BYTES = 1 << 16
READS = 3
"""Read requests for a unit in a store at a URL: its receipt twice, and its table when the edition is sealed."""
RATES = ("gpu_hour", "cpu_hour", "watts", "kwh", "gb_month", "writes_1000", "reads_1000")


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices; None for one that isn't known.

    Attributes:
        currency: for people.
        gpu_hour: of a GPU with its share of the machine.
        cpu_hour: of an hour of work of one core.
        watts: power of each GPU in use or, without one, of each process.
        kwh: of energy.
        gb_month: of 10⁹ bytes in the store.
        writes_1000: of a thousand requests that write or copy.
        reads_1000: of a thousand requests that read.
    """

    currency: str = ""
    gpu_hour: float | None = None
    cpu_hour: float | None = None
    watts: float | None = None
    kwh: float | None = None
    gb_month: float | None = None
    writes_1000: float | None = None
    reads_1000: float | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """One line of a price: something that a run uses.

    Attributes:
        what: `GPU`, `CPU`, `energy`, `storage`, `writes` or `reads`.
        number: how much.
        unit: of the number: `hours`, `kWh`, `GB`, `requests`.
        basis: where the number comes from.
        cost: in the table's currency; None without a price.
        per: `month` for a cost as long as the edition is kept, else `run`.
    """

    what: str
    number: float
    unit: str
    basis: str
    cost: float | None = None
    per: str = "run"


@dataclass(frozen=True, slots=True)
class Price:
    """What the rest of a build uses, and what it costs.

    Attributes:
        amounts: empty if no unit of the dataset was made before.
        currency: of the costs.
    """

    amounts: tuple[Amount, ...] = ()
    currency: str = ""

    def total(self, per: str) -> float | None:
        """Sum of the known costs for a `run` or a `month`; None if there are none."""
        costs = [one.cost for one in self.amounts if one.per == per and one.cost is not None]
        return sum(costs) if costs else None

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        amounts = [{one.name: getattr(amount, one.name) for one in fields(Amount)} for amount in self.amounts]
        totals = {"run": self.total("run"), "month": self.total("month")}
        return {"amounts": amounts, "currency": self.currency, "total": totals}

    def lines(self) -> list[tuple[str, str]]:
        """It as (what, text) for people; requests only if they have a price, as there are none on a disk."""
        found = []
        for one in self.amounts:
            if one.unit == "requests" and one.cost is None:
                continue
            costs = "" if one.cost is None else f", {self._money(one.cost)}{' a month' if one.per == 'month' else ''}"
            found.append((one.what, f"{_number(one.number)} {one.unit}{costs} ({one.basis})"))
        once, monthly = self.total("run"), self.total("month")
        said = [] if once is None else [f"{self._money(once)} to build what is left"]
        said += [] if monthly is None else [f"{self._money(monthly)} a month to keep the edition"]
        return [*found, ("price", ", ".join(said))] if said else found

    def _money(self, cost: float) -> str:
        number = "under 0.01" if 0 < cost < 0.01 else f"{cost:,.2f}"
        return f"{number} {self.currency}".strip()


def read_prices(path: str | os.PathLike[str] | None = None) -> Prices:
    """The table of prices in a TOML file; by default the one that `$VARIORUM_PRICES` names, or an empty one.

    Raises:
        RecipeError: the file can't be read, or has a wrong entry.
    """
    place = Path(path or os.environ.get(VARIABLE) or "").expanduser()
    if not place.name:
        return Prices()
    where = f"prices {cut(str(place))}"
    try:
        if not place.is_file() or place.stat().st_size > MOST_BYTES:
            raise RecipeError(f"{where}: not a file, or larger than {MOST_BYTES >> 10} kB; give a small TOML file")
        data = tomllib.loads(place.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else cut(str(error))
        raise RecipeError(f"{where}: can't be read as TOML: {why}") from None
    for name, value in data.items():
        if name == "currency":
            if not (isinstance(value, str) and len(value) <= 8 and value.isprintable()):
                raise RecipeError(f"{where}: currency must be up to 8 characters, like EUR")
        elif name not in RATES:
            raise RecipeError(f"{where}: no price {cut(ascii(name))}; there are: currency, {', '.join(RATES)}")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
            raise RecipeError(f"{where}: {name} must be a number from 0 to 10^9, not {cut(ascii(value))}")
    return Prices(**data)


def priced(cost: Estimate, prices: Prices) -> Price:
    """What the rest of a build uses, and what it costs.

    Args:
        cost: the job's estimate, with its receipts.
        prices: the table.
    """
    if cost.disk_bytes is None or not cost.earlier:
        return Price((), prices.currency)
    left, basis = cost.left / cost.measured_on, made_on(cost.earlier)
    busy, cpu = busy_seconds(cost.earlier)
    hours, cores = busy * left / 3600, cpu * left / 3600
    on_gpu = any("gpu" in receipt.made for receipt in cost.earlier)
    found = []
    if on_gpu:
        found.append(Amount("GPU", hours, "hours", basis, _cost(hours, prices.gpu_hour)))
    else:
        found.append(Amount("CPU", cores, "core-hours", basis, _cost(cores, prices.cpu_hour)))
    if prices.watts is not None:
        energy = prices.watts * hours / 1000
        what = "GPU-hours" if on_gpu else "hours of a process"
        said = f"{_number(hours)} {what} at the table's {prices.watts:g} W"
        found.append(Amount("energy", energy, "kWh", said, _cost(energy, prices.kwh)))
    size = cost.disk_bytes / 1e9
    found.append(Amount("storage", size, "GB", basis, _cost(size, prices.gb_month), "month"))
    writes = sum(_writes(receipt) for receipt in cost.earlier) * left
    reads = READS * len(cost.earlier) * left
    at = "at a URL; files of the same units"
    found.append(Amount("writes", round(writes), "requests", at, _cost(writes / 1000, prices.writes_1000)))
    said = "at a URL; a unit's receipt twice and its table once"
    found.append(Amount("reads", round(reads), "requests", said, _cost(reads / 1000, prices.reads_1000)))
    return Price(tuple(found), prices.currency)


def made_on(receipts: Sequence[Receipt]) -> str:
    """A text that says how many units were made, on how many machines and which GPUs."""
    hosts = {str(receipt.made.get("host", "")) for receipt in receipts}
    gpus = sorted({cut(str(receipt.made["gpu"])) for receipt in receipts if "gpu" in receipt.made})
    units = f"{len(receipts)} unit{'s' if len(receipts) > 1 else ''}"
    machines = "one machine" if len(hosts) == 1 else f"{len(hosts)} machines"
    return f"from {units} made on {machines}{' with ' if gpus else ''}{', '.join(gpus)}"


def busy_seconds(receipts: Sequence[Receipt]) -> tuple[float, float]:
    """Wall-clock and CPU seconds in which processes made units.

    Units that a process made at the same time count once, because each receipt has the CPU time of the whole process.
    """
    spans: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for receipt in receipts:
        began, took, cpu = (made_number(receipt, name) for name in ("began", "seconds", "cpu_seconds"))
        process = str(receipt.made.get("host")), str(receipt.made.get("pid"))
        spans.setdefault(process, []).append((began, began + took, cpu))
    busy = used = 0.0
    for spent in spans.values():
        together, end = 0.0, -math.inf
        for start, stop, _ in sorted(spent):
            together += max(0.0, stop - max(start, end))
            end = max(end, stop)
        apart = sum(stop - start for start, stop, _ in spent)
        busy += together
        used += sum(cpu for *_, cpu in spent) * (together / apart if apart else 1.0)
    return busy, used


def _writes(receipt: Receipt) -> int:
    """Requests that write a unit's files and receipt, and copy its shards to their readable names."""
    return sum(_parts(info) for info, _ in receipt.files()) + 1 + len(receipt.shards)


def _parts(info: ShardInfo) -> int:
    """Requests of an upload; one in parts begins and ends with one more."""
    return 1 if info.size < 2 * PART else math.ceil(info.size / PART) + 2


def _cost(number: float, price: float | None) -> float | None:
    return None if price is None else number * price


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
