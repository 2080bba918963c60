"""A third-party package of components, as tests install it: declared by entry points, found by name."""
