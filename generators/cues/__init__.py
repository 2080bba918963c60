"""Stimuli that separate shape, texture and detail, as plain functions."""
