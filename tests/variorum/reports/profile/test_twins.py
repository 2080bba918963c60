"""One network under two names, whose crops lie some pixels apart: a page claims a difference as rarely as it says."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from variorum.api.report_checks import requested
from variorum.machine.progress import QUIET
from variorum.pipeline import THREAD
from variorum.reports.profile.measure import Asked, measure
from variorum.schemas.lookup import component_class
from variorum.schemas.table import Table
from variorum.sources.exports.stamps import stamps_folder
from variorum.stages.job import models as table_of
from variorum.stages.suite_files import figure_of

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.schemas.suite import RowSpec

SHIFT = 6
"""Pixels between the twins' crops, of 288."""
DRAWS = 40
PHOTOGRAPHS = 60
"""Of 87, in each draw."""
SUITE = {
    "suite": "twins",
    "version": "1.0.0",
    "editions": {
        "dark": {
            "recipe": "low_light",
            "set": {
                "generate.low_light.exposures": [2, 4],
                "generate.low_light.noiseless": False,
                "generate.low_light.enhancers": [],
                "generate.low_light.enhanced": [],
            },
        },
        "moved": {"recipe": "translation", "set": {"generate.translation.steps": "axes"}},
    },
    "rows": [
        {"id": "originals", "title": "Originals", "edition": "dark", "of": "accuracy_drop.originals"},
        {"id": "low_light", "title": "Low light", "edition": "dark", "of": "accuracy_drop.edits"},
        {"id": "translation", "title": "Translation", "edition": "moved", "of": "translation_consistency.agreement"},
        {"id": "calibration", "title": "Calibration", "edition": "dark", "of": "accuracy_drop.calibration"},
    ],
}


class Shifted:
    """EfficientNet-Lite0 on pictures without some pixels of an edge. With `blocks` it sees them coarser."""

    preprocessing = "Its own."

    def __init__(self, name: str, edge: slice, blocks: int = 1) -> None:
        self.revision, self.edge, self.blocks = name, edge, blocks
        self.network = table_of("embedded").get("classifier_gate")

    def __call__(self, images: Sequence[Pixels]) -> Singles:
        return self.network(
            [np.ascontiguousarray(one[self.edge, self.edge][:: self.blocks, :: self.blocks]) for one in images]
        )


@pytest.mark.slow
def test_two_names_of_a_network_are_told_apart_on_one_page_in_twenty_at_most(tmp_path: Path) -> None:
    if stamps_folder() is None:
        pytest.skip("Tux Paint's stamps aren't installed")
    (tmp_path / "twins.yaml").write_text(yaml.safe_dump(SUITE))
    models = {
        "one": Shifted("one", slice(SHIFT, None)),
        "other": Shifted("other", slice(None, -SHIFT)),
        "coarse": Shifted("coarse", slice(None, -SHIFT), 2),
    }
    request = requested(
        models,
        suite=str(tmp_path / "twins.yaml"),
        source={"name": "samples", "masks": False},
        store=str(tmp_path / "store"),
    )
    request.held = {key: one.made(THREAD, QUIET) for key, one in request.held.items()}
    with ExitStack() as stack:
        asking = request.asking(stack)
        for one in asking.values():
            list(one.ask(THREAD, QUIET))

        def page(photographs: Sequence[str], names: Sequence[str], seed: int) -> set[str]:
            """The marks of a page over these photographs."""
            asked = []
            for row in request.rows:
                one = asking[row.edition]
                table = pa.concat_tables(one.answers[name] for name in names)
                table = table.filter(pc.is_in(table["photograph"], value_set=pa.array(photographs)))
                asked.append(_asked(row, table, names, one.job.judging))
            return {one.verdict for row in measure(asked, names, seed=seed) for one in row.differences}

        every = np.unique(asking["dark"].answers["one"]["photograph"].to_pylist())
        rng = np.random.default_rng(1)
        chosen = [rng.choice(every, PHOTOGRAPHS, replace=False).tolist() for _ in range(DRAWS)]
        twins = [page(photographs, ["one", "other"], seed) for seed, photographs in enumerate(chosen)]
        unlike = [page(photographs, ["one", "coarse"], seed) for seed, photographs in enumerate(chosen[:10])]
    claimed = sum(not marks.isdisjoint({"better", "worse"}) for marks in twins)
    assert claimed <= DRAWS / 20
    assert all({"better", "worse"} <= marks for marks in unlike)


def _asked(row: RowSpec, table: pa.Table, names: Sequence[str], ctx: object) -> Asked:
    name, _, figure = row.of.partition(".")
    evaluation = component_class("evaluate", name)(classifiers=tuple(names))
    found = {one.model: one for one in evaluation.rows(Table(table, name), ctx) if one.figure == figure}
    return Asked(row, figure_of(row.of), found)
