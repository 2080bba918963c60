"""Statistics of the filters of convolutional networks, by layer and by network, without running any network.

The measures of CNN Filter DB (Gavrikov & Keuper, CVPR 2022, arXiv 2203.15331), from their formulas: the entropy of the
filters' variance, the share of empty filters, how near a layer is to orthogonal, and how far the filters of two
networks are apart. The paper ties them to over- and underfitted layers; they aren't a measure of robustness. The
smoothness of the first layer is one of the simplicity biases of Chen, Agarwal & Nguyen, arXiv 2006.09373.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from variorum.evaluation.cnn_filters.layers import (
    FITTED,
    high_frequencies,
    orthogonality,
    random_entropy,
    sparse_filters,
    variance_entropy,
    variation,
)
from variorum.evaluation.cnn_filters.shift import bin_edges, directions, divergence, histograms, normalised
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Row
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.plot import CurvePlot, CurvePoint, Plot
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Singles

MEMBER = "filters.npy"
TOLD = {"alias", "layer", "depth_norm", "depthwise", "quantised"}
"""Metadata that is read, besides the numbers of outputs and of weights."""
MOST_CURVES = 8
"""Networks in a plot."""


class FilterStatistics(Evaluation):
    """Entropy, sparsity and orthogonality by layer, principal directions by network, and divergences between networks.

    The first layer also has its smoothness. It reads editions of the source `cnn_filters`: the member `filters.npy` and
    the metadata of each sample.
    """

    revision = 2

    most: int = Field(default=4096, ge=64, le=65_536)
    """Filters of a layer that enter the network's directions and the divergences, drawn by the seed; all others enter
    the layer's own statistics alone."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per layer. Statistics are NaN where they don't apply.

        `drawn` has the bytes of up to `most` filters `[m, k²]` float32 that aren't sparse, each divided by its largest
        weight. Samples without `filters.npy` have no row.

        Raises:
            RecipeError: a `filters.npy` or its metadata isn't what `cnn_filters` writes.
        """
        for sample in samples:
            if MEMBER not in sample.extras:
                continue
            filters, outputs, side = _layer(sample)
            told = sample.metadata
            sparse = sparse_filters(filters)
            kept = filters[~sparse]
            entropy = variance_entropy(kept)
            square = filters.reshape(-1, side, side)
            near = None if told["depthwise"] else orthogonality(filters.reshape(outputs, -1))
            chosen = kept
            if len(kept) > self.most:
                rng = ctx.rng("filter_statistics", sample.id)
                chosen = kept[np.sort(rng.choice(len(kept), self.most, replace=False))]
            yield {
                "model": str(told["alias"]),
                "layer": str(told["layer"]),
                "kernel": side,
                "depth": float(str(told["depth_norm"])),
                "filters": len(filters),
                "sparse": int(sparse.sum()),
                "entropy": math.nan if entropy is None else entropy,
                "threshold": random_entropy(len(kept)) if side == FITTED and len(kept) else math.nan,
                "orthogonality": math.nan if near is None else near,
                "variation": variation(square),
                "high": high_frequencies(square),
                "depthwise": bool(told["depthwise"]),
                "quantised": bool(told["quantised"]),
                "drawn": normalised(chosen).astype(np.float32).tobytes(),
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By side of the filters, as text: `models` with figures by network and by layer, and `shift` between networks.

        A network has `layers`, `filters`, `sparse` (share), `entropy` (mean over layers, with `entropy_low` and
        `entropy_high`), `orthogonality` (mean over layers that aren't depthwise) and `directions` (shares of the
        variance along principal directions); `variation` and `high` are the smoothness of its first layer, None if that
        has filters of another side. `shift` has, for each pair of networks, the symmetric divergence in nats,
        and as `chance` that of two sets of the same sizes, drawn from the filters of both.
        """
        rows = table.arrow.to_pylist() if len(table) else []
        kernels: dict[str, Json] = {}
        for side in sorted({row["kernel"] for row in rows}):
            mine = [row for row in rows if row["kernel"] == side]
            names = list(dict.fromkeys(row["model"] for row in mine))
            sets = {name: _filters([row for row in mine if row["model"] == name], side) for name in names}
            kernels[str(side)] = {
                "most_entropy": round(math.log10(side * side), 6),
                "models": {name: _network([row for row in mine if row["model"] == name], sets[name]) for name in names},
                "shift": _shifts({name: one for name, one in sets.items() if len(one) > 1}, ctx.seed),
            }
        return {"kernels": kernels}

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`entropy_3` and so on: the entropy by depth, for up to eight networks; `sparse_3`: the sparse filters."""
        found: dict[str, CurvePlot] = {}
        for side, one in figures["kernels"].items():
            names = list(one["models"])[:MOST_CURVES]
            size = f"{side} × {side} filters"
            entropy = _curves(one, names, "entropy", 1 / one["most_entropy"])
            unit = "variance entropy, as a share of the largest possible"
            found[f"entropy_{side}"] = CurvePlot(f"Entropy by depth: {size}", "depth", unit, entropy, full=1.0)
            sparse = _curves(one, names, "sparse", 1.0)
            found[f"sparse_{side}"] = CurvePlot(f"Sparse by depth: {size}", "depth", "share of sparse filters", sparse)
        return dict(found)


def _layer(sample: Sample) -> tuple[Singles, int, int]:
    """A layer's filters `[n, k²]`, its number of outputs, and k. Raises RecipeError if they aren't a layer's."""
    told, member = sample.metadata, sample.extras[MEMBER]
    try:
        filters = np.load(io.BytesIO(member if isinstance(member, bytes) else b""), allow_pickle=False)
        outputs, side = int(str(told["outputs"])), int(str(told["kernel"]))
        whole = isinstance(filters, np.ndarray) and filters.dtype == np.float32 and bool(filters.size)
        fits = whole and filters.shape == (len(filters), side * side) and outputs > 0 and len(filters) % outputs == 0
        if not fits or not np.isfinite(filters).all() or not told.keys() >= TOLD:
            raise ValueError
    except (ValueError, LookupError, EOFError, OSError, MemoryError, SyntaxError):
        raise RecipeError(
            f"filter_statistics: {MEMBER} of {cut(sample.origin or sample.id)} isn't a layer's filters with its "
            "metadata; take an edition of the source cnn_filters"
        ) from None
    return filters, outputs, side


