"""The graphs of the detectors: what their conversion writes is what this project has."""

from __future__ import annotations

import pytest

from training import convert_tfjs
from variorum.models import ModelTable
from variorum.models.onnx import GRAPHS


@pytest.mark.parametrize(("alias", "name"), [("detector", "nanodet"), ("detector_gate", "centernet")])
def test_the_graphs_are_those_of_the_conversion(tmp_path, alias, name):
    table = ModelTable("embedded")
    if table.status(alias).state != "ready":
        pytest.skip(f"run `variorum doctor {alias} --fetch`")
    source = table.read_weights(alias, lambda folder: folder / f"{name}.json")
    convert_tfjs.main([str(source), "--out", str(tmp_path)])
    assert (tmp_path / f"{name}.onnx").read_bytes() == (GRAPHS / f"{name}.onnx").read_bytes()
