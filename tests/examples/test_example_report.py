"""The example of a report is whole: its JSON is one, and its page says the same and loads nothing."""

from __future__ import annotations

from html import escape
from pathlib import Path

from variorum.edition.records import parse
from variorum.reports.profile.document import Report

FOLDER = Path(__file__).parents[2] / "examples" / "report"
LARGEST = 2_000_000
"""Bytes of a page."""


def test_the_example_of_a_report_is_whole() -> None:
    report, page = parse((FOLDER / "report.json").read_bytes(), Report), (FOLDER / "report.html").read_text("utf-8")
    assert len(page.encode()) <= LARGEST
    assert "default-src 'none'" in page
    assert [row.id for row in report.rows] == ["originals", "background", "corruptions", "low_light", "translation"]
    for row in report.rows:
        assert escape(row.title) in page
        for value in row.models.values():
            assert value.why_not in page if value.figure is None else f"{value.figure.value:.1f}" in page
    assert all(one.weights[:12] in page for one in report.models)
