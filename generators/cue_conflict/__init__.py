"""Cue conflict."""

COMPONENTS = ("cue_conflict",)
