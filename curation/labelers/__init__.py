"""Labelers of the detector `safety`: what looks at a picture and says, by category, how surely it is unsafe."""
