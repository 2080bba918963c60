"""Pictures and episodes of few-shot sets."""
