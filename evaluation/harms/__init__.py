"""Figures of the evaluation `safety`: what labelers say, against what is known of pictures."""
