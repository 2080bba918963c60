"""Put panels together: questions, gold, whose turn it is, and how raters do."""
