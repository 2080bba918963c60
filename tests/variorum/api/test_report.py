"""The report on models: asked once, kept, resumed, and refused before any pass where it can't be made."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import variorum as va
from variorum.edition.records import parse
from variorum.report.profile.document import Report as Content

CLASSES = ["astronaut", "chelsea", "coffee"]
MODELS = '''
"""Models that note each picture that they see."""
import hashlib

def noted(name, images):
    with open("seen.txt", "a") as file:
        for image in images:
            file.write(f"{name} {hashlib.sha256(image.tobytes()).hexdigest()}\\n")
    return images

def channels(images):
    return [[float(image[..., channel].mean()) for channel in range(3)] for image in noted("channels", images)]

def spread(images):
    return [[float(image[..., channel].std()) for channel in range(3)] for image in noted("spread", images)]

def two(images):
    return [[0.4, 0.6]] * len(noted("two", images))

def wrong(images):
    raise ValueError("no")
'''
BOTH = ["module:models.py:channels", "module:models.py:spread"]


def seen(folder: Path) -> list[str]:
    """What models saw: a line per model and picture."""
    file = folder / "seen.txt"
    return file.read_text().split("\n")[:-1] if file.exists() else []


@pytest.fixture
def place(here) -> Path:
    """A folder with photographs, editions and a file of models."""
    (here / "models.py").write_text(MODELS)
    return here


def asked(models=BOTH, editions="mine@1.0.0", **more):
    return va.report(models, editions, **{"classes": CLASSES, "progress": False, **more})


def test_a_report_asks_each_model_once_about_each_picture(place):
    report = asked()
    content = report.content
    assert [row.id for row in content.rows]
    assert len(seen(place)) == 2 * 24
    originals = report.row("originals")
    assert set(originals.models) == set(report.models) == {"module:models.py:channels", "module:models.py:spread"}
    print(report)
    print(report.rows)
