"""Commands about keys of watermarks."""
