"""List the categories of unsafe pictures, which sources, labelers and people share."""
