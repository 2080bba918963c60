import pyarrow as pa
import pytest

from variorum.curation.rules.bottom_ranked import BottomRanked
from variorum.schemas.component import Context
from variorum.schemas.table import Table


def table(values, variants=None):
    n = len(values)
    return pa.table(
        {
            "id": [f"{i:02d}" for i in range(n)],
            "sha256": [f"hash{i}" for i in range(n)],
            "variant": variants or ["size_0.05"] * n,
            "gate.label_p": pa.array(values, pa.float64()),
        }
    )


def verdicts(step, arrow):
    return list(step.decide(Table(arrow, "bottom_ranked"), Context(0, None, None)))


def test_the_lowest_share_is_sent_to_review_lowest_first():
    found = verdicts(BottomRanked(share=0.2), table([0.9, 0.1, 0.5, 0.05, 0.7, 0.8, 0.3, 0.6, 0.95, 0.99]))
    assert [(v.id, v.sha256, v.action, v.by, v.reason) for v in found] == [
        ("03", "hash3", "review", "bottom_ranked", "low_label_p"),
        ("01", "hash1", "review", "bottom_ranked", "low_label_p"),
    ]


def test_only_pictures_with_a_value_are_ranked():
    assert [v.id for v in verdicts(BottomRanked(share=1), table([0.3, None, 0.2]))] == ["02", "00"]
    assert verdicts(BottomRanked(), table([None, None])) == []


def test_plates_show_no_object_and_are_left_out():
    found = verdicts(BottomRanked(share=0.5), table([0.1, 0.4, 0.9], ["plate", "control", "position"]))
    assert [v.id for v in found] == ["01"]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_order_of_rows_does_not_matter(order):
    rows = table([0.5, 0.5, 0.5]).take(order)
    assert [v.id for v in verdicts(BottomRanked(share=0.4), rows)] == ["00"]


def test_a_table_without_the_gate_gives_no_verdicts():
    assert verdicts(BottomRanked(gate="other"), table([0.5])) == []
