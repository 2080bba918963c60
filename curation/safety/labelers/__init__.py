"""Labelers of the detector `safety`: each scores by category how certain it is that a picture is unsafe."""
