"""Commands about known pictures."""
