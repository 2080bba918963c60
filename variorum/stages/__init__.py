"""The work: stages of parts that are kept or made, and the runner that makes them."""
