"""Make report.html and report.json beside this file: three embedded classifiers on photographs out of packages.

    python examples/report/make.py

It takes about five minutes of CPU time, and needs Tux Paint's stamps: `make stamps`. On one kind of machine it gives
the same bytes. Another STORE than `store` can be given as an argument; a second call answers from there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import variorum as va

HERE = Path(__file__).parent
MODELS = ("classifier_small", "classifier", "classifier_gate")
"""EfficientNet-Lite1, 2 and 0. The last one decided which edits were accepted, so it isn't measured on these."""
PHOTOGRAPHS = {"name": "samples", "stamps": "required", "masks": False}


def main() -> None:
    """Report, and write the files."""
    store = sys.argv[1] if len(sys.argv) > 1 else "store"
    report = va.report(MODELS, suite="quick", source=PHOTOGRAPHS, store=store)
    report.to_html(HERE / "report.html")
    report.to_json(HERE / "report.json")
    print(report)


if __name__ == "__main__":
    main()
