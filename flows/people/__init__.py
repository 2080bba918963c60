"""Commands and flows that ask people."""
