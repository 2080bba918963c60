"""Judge an edition: detectors look and score, deciders give verdicts. Each folder is a thing."""
