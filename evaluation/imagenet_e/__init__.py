"""Measure how complex edited backgrounds are."""

COMPONENTS = ("background_complexity",)