def _filters(rows: Sequence[Mapping[str, Any]], side: int) -> Singles:
    """The drawn filters of a network's layers, `[m, side²]`."""
    parts = [np.frombuffer(row["drawn"], np.float32).reshape(-1, side * side) for row in rows]
    return np.concatenate(parts)


def _network(rows: Sequence[Mapping[str, Any]], filters: Singles) -> dict[str, Json]:
    layers: list[Json] = [
        {
            "layer": row["layer"],
            "depth": row["depth"],
            "filters": row["filters"],
            "sparse": round(row["sparse"] / row["filters"], 6),
            "entropy": _number(row["entropy"]),
            "threshold": _number(row["threshold"]),
            "orthogonality": _number(row["orthogonality"]),
            "depthwise": row["depthwise"],
        }
        for row in rows
    ]
    entropies = [row["entropy"] for row in rows if not math.isnan(row["entropy"])]
    near = [row["orthogonality"] for row in rows if not math.isnan(row["orthogonality"])]
    total = sum(row["filters"] for row in rows)
    first = next((row for row in rows if row["depth"] == 0), {"variation": math.nan, "high": math.nan})
    return {
        "layers": len(rows),
        "filters": total,
        "quantised": any(row["quantised"] for row in rows),
        "sparse": round(sum(row["sparse"] for row in rows) / total, 6),
        "entropy": _number(float(np.mean(entropies))) if entropies else None,
        "entropy_low": _number(min(entropies, default=math.nan)),
        "entropy_high": _number(max(entropies, default=math.nan)),
        "orthogonality": _number(float(np.mean(near))) if near else None,
        "variation": _number(first["variation"]),
        "high": _number(first["high"]),
        "directions": [round(share, 6) for share in directions(filters).shares.tolist()] if len(filters) > 1 else [],
        "by_layer": layers,
    }


def _shifts(sets: Mapping[str, Singles], seed: int) -> list[Json]:
    """Each pair of networks with its divergence, and that of two sets of the same sizes drawn from both together."""
    if len(sets) < 2:
        return []
    together = np.concatenate(list(sets.values()))
    common = directions(together)
    edges = bin_edges(together, common)
    shares = {name: histograms(one, common, edges) for name, one in sets.items()}
    found: list[Json] = []
    for one, other in combinations(sets, 2):
        both = np.concatenate([sets[one], sets[other]])
        order = np.random.default_rng(derive_seed(seed, "filter_statistics", one, other)).permutation(len(both))
        parts = np.split(order, [len(sets[one])])
        mixed = [histograms(both[part], common, edges) for part in parts]
        found.append(
            {
                "networks": [one, other],
                "shift": round(divergence(shares[one], shares[other], common.shares), 4),
                "chance": round(divergence(mixed[0], mixed[1], common.shares), 4),
            }
        )
    return found


def _curves(figures: Mapping[str, Any], names: Sequence[str], what: str, scale: float) -> dict[str, Any]:
    return {
        name: tuple(
            CurvePoint(layer["depth"], value := scale * layer[what], value, value)
            for layer in figures["models"][name]["by_layer"]
            if layer[what] is not None
        )
        for name in names
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
