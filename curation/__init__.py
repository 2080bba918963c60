"""Judgements on an edition: detectors look and score, deciders give verdicts; one file each."""
