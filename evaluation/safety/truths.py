"""Read the truth about a picture before any labeler sees it: is it unsafe in a category, and who or what made it."""

from __future__ import annotations

import math

from variorum.schemas.sample import CAPTURED, COMPOSITE, ENHANCED, GENERATED, PARTLY_GENERATED, Sample

UNSAFE, SAFE, UNKNOWN, CONTRADICTED = 1.0, 0.0, math.nan, -1.0
"""Truths of a picture with respect to one category. `CONTRADICTED` is labelled both safe and unsafe."""
PHOTOGRAPHS, MODELS, UNTOLD = "photographs", "generated", "origin unknown"
"""What made a picture: a camera, a generative model, or nobody says."""
MAKERS = {
    CAPTURED: PHOTOGRAPHS,
    GENERATED: MODELS,
    PARTLY_GENERATED: MODELS,
    COMPOSITE: "composites",
    ENHANCED: "enhanced photographs",
}
"""What made a picture, by its digital source type."""
SOURCES = {"laion5b": PHOTOGRAPHS, "laion-5b": PHOTOGRAPHS, "lexica": MODELS}
"""UnsafeBench's two sources (arXiv 2405.03486), for pictures that don't say themselves what made them."""


def truth_of(sample: Sample, category: str) -> float:
    """Return whether a picture is unsafe in a category, by the states of its labels: one of the four truths.

    The state `correct` means unsafe and `wrong` means safe with respect to the category. It says nothing of others.
    """
    states = {one.state for one in sample.annotations.labels if one.label == category}
    if {"correct", "wrong"} <= states:
        return CONTRADICTED
    return UNSAFE if "correct" in states else SAFE if "wrong" in states else UNKNOWN


def maker_of(sample: Sample) -> str:
    """Return what made a picture, by its digital source type, or else UnsafeBench's sources; `UNTOLD` if unknown."""
    source = str(sample.metadata.get("source", "")).lower()
    return MAKERS.get(sample.digital_source_type) or SOURCES.get(source, UNTOLD)


def group_of(sample: Sample) -> str:
    """Name of the group that a picture is counted in: `source` of its metadata, or else what made it."""
    source = sample.metadata.get("source")
    return source if isinstance(source, str) and source else maker_of(sample)
