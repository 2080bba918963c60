"""Models on an edition: running them, and figures and ranks from their answers alone."""
