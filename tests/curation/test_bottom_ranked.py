import pyarrow as pa
import pytest

from curation.bottom_ranked import BottomRanked


def table(values, statuses=None, variants=None):
    n = len(values)
    return pa.table(
        {
            "id": [f"{i:02d}" for i in range(n)],
            "sha256": [f"hash{i}" for i in range(n)],
            "variant": variants or ["size_0.05"] * n,
            "status": statuses or ["accepted"] * n,
            "gate.label_p": pa.array(values, pa.float64()),
        }
    )


def test_the_lowest_share_is_sent_to_review_lowest_first():
    verdicts = list(BottomRanked(share=0.2).decide(table([0.9, 0.1, 0.5, 0.05, 0.7, 0.8, 0.3, 0.6, 0.95, 0.99])))
    assert [(v.id, v.sha256, v.action, v.reason) for v in verdicts] == [
        ("03", "hash3", "review", "low_label_p"),
        ("01", "hash1", "review", "low_label_p"),
    ]


def test_only_accepted_pictures_with_a_value_are_ranked():
    verdicts = list(BottomRanked(share=1).decide(table([0.1, None, 0.2], ["quarantined", "accepted", "accepted"])))
    assert [v.id for v in verdicts] == ["02"]


def test_plates_show_no_object_and_are_left_out():
    verdicts = list(BottomRanked(share=0.5).decide(table([0.1, 0.4, 0.9], variants=["plate", "control", "position"])))
    assert [v.id for v in verdicts] == ["01"]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_order_of_rows_does_not_matter(order):
    rows = table([0.5, 0.5, 0.5]).take(order)
    assert [v.id for v in BottomRanked(share=0.4).decide(rows)] == ["00"]


def test_a_table_without_the_gate_gives_no_verdicts():
    assert list(BottomRanked(gate="other").decide(table([0.5]))) == []
