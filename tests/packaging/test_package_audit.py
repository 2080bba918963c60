"""What `make audit` makes of answers of pip-audit, which says "no known vulnerabilities" also if it knows nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from audit import FLAWED, UNKNOWN, installed, judged

CLEAN = {"name": "six", "version": "1.17.0", "vulns": []}
FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["12.3"], "aliases": ["CVE-2026-2"]}
BAD = {"name": "pillow", "version": "9.0", "vulns": [FLAW]}
LOST = {"name": "torch", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "reasons", "says", "code"),
    [
        ([CLEAN], {}, "1 packages: no published flaw", 0),
        ([CLEAN, BAD], {"CVE-2026-2": "no fonts here"}, "2 packages: no published flaw, but for 1", 0),
        ([CLEAN, BAD], {}, "pillow 9.0: PYSEC-2026-1 CVE-2026-2, mended in 12.3", FLAWED),
        ([CLEAN], {"CVE-2026-2": "no fonts here"}, "CVE-2026-2 isn't found any more", FLAWED),
        (
            [CLEAN, LOST],
            {"CVE-2026-2": "no fonts here"},
            "NOT AUDITED: 1 of 2 packages, torch the first: not found",
            UNKNOWN,
        ),
        ([LOST, BAD], {}, "pillow 9.0: PYSEC-2026-1", FLAWED),
    ],
)
def test_an_audit_is_clean_only_if_everything_was_looked_up(found, reasons, says, code):
    said, exited = judged(found, reasons)
    assert (exited, says in said[0]) == (code, True), said
    assert any("NOT AUDITED" in line for line in said) == (LOST in found)


def test_what_is_installed_is_audited_as_the_database_knows_it():
    packages = dict(one.split("==") for one in installed())
    assert "variorum" not in packages
    assert not [version for version in packages.values() if "+" in version]
    assert "torch" in packages
