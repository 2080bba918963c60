"""Models on an edition: asking them, and figures and ranks from their answers alone."""
