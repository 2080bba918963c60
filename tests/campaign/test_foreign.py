"""Stores and containers that somebody else made to do harm: noticed, and nothing outside of them is touched.

The attacks are tests of the default tier. Here they run in a process of their own, fuzz tests with more and with random
examples, and each case or example counts as a trial.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
STORES = "variorum/edition/test_foreign_stores.py"
EXAMPLES = re.compile(r"(\d+) passing\b")
"""What Hypothesis says of the examples of a test."""
LONGEST = 600
"""Seconds that the tests of a row may take."""


def ran(folder: Path, *asked: str, times: int = 1) -> dict[str, str]:
    """Run tests; why each case fell, or "", by name. Fuzz tests try so many times more examples."""
    report = folder / "report.xml"
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    try:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *asked],
            cwd=TESTS,
            env={"VARIORUM_FUZZ": str(times), **own},
            capture_output=True,
            check=False,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        return {" ".join(asked): f"it takes longer than {LONGEST} s"}
    found = outcomes(report.read_text())
    assert found
    return found


def outcomes(report: str) -> dict[str, str]:
    """Cases of a JUnit report; an example that Hypothesis tried is a case too."""
    tree = ElementTree.fromstring(report)
    said = {
        one.attrib["name"].rpartition("::")[2]: base64.b64decode(one.attrib["value"]).decode()
        for one in tree.iter("property")
        if one.attrib["name"].startswith("hypothesis-statistics-")
    }
    found: dict[str, str] = {}
    for case in tree.iter("testcase"):
        name = case.attrib["name"].replace("/", " ")
        wrong = [one for kind in ("failure", "error") for one in case.findall(kind)]
        if wrong:
            found[name] = " ".join(wrong[0].attrib.get("message", "it failed").split())[:300]
        elif name in said:
            count = sum(map(int, EXAMPLES.findall(said[name])))
            found |= {f"{name} {number}": "" for number in range(count)}
        elif case.find("skipped") is None:
            found[name] = ""
    return found


def test_cases_and_examples_are_counted():
    said = base64.b64encode(b"  - during generate phase:\n - 2 passing, 0 failing, and 1 invalid test cases").decode()
    assert outcomes(
        f"""<testsuites><testsuite>
        <properties><property name="hypothesis-statistics-a.py::test_fuzz" value="{said}"/></properties>
        <testcase name="test_fuzz"/>
        <testcase name="test_a[x]"/>
        <testcase name="test_a[y]"><skipped message="no"/></testcase>
        <testcase name="test_b"><failure message="assert 1&#10; == 2">E</failure></testcase>
        </testsuite></testsuites>"""
    ) == {"test_fuzz 0": "", "test_fuzz 1": "", "test_a[x]": "", "test_b": "assert 1 == 2"}


@pytest.mark.fire
def test_what_was_tampered_with(trials, tmp_path):
    """`verify` notices what was changed in a manifest or beside it, also if its digest was made to fit.

    Counts, classes, names, sizes, units, ledgers, recipes of a manifest, one at a time; files swapped, linked, removed.
    """
    found = ran(tmp_path, STORES, "-k", "tampered_with_is_noticed or tampered_with_are_noticed")
    trials(found.__getitem__, found)


@pytest.mark.fire
def test_commands_on_a_hostile_store(trials, tmp_path):
    """No command reads, writes or removes anything outside of a store, whatever stands in it.

    All commands, on stores with links and names that lead out; every text of a manifest replaced by such a path.
    """
    found = ran(tmp_path, STORES, "-k", "names_files_outside or lead_out_of_the_store or leads_out_of_the_store")
    trials(found.__getitem__, found)


@pytest.mark.fire
def test_tables_of_a_hostile_store(trials, tmp_path):
    """A table that isn't what its record says is an error in one line, and takes no memory.

    Other columns and types, numbers of rows that aren't there, twenty million rows in a few kilobytes.
    """
    found = ran(tmp_path, "variorum/edition/test_foreign_tables.py")
    trials(found.__getitem__, found)


@pytest.mark.fire
def test_random_changes_of_a_store(trials, tmp_path):
    """However a store is changed, reading it gives one clear line or the same edition.

    Random changes of manifests, ledgers, receipts, tables, shards and bytes; the number is that of the examples.
    """
    found = ran(tmp_path, "variorum/edition/test_store_fuzz.py", times=2)
    trials(found.__getitem__, found)


@pytest.mark.fire
def test_random_changes_of_containers(trials, tmp_path):
    """However a tar, an annotation file or a parquet file is damaged, it gives rows with reasons or one clear line.

    Random changes of bytes, headers, footers and JSON values; the number is that of the examples.
    """
    found = ran(tmp_path, "sources/test_container_fuzz.py", times=3)
    trials(found.__getitem__, found)
